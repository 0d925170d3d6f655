"""The sampler: who comes when, who is what to whom, and the groups behind it."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from finetuner.documents import Document, labelled
from finetuner.errors import OptionError
from finetuner.matches import MatchSet
from finetuner.samplers import Batch, MatchSampler, positive_groups

Judgements = Mapping[str, Mapping[str, float]]


def match_set(judgements: Judgements) -> MatchSet:
    """Return a match set of texts from {anchor: {match: label}}; a text is its own id."""
    return MatchSet.from_documents(
        Document(
            text=anchor,
            id=anchor,
            matches=[
                Document(text=match, id=match, tags=labelled({}, label)) for match, label in judged.items()
            ],
        )
        for anchor, judged in judgements.items()
    )


def of_classes(anchors: int = 30, contents: int = 60, classes: int = 4, seed: int = 0) -> Judgements:
    """Return judgements among items 0, 1, ...: 4 of the same class (number modulo classes), 4 of others."""
    random = np.random.default_rng(seed)
    judgements: dict[str, dict[str, float]] = {}
    for anchor in range(anchors):
        others = random.permutation(np.delete(np.arange(contents), anchor))
        same = others % classes == anchor % classes
        judgements[str(anchor)] = {str(o): 1.0 for o in others[same][:4]} | {
            str(o): -1.0 for o in others[~same][:4]
        }
    return judgements


def at_random(anchors: int = 30, contents: int = 60, matches: int = 6, seed: int = 0) -> Judgements:
    """Return judgements without sense, whose positives contradict each other as groups."""
    random = np.random.default_rng(seed)
    return {
        str(anchor): {
            str(match): random.choice([1.0, -1.0])
            for match in random.choice(contents, matches, replace=False)
            if match != anchor
        }
        for anchor in range(anchors)
    }


def sampler(
    judgements: Judgements, *, batch_size: int = 8, matches_per_anchor: int = 100, seed: int = 0
) -> MatchSampler:
    """Return a sampler over judgements."""
    return MatchSampler(
        match_set(judgements), batch_size=batch_size, matches_per_anchor=matches_per_anchor, seed=seed
    )


def ids(matches: MatchSet, batch: Batch) -> tuple[list[str], list[str]]:
    """Return the ids of the anchors and of the contents of a batch."""
    contents = [matches.ids[row] for row in batch.contents]
    return [contents[place] for place in batch.anchors], contents


def relations(matches: MatchSet, batch: Batch) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return the positive and the negative pairs of a batch, by id."""
    anchors, contents = ids(matches, batch)

    def pairs(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> set[tuple[str, str]]:
        return {(anchors[row], contents[column]) for row, column in np.argwhere(mask)}

    return pairs(batch.positive), pairs(batch.negative)


def same_batches(one: list[Batch], other: list[Batch]) -> bool:
    """Tell whether two epochs are equal in all that is in them."""
    fields = ("contents", "anchors", "positive", "negative")
    return len(one) == len(other) and all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for a, b in zip(one, other, strict=True)
        for name in fields
    )


@pytest.mark.parametrize("batch_size", [1, 7, 30, 100])
def test_every_anchor_comes_once_an_epoch(batch_size: int) -> None:
    """Whatever the batch size, the anchors of all batches together are the anchors of the data."""
    judgements = of_classes()
    ours = sampler(judgements, batch_size=batch_size)
    batches = list(ours.epoch(0))
    seen = [anchor for batch in batches for anchor in ids(match_set(judgements), batch)[0]]
    assert sorted(seen) == sorted(judgements)
    assert len(batches) == len(ours)


def test_a_batch_holds_its_anchors_and_all_their_judged_matches_once() -> None:
    """Contents are ascending and unique, and none of the judged ones is missing or strange."""
    judgements = of_classes()
    matches = match_set(judgements)
    for batch in sampler(judgements).epoch(0):
        anchors, contents = ids(matches, batch)
        assert set(contents) == set(anchors).union(*(judgements[anchor] for anchor in anchors))
        assert np.all(np.diff(batch.contents) > 0)
        assert batch.contents.dtype == batch.anchors.dtype == np.int64
        assert batch.positive.shape == batch.negative.shape == (len(anchors), len(contents))


def test_an_epoch_is_decided_by_seed_and_number_alone() -> None:
    """Epoch 3 of a fresh sampler is epoch 3 of one that dealt out others before: resuming needs no state."""
    judgements = of_classes()
    used = sampler(judgements, matches_per_anchor=3)
    for number in range(3):
        list(used.epoch(number))
    fresh = sampler(judgements, matches_per_anchor=3)
    assert same_batches(list(fresh.epoch(3)), list(used.epoch(3)))


def test_epochs_and_seeds_differ() -> None:
    """Another epoch, or another seed, deals out in another order."""
    judgements = of_classes()
    first = list(sampler(judgements).epoch(0))
    assert not same_batches(first, list(sampler(judgements).epoch(1)))
    assert not same_batches(first, list(sampler(judgements, seed=1).epoch(0)))


def test_ten_thousand_matches_of_an_anchor_stay_bounded_and_keep_both_signs() -> None:
    """Of 9,999 positives and one negative, 20 are sampled: always the negative, and other positives."""
    matches = match_set({"q": {f"p{i}": 1.0 for i in range(9999)} | {"n": -1.0}})
    ours = MatchSampler(matches, batch_size=64, matches_per_anchor=20, seed=0)
    epochs = [next(iter(ours.epoch(number))) for number in range(5)]
    assert {len(batch.contents) for batch in epochs} == {21}
    assert {int(batch.negative.sum()) for batch in epochs} == {1}
    assert len(set().union(*(batch.contents.tolist() for batch in epochs))) > 90


def test_a_sample_keeps_the_only_positive() -> None:
    """Of one positive and 50 negatives, a sample of 2 is the positive and a negative."""
    matches = match_set({"q": {f"n{i}": -1.0 for i in range(50)} | {"p": 1.0}})
    ours = MatchSampler(matches, batch_size=1, matches_per_anchor=2, seed=0)
    for number in range(10):
        (batch,) = ours.epoch(number)
        assert (batch.positive.sum(), batch.negative.sum()) == (1, 1)


def test_over_the_epochs_every_match_comes() -> None:
    """Nothing is dropped for good: samples of 4 of 20 matches cover all within 60 epochs."""
    judged = {f"p{i}": 1.0 for i in range(10)} | {f"n{i}": -1.0 for i in range(10)}
    matches = match_set({"q": judged})
    ours = MatchSampler(matches, batch_size=1, matches_per_anchor=4, seed=0)
    seen = {row for number in range(60) for batch in ours.epoch(number) for row in batch.contents.tolist()}
    assert len(seen) == 21


def test_a_small_anchor_beside_a_large_one_keeps_all_its_matches() -> None:
    """Sampling is by anchor: only the one with too many matches is cut."""
    judgements = {"large": {f"l{i}": 1.0 for i in range(50)}, "small": {f"s{i}": -1.0 for i in range(5)}}
    (batch,) = sampler(judgements, matches_per_anchor=5).epoch(0)
    names = ids(match_set(judgements), batch)[1]
    assert sum(name.startswith("l") for name in names) == 1 + 5
    assert {f"s{i}" for i in range(5)} < set(names)


def reachable(judgements: Judgements, start: str, steps: int) -> set[str]:
    """Return what positive judgements connect with ``start``, in any direction, within some steps."""
    edges = {(a, m) for a, judged in judgements.items() for m, label in judged.items() if label > 0}
    edges |= {(m, a) for a, m in edges}
    seen = {start}
    for _ in range(steps):
        grown = seen | {m for a, m in edges if a in seen}
        if grown == seen:
            break
        seen = grown
    return seen


@pytest.mark.parametrize("seed", range(3))
def test_with_groups_relations_are_group_against_group(seed: int) -> None:
    """Each pair is positive if positive judgements connect it, over however many steps, and else negative."""
    judgements = of_classes(seed=seed)
    matches = match_set(judgements)
    for batch in sampler(judgements, seed=seed).epoch(0):
        anchors, contents = ids(matches, batch)
        group = {anchor: reachable(judgements, anchor, 100) for anchor in anchors}
        positive, negative = relations(matches, batch)
        assert positive == {(a, c) for a in anchors for c in contents if a != c and c in group[a]}
        assert negative == {(a, c) for a in anchors for c in contents if c not in group[a]}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cap", [2, 100])
def test_without_groups_relations_are_judgements_and_distant_contents(seed: int, cap: int) -> None:
    """Positive is what is judged so; negative what is judged so, or unjudged and over two positives away."""
    judgements = at_random(seed=seed)
    matches = match_set(judgements)
    assert positive_groups(matches) is None
    for batch in sampler(judgements, matches_per_anchor=cap, seed=seed).epoch(0):
        anchors, contents = ids(matches, batch)
        near = {anchor: reachable(judgements, anchor, 2) for anchor in anchors}
        label = {(a, c): judgements[a].get(c, 0) for a in anchors for c in contents}
        positive, negative = relations(matches, batch)
        assert positive == {pair for pair in label if label[pair] > 0}
        assert negative == {
            (a, c) for a, c in label if label[a, c] < 0 or (label[a, c] == 0 and c not in near[a])
        }


def test_a_hop_over_hundreds_of_shared_positives_is_found() -> None:
    """Two anchors that share only the last of 200 positives are not each other's negatives."""
    judgements = {
        "a": {f"x{i}": 1.0 for i in range(200)} | {"n": -1.0},
        "b": {f"y{i}": 1.0 for i in range(200)} | {"x199": 1.0},
        "c": {"x0": 1.0, "y0": 1.0, "x1": -1.0},
    }
    matches = match_set(judgements)
    (batch,) = sampler(judgements, matches_per_anchor=1000).epoch(0)
    _, negative = relations(matches, batch)
    assert not {("a", "b"), ("b", "a")} & negative
    assert {("a", "y7"), ("b", "x7"), ("b", "n")} < negative


@pytest.mark.parametrize("judgements", [of_classes(), at_random()], ids=["groups", "no groups"])
def test_without_in_batch_negatives_only_judgements_count(judgements: Judgements) -> None:
    """The relations are the judgements of the anchors, and nothing is inferred."""
    matches = match_set(judgements)
    ours = MatchSampler(matches, batch_size=8, matches_per_anchor=100, seed=0, in_batch_negatives=False)
    for batch in ours.epoch(0):
        positive, negative = relations(matches, batch)
        judged = {(a, m): label for a in ids(matches, batch)[0] for m, label in judgements[a].items()}
        assert positive == {pair for pair in judged if judged[pair] > 0}
        assert negative == {pair for pair in judged if judged[pair] < 0}


def test_a_known_positive_outside_of_the_sample_is_no_negative() -> None:
    """All judgements count: what another anchor brings in stays the positive it was judged to be."""
    few, many = {"p0": -1.0, "p1": 1.0}, {f"p{i}": 1.0 for i in range(40)}
    matches = match_set({"few": few, "many": many})
    assert positive_groups(matches) is None
    ours = MatchSampler(matches, batch_size=2, matches_per_anchor=2, seed=0)
    for number in range(5):
        for batch in ours.epoch(number):
            assert {("many", "p0"), ("many", "p1")} <= relations(matches, batch)[0]


@pytest.mark.parametrize("judgements", [of_classes(), at_random()], ids=["groups", "no groups"])
def test_nothing_is_related_to_itself_or_both_at_once(judgements: Judgements) -> None:
    """No anchor is its own positive or negative, and no pair is positive and negative."""
    for batch in sampler(judgements).epoch(0):
        rows = np.arange(len(batch.anchors))
        assert not (batch.positive | batch.negative)[rows, batch.anchors].any()
        assert not (batch.positive & batch.negative).any()


def test_a_label_of_zero_judges_nothing() -> None:
    """A match with label 0 is neither positive nor negative by itself."""
    matches = match_set({"q": {"p": 1.0, "z": 0.0, "n": -1.0}})
    ours = MatchSampler(matches, batch_size=1, matches_per_anchor=9, seed=0, in_batch_negatives=False)
    (batch,) = ours.epoch(0)
    assert relations(matches, batch) == ({("q", "p")}, {("q", "n")})


@pytest.mark.parametrize("label", [1.0, -1.0])
def test_one_sided_data_still_comes_in_batches(label: float) -> None:
    """An anchor without any positive, or without any negative, comes with what it has."""
    matches = match_set({"q": {"m": label}, "lone": {}})
    batches = list(MatchSampler(matches, batch_size=1, matches_per_anchor=2, seed=0).epoch(0))
    assert sorted(len(batch.contents) for batch in batches) == [1, 2]
    assert sum(int(batch.positive.sum()) for batch in batches) == (label > 0)


@pytest.mark.parametrize(("name", "value"), [("batch_size", 0), ("matches_per_anchor", 1), ("seed", -1)])
def test_numbers_that_are_too_small_are_refused_by_name(name: str, value: int) -> None:
    """A sample of one match could not keep both signs; the error names the option."""
    options = {"batch_size": 1, "matches_per_anchor": 2, "seed": 0} | {name: value}
    with pytest.raises(OptionError, match=f"{name} is {value}"):
        sampler(of_classes(), **options)


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


def test_weights_of_judgements_reach_the_batch() -> None:
    """A judged pair weighs what its judgement says, every other pair 1; without any weights there is no matrix."""
    light, plain = labelled({}, 1, 0.25), labelled({}, -1)
    matches = [Document(text="a", id="a", tags=light), Document(text="b", id="b", tags=plain)]
    weighted = MatchSet.from_documents([Document(text="q", id="q", matches=matches)])
    (batch,) = MatchSampler(weighted, batch_size=4, matches_per_anchor=4, seed=0).epoch(0)
    assert batch.weight is not None
    assert [weighted.ids[row] for row in batch.contents] == ["q", "a", "b"]
    assert batch.weight.tolist() == [[1, 0.25, 1]]
    matches[0].tags = labelled({}, 1)
    unweighted = MatchSet.from_documents([Document(text="q", id="q", matches=matches)])
    (batch,) = MatchSampler(unweighted, batch_size=4, matches_per_anchor=4, seed=0).epoch(0)
    assert batch.weight is None
