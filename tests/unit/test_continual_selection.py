"""What a run learns from that goes on."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from finetuner.continual.selection import Said, Selection, select
from finetuner.documents import Document, labelled
from finetuner.errors import NothingToLearnError
from finetuner.matches import MatchSet
from finetuner.splits import sides
from finetuner.training.options import TrainingOptions

ALL: dict[str, Any] = {"validation": 0, "holdout": 0}
"""Options of a run that holds nothing out."""

Words = Mapping[str, Mapping[str, float | tuple[float, float]]]
"""Label, perhaps with a weight, by match, by anchor."""


def matches(said: Words) -> MatchSet:
    """Return match data of texts."""
    return MatchSet.from_documents(
        Document(
            text=anchor,
            matches=[Document(text=match, tags=_tags(label)) for match, label in judged.items()],
        )
        for anchor, judged in said.items()
    )


def _tags(label: float | tuple[float, float]) -> dict[str, Any]:
    value, weight = label if isinstance(label, tuple) else (label, 1.0)
    return labelled({}, value, weight=weight)


def anchors(found: MatchSet) -> list[str]:
    """Return the texts of the anchors."""
    return list(found.take(found.anchors))


def selected(now: Words, before: Words, *, replay: float = 0, **options: Any) -> Selection:
    """Return a selection of texts."""
    known = Said.of(matches(before)) if before else Said.nothing()
    return select(matches(now), known, TrainingOptions(**{**ALL, **options}), replay=replay)


BEFORE: Words = {"a": {"x": 1, "y": -1}, "b": {"x": -1, "y": 1}, "c": {"x": 1}}


@pytest.mark.parametrize(
    ("changed", "new"),
    [
        ({"d": {"x": 1}}, ["d"]),  # another anchor
        ({"b": {"x": -1, "y": 1, "z": 1}}, ["b"]),  # another match
        ({"b": {"x": 1, "y": 1}}, ["b"]),  # another label
        ({"b": {"x": (-1, 2.0), "y": 1}}, ["b"]),  # another weight
        ({"x": {"a": 1}}, ["x"]),  # a pair the other way round
        ({"a": {"x": 1, "y": 1}, "d": {"x": 1}}, ["a", "d"]),
    ],
)
def test_anchors_with_new_judgements_are_learnt_from(changed: Words, new: list[str]) -> None:
    """New is what was not said of this anchor and match with this label and weight."""
    found = selected({**BEFORE, **changed}, BEFORE)
    assert (anchors(found.matches), found.new_anchors, found.replayed_anchors) == (new, len(new), 0)


def test_an_anchor_brings_its_earlier_judgements_along() -> None:
    """What was said of it before belongs to what is to be learnt; and the corpus stays whole."""
    found = selected({**BEFORE, "a": {"x": 1, "y": -1, "z": 1}}, BEFORE).matches
    assert found.labels.tolist() == [1, -1, 1]
    assert sorted(found.contents) == ["a", "b", "c", "x", "y", "z"]


def test_the_order_in_which_it_came_plays_no_part() -> None:
    """Contents are told by their hashes, not by their rows."""
    turned = {"c": {"x": 1}, "b": {"y": 1, "x": -1}, "a": {"y": -1, "x": 1}}
    assert anchors(selected({**turned, "d": {"y": 1}}, BEFORE).matches) == ["d"]


def test_before_anything_was_said_all_is_new() -> None:
    """For a first run, whose parent is the base."""
    assert selected(BEFORE, {}).new_anchors == 3


@pytest.mark.parametrize("now", [BEFORE, {"a": {"x": 1}}])
def test_nothing_new_is_an_error(now: Words) -> None:
    """Neither what is the same, nor less of it, is worth a run."""
    with pytest.raises(NothingToLearnError, match="no anchor has new judgements since then"):
        selected(now, BEFORE, replay=1)


MANY: Words = {f"q{number}": {"x": 1, "y": -1} for number in range(400)}
NEWER: Words = {**MANY, **{f"n{number}": {"x": 1, "y": -1} for number in range(40)}}


@pytest.mark.parametrize(("replay", "replayed"), [(0, 0), (0.5, 20), (1, 40), (3, 120), (99, 400)])
def test_of_the_others_so_many_are_replayed_for_each_new_one(replay: float, replayed: int) -> None:
    """More than there are takes all."""
    found = selected(NEWER, MANY, replay=replay)
    assert (found.new_anchors, found.replayed_anchors, len(found.matches)) == (40, replayed, 40 + replayed)


def test_the_seed_of_the_run_draws_the_sample() -> None:
    """The same run learns from the same, and another seed from others."""
    first, again, other = (anchors(selected(NEWER, MANY, replay=1, seed=seed).matches) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_anchors_that_nobody_judged_are_not_replayed() -> None:
    """They would take the place of some that teach."""
    now = {**BEFORE, "e": {}, "f": {}, "d": {"x": 1}}
    assert anchors(selected(now, BEFORE, replay=99).matches) == ["a", "b", "c", "d"]


def test_what_was_held_out_is_held_out_again() -> None:
    """Anchors keep their side: what an earlier run validated and judged on is all there, and nothing of it is learnt."""
    options = TrainingOptions()
    shares = {"validation": options.validation, "holdout": options.holdout, "seed": options.seed}
    earlier = matches(MANY).parts(**shares)  # type: ignore[arg-type]
    found = select(matches(NEWER), Said.of(matches(MANY)), options, replay=1)
    training, validation, holdout = (set(anchors(part)) for part in found.matches.parts(**shares))  # type: ignore[arg-type]
    assert set(anchors(earlier[1])) == {name for name in validation if name.startswith("q")}
    assert set(anchors(earlier[2])) == {name for name in holdout if name.startswith("q")}
    assert not training & {*anchors(earlier[1]), *anchors(earlier[2])}
    assert found.held_out_anchors == len(earlier[1]) + len(earlier[2])
    new_to_learn = sum(name.startswith("n") for name in training)
    assert found.new_anchors == 40 > new_to_learn
    assert found.replayed_anchors == new_to_learn == len(training) / 2


def test_news_that_are_all_held_out_teach_nothing() -> None:
    """A run on replayed anchors alone would learn nothing new."""
    hashes = matches(NEWER)
    side = sides(hashes.hashes[hashes.anchors], validation=0, holdout=0.1, seed=0)
    held_out = next(
        name for name, on in zip(anchors(hashes), side, strict=True) if on and name.startswith("n")
    )
    with pytest.raises(NothingToLearnError, match="only 1 anchors that are held out have new judgements"):
        selected({**MANY, held_out: {"x": 1}}, MANY, replay=1, holdout=0.1)


def test_equal_first_halves_of_hashes_are_two_contents() -> None:
    """All 128 bits tell contents apart."""
    hashes = np.zeros((3, 16), np.uint8)
    hashes[1, 15] = hashes[2, 0] = 1
    rows, one = np.array([0, 0]), np.ones(2, np.float32)
    said = Said(hashes, rows, np.array([1, 2]), one, one)
    assert said.knows(said).all()
    less = Said(hashes, rows[:1], np.array([1]), one[:1], one[:1])
    assert less.knows(said).tolist() == [True, False]
