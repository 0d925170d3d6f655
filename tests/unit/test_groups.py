"""Groups of contents, and steps along positive judgements."""

from dataclasses import replace

import numpy as np
import pytest

from finetuner import groups
from finetuner.groups import PositiveGraph, among, positive_groups, spans
from tests.small_matches import Judgements, at_random, match_set, of_classes, reachable


def test_groups_recover_the_classes() -> None:
    """From matches that were drawn by class, the groups of all that has a positive are the classes."""
    judgements = of_classes()
    matches = match_set(judgements)
    groups = positive_groups(matches)
    assert groups is not None
    connected = {
        item for a, judged in judgements.items() for item in (a, *(m for m in judged if judged[m] > 0))
    }
    pairs = {(int(i) % 4, int(group)) for i, group in zip(matches.ids, groups, strict=True) if i in connected}
    assert len(pairs) == len({group for _, group in pairs}) == 4


def test_groups_are_numbered_by_first_rows_and_strays_stand_alone() -> None:
    """Questions with one answer are a group; a wrong answer and a label of 0 belong to nobody."""
    matches = match_set({"q": {"answer": 1.0, "wrong": -1.0, "zero": 0.0}, "r": {"answer": 1.0}})
    assert matches.ids == ["q", "answer", "wrong", "zero", "r"]
    groups = positive_groups(matches)
    assert groups is not None
    assert groups.tolist() == [0, 0, 1, 2, 0]


def test_one_contradiction_turns_groups_off() -> None:
    """A negative judgement, not a 0, between contents that positives connect in two steps gives None."""
    sound: dict[str, dict[str, float]] = {"q": {"a": 1.0}, "r": {"a": 1.0}, "s": {"b": 1.0, "a": -1.0}}
    assert positive_groups(match_set(sound)) is not None
    assert positive_groups(match_set(sound | {"q": {"a": 1.0, "r": 0.0}})) is not None
    assert positive_groups(match_set(sound | {"q": {"a": 1.0, "r": -1.0}})) is None


@pytest.mark.parametrize("seed", range(5))
def test_groups_equal_a_search_along_the_edges(seed: int) -> None:
    """On sparse random graphs the groups are what walking along positive judgements reaches."""
    judgements = {
        a: dict.fromkeys(judged, 1.0) for a, judged in at_random(contents=200, matches=3, seed=seed).items()
    }
    matches = match_set(judgements | {"stray": {"wrong": -1.0}})
    groups = positive_groups(matches)
    assert groups is not None
    number = dict(zip(matches.ids, groups, strict=True))
    for start in matches.ids:
        assert {i for i in number if number[i] == number[start]} == reachable(judgements, start, 1000) | {
            start
        }


def test_positives_alone_make_no_groups() -> None:
    """Where nobody judged a negative, as with clicks, nothing could contradict a group, and there is none."""
    clicks: Judgements = {"q": {"a": 1.0, "b": 1.0}, "r": {"b": 1.0, "c": 1.0}, "s": {"c": 1.0, "d": 1.0}}
    assert positive_groups(match_set(clicks)) is None
    assert positive_groups(match_set({**clicks, "t": {"e": -1.0}})) is not None


def test_a_chain_of_a_hundred_thousand_is_one_group() -> None:
    """A path in random order, the longest way labels can have, is connected in a few rounds."""
    length = 100_000
    path = np.random.default_rng(0).permutation(length)
    base = match_set({"q": {"p": 1.0}})
    chain = replace(
        base,
        ids=[""] * length,
        anchors=path[:-2],
        offsets=np.arange(length - 1, dtype=np.int64),
        matches=np.append(path[1:-2], path[-1]),
        labels=np.append(np.ones(length - 3, dtype=np.float32), np.float32(-1)),
    )
    groups = positive_groups(chain)
    assert groups is not None
    assert np.bincount(groups).max() == length - 2


@pytest.mark.parametrize("often", [0, 10**9], ids=["pair by pair", "by products"])
@pytest.mark.parametrize("seed", range(2))
def test_near_is_what_one_or_two_steps_reach(seed: int, often: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any anchors and contents, whichever way is taken, and whatever is done at once."""
    monkeypatch.setattr(groups, "_OFTEN", often or 1)
    monkeypatch.setattr(groups, "_PAIRS", 7)
    monkeypatch.setattr(groups, "_MIDDLES", 3)
    judgements = at_random(seed=seed)
    matches = match_set(judgements)
    random = np.random.default_rng(seed)
    anchors = random.permutation(len(matches.ids))[:20]
    contents = random.permutation(len(matches.ids))[:40]
    near = PositiveGraph(matches).near(anchors, contents)
    for anchor, row in zip(anchors, near, strict=True):
        there = reachable(judgements, matches.ids[anchor], 2)
        expected = [c == anchor or matches.ids[c] in there for c in contents]
        # a content without a positive is not near itself, which nobody asks
        assert [n or c == anchor for n, c in zip(row, contents, strict=True)] == expected


def test_without_positives_nothing_is_near() -> None:
    """A graph without edges connects nothing, and no anchors or no contents are no error."""
    graph = PositiveGraph(match_set({"q": {"n": -1.0}}))
    rows, none = np.array([0, 1]), np.zeros(0, np.int64)
    assert not graph.near(rows, rows).any()
    assert graph.near(rows, none).shape == (2, 0)
    assert graph.near(none, rows).shape == (0, 2)


def test_a_graph_holds_eight_bytes_for_each_positive_judgement() -> None:
    """Both directions as 32-bit rows, and an offset for each content; nothing for negatives."""
    few: Judgements = {"q": {f"p{i}": 1.0 for i in range(10)}}
    many: Judgements = {"q": {f"p{i}": 1.0 for i in range(1010)} | {f"n{i}": -1.0 for i in range(500)}}
    held = [
        sum(part.nbytes for part in vars(PositiveGraph(match_set(judgements))).values())
        for judgements in (few, many)
    ]
    assert held[1] - held[0] == 1000 * 8 + 1500 * 8


def test_spans_are_the_numbers_of_each_stretch() -> None:
    """Stretches may be empty, overlap and come in any order."""
    owner, number = spans(np.array([5, 0, 4]), np.array([2, 0, 3]))
    assert owner.tolist() == [0, 0, 2, 2, 2]
    assert number.tolist() == [5, 6, 4, 5, 6]


def test_among_finds_values_and_their_places() -> None:
    """What is not among the ascending values is left out, below, between and above them."""
    owner, place = among(np.array([2, 5, 9]), np.arange(6), np.array([9, 1, 5, 3, 10, 2]))
    assert owner.tolist() == [0, 2, 5]
    assert place.tolist() == [2, 1, 0]
