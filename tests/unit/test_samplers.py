"""The sampler by anchors: who comes when, and who is what to whom."""

from collections.abc import Callable

import numpy as np
import pytest

from finetuner.documents import Document, labelled
from finetuner.errors import OptionError
from finetuner.groups import positive_groups
from finetuner.matches import MatchSet
from finetuner.samplers import Batch, MatchSampler
from finetuner.samplers.judged import sample
from tests.small_matches import Judgements, at_random, ids, match_set, of_classes, reachable, relations


def sampler(
    judgements: Judgements, *, batch_size: int = 8, matches_per_anchor: int = 100, seed: int = 0
) -> MatchSampler:
    """Return a sampler over judgements."""
    return MatchSampler(
        match_set(judgements), batch_size=batch_size, matches_per_anchor=matches_per_anchor, seed=seed
    )


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


def test_batches_of_an_epoch_are_nearly_equal_in_size() -> None:
    """33 anchors in batches of 16 are three of 11, never two of 16 and a lonely one."""
    sizes = [len(batch.anchors) for batch in sampler(of_classes(anchors=33), batch_size=16).epoch(0)]
    assert sizes == [11, 11, 11]


@pytest.mark.parametrize("positives", [18, 9])
def test_a_sample_is_drawn_evenly(positives: int) -> None:
    """Of 18 judgements, 3 a time, each is drawn as often as any other of its sign, though 18 is no multiple of 12."""
    judged = {str(i): 1.0 if i < positives else -1.0 for i in range(18)}
    matches = match_set({f"q{anchor}": judged for anchor in range(2000)})
    drawn = sample(matches, np.arange(2000), 3, np.random.default_rng(0))
    counts = np.bincount(drawn % 18)
    assert np.bincount(drawn // 18).tolist() == [3] * 2000
    assert np.abs(counts - 2000 * 3 / 18).max() < 60  # some 3.5 standard deviations


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("in_batch", [True, False])
@pytest.mark.parametrize("data", [of_classes, at_random])
def test_mined_and_likely_pairs_are_what_a_loop_over_pairs_says(
    data: Callable[..., Judgements], in_batch: bool, seed: int
) -> None:
    """The whole rule, written pair by pair: judgements, groups or steps, the guard, and mined contents."""
    judgements = data(seed=seed)
    matches = match_set(judgements)
    random = np.random.default_rng(seed)
    similar = random.random((len(matches.ids),) * 2) < 0.3
    mined = random.integers(-1, len(matches.ids), (len(matches), 4))
    ours = MatchSampler(
        matches,
        batch_size=8,
        matches_per_anchor=4,
        seed=seed,
        in_batch_negatives=in_batch,
        likely=lambda anchors, contents: similar[anchors][:, contents],
        teaches=lambda batch: True,
    )
    grouped = positive_groups(matches) is not None
    for batch in ours.epoch(0, mined=mined):
        anchors, contents = ids(matches, batch)
        expected: tuple[set[tuple[str, str]], set[tuple[str, str]]] = (set(), set())
        for a, row in zip(anchors, batch.contents[batch.anchors], strict=True):
            connected = reachable(judgements, a, 1000 if grouped else 2)
            its_mined = {matches.ids[r] for r in mined[matches.anchors == row][0] if r >= 0}
            assert its_mined <= set(contents)
            for c, other in zip(contents, batch.contents, strict=True):
                label = judgements[a].get(c, 0)
                if a == c:
                    continue
                if label > 0 or (in_batch and grouped and c in connected):
                    expected[0].add((a, c))
                elif label < 0 or (
                    c not in connected and (c in its_mined or (in_batch and not similar[row, other]))
                ):
                    expected[1].add((a, c))
        assert relations(matches, batch) == expected


def test_a_mined_content_comes_with_its_anchor_alone() -> None:
    """It is a negative of the anchor for which it was mined, and of the other one only if in-batch rules say so."""
    matches = match_set({"q": {"p": 1.0}, "r": {"s": 1.0}})
    mined = np.array([[matches.ids.index("s")], [-1]])
    ours = MatchSampler(matches, batch_size=2, matches_per_anchor=2, seed=0, in_batch_negatives=False)
    (batch,) = ours.epoch(0, mined=mined)
    assert relations(matches, batch) == ({("q", "p"), ("r", "s")}, {("q", "s")})


@pytest.mark.parametrize("shape", [(3, 2), (29, 1), (30,)])
def test_mined_rows_for_other_anchors_are_refused(shape: tuple[int, ...]) -> None:
    """Before the first batch, and with the shape that is wanted."""
    with pytest.raises(OptionError, match=r"give \(30, m\)"):
        sampler(of_classes()).epoch(0, mined=np.zeros(shape, np.int64))


def test_scores_are_labels_as_given() -> None:
    """Labels 5, -3.5 and 0 reach the batch, though a 0 is no negative; what nobody judged is NaN."""
    judgements = {"q": {"a": 5.0, "b": -3.5, "c": 0.0}, "r": {"d": 2.0}}
    matches = match_set(judgements)
    ours = MatchSampler(
        matches, batch_size=2, matches_per_anchor=9, seed=0, in_batch_negatives=False, scores=True
    )
    (batch,) = ours.epoch(0)
    assert batch.score is not None
    assert batch.score.dtype == np.float32
    anchors, contents = ids(matches, batch)
    for anchor, row in zip(anchors, batch.score, strict=True):
        expected = [judgements[anchor].get(content, np.nan) for content in contents]
        np.testing.assert_array_equal(row, expected)
    assert ("q", "c") not in set().union(*relations(matches, batch))
    assert next(sampler(of_classes()).epoch(0)).score is None


@pytest.mark.parametrize("in_batch", [True, False])
def test_groups_come_with_the_contents(in_batch: bool) -> None:
    """Of each content of a batch, in-batch negatives or not; without groups there are none."""
    matches = match_set(of_classes())
    known = positive_groups(matches)
    assert known is not None
    ours = MatchSampler(matches, batch_size=8, matches_per_anchor=4, seed=0, in_batch_negatives=in_batch)
    for batch in ours.epoch(0):
        assert batch.groups is not None
        assert batch.groups.tolist() == known[batch.contents].tolist()
    assert next(sampler(at_random()).epoch(0)).groups is None


@pytest.mark.parametrize(
    "judgements",
    [
        {"q": {"n": -1.0, "m": -1.0}, "r": {"n": -1.0}},
        {"q": {}, "r": {}},
        {"q": {"p": 1.0}},
        {"q": {"z": 0.0, "p": 1.0}},
        {"q": {"a": 1.0, "b": 1.0}, "a": {"b": 1.0}, "b": {"q": 1.0}},
        {"q": {"q": 1.0}},
    ],
    ids=["only negatives", "nothing judged", "one anchor", "a label of 0", "one class", "all contents equal"],
)
def test_where_nothing_can_teach_an_epoch_is_empty(judgements: Judgements) -> None:
    """No batch, no error, no endless loop, whatever the size of batches."""
    for size in (1, 2, 8):
        for in_batch in (True, False):
            ours = MatchSampler(
                match_set(judgements),
                batch_size=size,
                matches_per_anchor=2,
                seed=0,
                in_batch_negatives=in_batch and "z" not in judgements["q"],
            )
            assert list(ours.epoch(0)) == []


def test_positives_alone_teach_by_other_anchors() -> None:
    """Pairs without any negative, one anchor a batch, are joined: the other's contents are the negatives."""
    judgements: Judgements = {"q": {"a": 1.0}, "r": {"b": 1.0}, "s": {"c": 1.0}}
    matches = match_set(judgements)
    (batch,) = sampler(judgements, batch_size=1).epoch(0)
    assert sorted(ids(matches, batch)[0]) == ["q", "r", "s"]
    assert ("q", "b") in relations(matches, batch)[1]


def test_only_negatives_teach_a_loss_that_says_so() -> None:
    """What teaches is asked, so a regression on judgements gets its batches of negatives."""
    matches = match_set({"q": {"n": -1.0}, "r": {"m": -1.0}})
    ours = MatchSampler(
        matches, batch_size=1, matches_per_anchor=2, seed=0, teaches=lambda batch: bool(batch.negative.any())
    )
    assert len(list(ours.epoch(0))) == 2


def test_by_anchors_what_is_judged_is_the_data() -> None:
    """The anchors are those of the match set, in its order."""
    matches = match_set(of_classes())
    ours = MatchSampler(matches, batch_size=8, matches_per_anchor=2, seed=0)
    assert ours.anchors.tolist() == matches.anchors.tolist()
    assert ours.judged() is matches


@pytest.mark.parametrize(("name", "value"), [("batch_size", 0), ("matches_per_anchor", 1), ("seed", -1)])
def test_numbers_that_are_too_small_are_refused_by_name(name: str, value: int) -> None:
    """A sample of one match could not keep both signs; the error names the option."""
    options = {"batch_size": 1, "matches_per_anchor": 2, "seed": 0} | {name: value}
    with pytest.raises(OptionError, match=f"{name} is {value}"):
        sampler(of_classes(), **options)


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
