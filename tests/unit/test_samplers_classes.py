"""The sampler by classes: balanced batches in which all members of groups are anchors."""

import numpy as np
import pytest

from finetuner.errors import OptionError
from finetuner.groups import positive_groups
from finetuner.matches import MatchSet
from finetuner.samplers import Batch, MatchSampler
from tests.small_matches import Judgements, at_random, ids, match_set, of_classes, relations


def of_sizes(*sizes: int, alone: int = 0) -> MatchSet:
    """Return groups a0 a1 ..., b0 b1 ... of these sizes and single contents, where the first judges all others."""
    judgements: dict[str, dict[str, float]] = {}
    for letter, size in zip("abcdefghijklmnopqrstuvwxyz", sizes, strict=False):
        others = {
            f"{other}0": -1.0 for other in "abcdefghijklmnopqrstuvwxyz"[: len(sizes)] if other != letter
        }
        singles = {f"-{number}": -1.0 for number in range(alone)}
        judgements[f"{letter}0"] = {f"{letter}{n}": 1.0 for n in range(1, size)} | others | singles
    return match_set(judgements)


def sampler(matches: MatchSet, *, batch_size: int = 12, seed: int = 0) -> MatchSampler:
    """Return a sampler by classes."""
    return MatchSampler(
        matches, batch_size=batch_size, matches_per_anchor=2, seed=seed, sampling="classes", scores=True
    )


def shares(matches: MatchSet, batch: Batch) -> dict[str, int]:
    """Return how many contents of each letter are in a batch."""
    letters = [matches.ids[row][0] for row in batch.contents]
    return {letter: letters.count(letter) for letter in sorted(set(letters))}


def test_a_batch_has_equal_shares_of_its_classes() -> None:
    """Three classes of 12 in batches of 12: three batches of 4, 4 and 4, and each content once."""
    matches = of_sizes(12, 12, 12)
    batches = list(sampler(matches).epoch(0))
    assert [shares(matches, batch) for batch in batches] == [{"a": 4, "b": 4, "c": 4}] * 3
    assert sorted(np.concatenate([batch.contents for batch in batches])) == list(range(36))


def test_each_content_of_a_class_is_an_anchor_judged_or_not() -> None:
    """Contents that were only matches ask as well; relations are group against group, scores are judgements."""
    matches = of_sizes(4, 4)
    (batch,) = sampler(matches).epoch(0)
    anchors, contents = ids(matches, batch)
    assert sorted(anchors) == sorted(contents) == sorted(matches.ids)
    positive, negative = relations(matches, batch)
    assert positive == {(a, c) for a in anchors for c in contents if a != c and a[0] == c[0]}
    assert negative == {(a, c) for a in anchors for c in contents if a[0] != c[0]}
    assert batch.score is not None
    score = dict(zip(anchors, batch.score, strict=True))
    assert np.isnan(score["a1"]).all()
    expected = {"a0": np.nan, "a1": 1, "a2": 1, "a3": 1, "b0": -1, "b1": np.nan, "b2": np.nan, "b3": np.nan}
    np.testing.assert_array_equal(score["a0"], [expected[c] for c in contents])


def test_a_rare_class_comes_again_so_that_batches_stay_balanced() -> None:
    """40 of one class and 4 of another in batches of 8: ten batches, each of 4 and 4."""
    matches = of_sizes(40, 4)
    batches = [shares(matches, batch) for batch in sampler(matches, batch_size=8).epoch(0)]
    assert batches == [{"a": 4, "b": 4}] * 10


def test_an_epoch_grows_fourfold_at_most_for_balance() -> None:
    """Where 28 batches would do, 100 are made for balance; where 26 would, not the 134 that balance asks for."""
    matches = of_sizes(400, *[2] * 24)
    ours = sampler(matches, batch_size=16)
    assert len(ours) == 100
    huge = of_sizes(1600, *[2] * 4)
    bounded = sampler(huge, batch_size=64)
    counts = [shares(huge, batch)["a"] for batch in bounded.epoch(0)]
    assert len(bounded) == 4 * 26
    assert sum(counts) == 1600
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("sizes", [(7, 5, 3, 2), (50, 2, 2, 3), (30, 31), (3,) * 20, (2,) * 26])
@pytest.mark.parametrize("batch_size", [4, 9, 64])
def test_every_content_comes_and_nobody_is_in_a_batch_without_a_companion(
    sizes: tuple[int, ...], batch_size: int
) -> None:
    """Each comes once at least, with another of its class and one of another, in batches of about the size."""
    matches = of_sizes(*sizes)
    for number in range(2):
        batches = list(sampler(matches, batch_size=batch_size).epoch(number))
        assert set(np.concatenate([batch.contents for batch in batches])) == set(range(len(matches.ids)))
        for batch in batches:
            assert batch.positive.any(axis=1).all()
            assert batch.negative.any(axis=1).all()
            assert len(batch.contents) <= 2 * batch_size


def test_contents_that_are_alone_are_negatives_in_every_batch() -> None:
    """They ask nothing, are spread evenly, and all come in an epoch if half of each batch is enough."""
    matches = of_sizes(8, 8, alone=8)
    ours = sampler(matches, batch_size=8)
    batches = list(ours.epoch(0))
    assert not {matches.ids[row][0] for row in ours.anchors} & {"-"}
    assert {shares(matches, batch)["-"] for batch in batches} <= {2, 3}
    assert set(np.concatenate([batch.contents for batch in batches])) == set(range(24))
    for batch in batches:
        assert batch.negative[:, [matches.ids[row][0] == "-" for row in batch.contents]].all()


def test_more_contents_that_are_alone_than_fit_come_in_turn() -> None:
    """At most half of a batch: 40 beside 8 anchors in batches of 8 come within ten epochs, none of them twice."""
    matches = of_sizes(4, 4, alone=40)
    ours = sampler(matches, batch_size=8)
    alone = []
    for number in range(5):
        for batch in ours.epoch(number):
            assert shares(matches, batch)["-"] == 4
            alone += [matches.ids[row] for row in batch.contents if matches.ids[row][0] == "-"]
    assert len(alone) == len(set(alone)) == 40


def test_one_class_learns_against_what_is_alone() -> None:
    """A single class with one wrong content: it comes in every batch, so that each can teach."""
    matches = of_sizes(20, alone=1)
    batches = list(sampler(matches, batch_size=6).epoch(0))
    assert len(batches) == 4
    assert all(shares(matches, batch)["-"] == 1 for batch in batches)


def test_an_epoch_is_decided_by_seed_and_number() -> None:
    """The same twice, and another for another number or seed."""
    matches = match_set(of_classes())

    def first(number: int, seed: int = 0) -> list[list[int]]:
        return [batch.contents.tolist() for batch in sampler(matches, seed=seed).epoch(number)]

    assert first(1) == first(1)
    assert first(0) != first(1)
    assert first(0) != first(0, seed=1)


def test_mined_rows_go_by_the_anchors_of_the_sampler() -> None:
    """What was mined for a content that is no anchor in the data comes with it, unless it is of its class."""
    matches = of_sizes(4, 4, alone=2)
    ours = sampler(matches, batch_size=4)
    mined = np.full((len(ours.anchors), 1), -1)
    place = [matches.ids[row] for row in ours.anchors].index("a3")
    for wanted, expected in (("-0", True), ("a1", False)):
        mined[place] = matches.ids.index(wanted)
        batches = [batch for batch in ours.epoch(0, mined=mined) if "a3" in ids(matches, batch)[0]]
        for batch in batches:
            assert wanted in ids(matches, batch)[1]
            assert (("a3", wanted) in relations(matches, batch)[1]) is expected


def test_what_is_judged_goes_by_the_anchors_of_the_sampler() -> None:
    """Contents that judged nothing are anchors without judgements, and the groups stay what they were."""
    matches = of_sizes(3, 3, alone=1)
    ours = sampler(matches)
    judged = ours.judged()
    assert judged.anchors.tolist() == ours.anchors.tolist()
    counts = {
        judged.ids[row]: count for row, count in zip(judged.anchors, np.diff(judged.offsets), strict=True)
    }
    assert counts == {"a0": 4, "a1": 0, "a2": 0, "b0": 4, "b1": 0, "b2": 0}
    first, again = positive_groups(matches), positive_groups(judged)
    assert first is not None
    assert again is not None
    assert first.tolist() == again.tolist()


def test_contents_that_nobody_judges_in_this_set_do_not_come() -> None:
    """A part of a set shares its contents; those of the other part, held out for example, are never drawn."""
    whole = match_set(of_classes(anchors=30, contents=60))
    part = whole.only(np.arange(5))
    used = set(part.anchors.tolist()) | set(part.matches.tolist())
    assert {row for batch in sampler(part).epoch(0) for row in batch.contents.tolist()} == used


@pytest.mark.parametrize("judgements", [at_random(), {"q": {"p": 1.0}, "r": {"s": 1.0}}])
def test_data_without_groups_is_refused(judgements: Judgements) -> None:
    """A contradiction, or no negative at all: the error says what groups need, and what to do."""
    with pytest.raises(OptionError, match=r"form no groups.*give sampling 'anchors'"):
        sampler(match_set(judgements))


def test_data_in_which_all_are_alone_has_no_anchors() -> None:
    """Groups of one have no positives: there are no batches, and the epoch is empty."""
    ours = sampler(match_set({"q": {"n": -1.0}, "r": {"m": -1.0}}))
    assert (len(ours), len(ours.anchors), list(ours.epoch(0))) == (0, 0, [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 3}, "batch_size is 3; give a whole number of at least 4"),
        ({"in_batch_negatives": False}, "in_batch_negatives is false"),
        ({"sampling": "both"}, "give one of anchors, classes"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, object], message: str) -> None:
    """By name, and with what is accepted."""
    given = {"batch_size": 8, "matches_per_anchor": 2, "seed": 0, "sampling": "classes"} | options
    with pytest.raises(OptionError, match=message):
        MatchSampler(of_sizes(4, 4), **given)  # type: ignore[arg-type]
