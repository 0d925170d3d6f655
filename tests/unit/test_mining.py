"""Hard negatives: by hand, against a loop over anchors, and for data from which little can be mined."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from finetuner import mining
from finetuner.documents import Document, labelled
from finetuner.errors import EncoderError, OptionError
from finetuner.groups import PositiveGraph, positive_groups
from finetuner.matches import MatchSet
from finetuner.mining import Mined, mine, mine_negatives
from finetuner.models import Encoder, EncoderSpec
from finetuner.nearest import Embeddings

Judgements = dict[str, dict[str, float]]


def match_set(judgements: Judgements, corpus: str = "") -> MatchSet:
    """Return a match set of texts from {anchor: {match: label}}; the corpus comes first, so that it fixes rows."""
    first = [Document(text=text, id=text, matches=[]) for text in corpus]
    built = MatchSet.from_documents(
        first
        + [
            Document(
                text=anchor,
                id=anchor,
                matches=[Document(text=t, id=t, tags=labelled({}, label)) for t, label in judged.items()],
            )
            for anchor, judged in judgements.items()
        ]
    )
    asked = [built.ids.index(anchor) for anchor in judgements]
    return built.only(np.array([list(built.anchors).index(row) for row in asked], dtype=np.int64))


def at(*cosines: float) -> Embeddings:
    """Return embeddings in the plane with these cosines to (1, 0)."""
    return np.array([[c, math.sqrt(1 - c * c)] for c in cosines], np.float32)


def unit(rows: int, seed: int = 0, dimension: int = 6) -> Embeddings:
    """Return random embeddings of length 1."""
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def at_random(seed: int, classes: int | None) -> MatchSet:
    """Return 30 anchors over 60 contents; with classes judgements follow them, else they are drawn."""
    random = np.random.default_rng(seed)
    names = [f"{number:02}" for number in range(60)]
    judgements: Judgements = {}
    for anchor in range(30):
        judged = random.choice(60, 6, replace=False)
        labels = random.choice([-1, -1, 0, 1, 2], 6) if anchor % 7 else np.full(6, -1)
        if classes is not None:
            labels = np.where(judged % classes == anchor % classes, 1, -1)
        judgements[names[anchor]] = {
            names[match]: float(label) for match, label in zip(judged, labels, strict=True) if match != anchor
        }
    return match_set(judgements)


def loop(
    queries: Embeddings, contents: Embeddings, matches: MatchSet, count: int, guard: float | None, skip: int
) -> list[list[int]]:
    """Mine for one anchor after the other, as the docstring tells it."""
    groups, graph = positive_groups(matches), PositiveGraph(matches)
    everything = np.arange(len(matches.ids))
    mined = []
    for anchor, row in enumerate(matches.anchors):
        judged = slice(matches.offsets[anchor], matches.offsets[anchor + 1])
        rows, labels = matches.matches[judged], matches.labels[judged]
        related = graph.near(np.array([row]), everything)[0] if groups is None else groups == groups[row]
        known = {int(row), *rows.tolist(), *np.flatnonzero(related).tolist()}
        cosine = contents.astype(float) @ queries[anchor].astype(float)
        bound = math.inf
        if guard is not None and (labels > 0).any():
            p = float(np.mean([cosine[match] for match in rows[labels > 0]]))
            bound = p - (1 - guard) * abs(p)
        order = sorted(set(everything.tolist()) - known, key=lambda other: (-cosine[other], other))
        allowed = [other for other in order if cosine[other] <= bound][skip : skip + count]
        mined.append(allowed + [-1] * (count - len(allowed)))
    return mined


def test_the_nearest_wrong_contents_by_hand() -> None:
    """P is 0.8, so that 0.9 and 0.77 are guarded; what is judged is not mined; 0.75 and 0.5 are."""
    matches = match_set({"q": {"p": 1, "n": -1}}, "qpnabcde")
    contents = at(1, 0.8, 0.78, 0.9, 0.77, 0.75, 0.5, 0.1)
    mined = mine(contents[:1], contents, matches, count=2)
    assert mined.rows.tolist() == [[5, 6]]
    np.testing.assert_allclose(mined.cosine, [[0.75, 0.5]], atol=1e-6)
    assert (mined.found, mined.short, mined.guarded, mined.unguarded) == (2, 0, 1, 0)


def test_without_a_guard_the_nearest_of_all_are_mined() -> None:
    """guard=None takes what is nearer than the positive, too."""
    matches = match_set({"q": {"p": 1}}, "qpab")
    contents = at(1, 0.8, 0.9, 0.5)
    mined = mine(contents[:1], contents, matches, count=2, guard=None)
    assert (mined.rows.tolist(), mined.guarded) == ([[2, 3]], 0)


def test_several_positives_guard_by_their_mean() -> None:
    """Positives at 1.0 and 0.6 have the mean 0.8: 0.77 is guarded, 0.75 is not."""
    matches = match_set({"q": {"p": 1, "r": 2}}, "qprab")
    contents = np.concatenate([at(1, 1, 0.6, 0.77), at(0.75)])
    assert mine(contents[:1], contents, matches, count=2).rows.tolist() == [[4, -1]]


def test_below_a_positive_on_the_far_side_the_bound_lies_below_it_too() -> None:
    """P = -0.4 bounds at -0.42 and not at 0.95 * -0.4 = -0.38: -0.41 is guarded, -0.43 is mined."""
    matches = match_set({"q": {"p": 1}}, "qpab")
    contents = at(1, -0.4, -0.41, -0.43)
    assert mine(contents[:1], contents, matches, count=1).rows.tolist() == [[3]]


def test_an_anchor_without_a_positive_is_not_guarded() -> None:
    """The nearest that it does not judge are mined, and it is counted."""
    matches = match_set({"q": {"n": -1}}, "qnab")
    contents = at(1, 0.2, 0.99, 0.5)
    mined = mine(contents[:1], contents, matches, count=2)
    assert (mined.rows.tolist(), mined.unguarded) == ([[2, 3]], 1)


def test_what_shares_a_positive_is_not_mined() -> None:
    """Clicks: b was clicked for q and r, so each may be right for the other; d is three steps from q, and e unknown."""
    matches = match_set({"q": {"b": 1}, "r": {"b": 1, "d": 1}}, "qbrde")
    assert positive_groups(matches) is None
    mined = mine(unit(2), unit(5), matches, count=4, guard=None)
    assert [sorted(rows) for rows in mined.rows.tolist()] == [[-1, -1, 3, 4], [-1, -1, -1, 4]]
    assert mined.short == 2


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [None, 4])
@pytest.mark.parametrize(("guard", "skip"), [(None, 0), (0.95, 0), (0.8, 2)])
def test_mining_equals_the_loop_over_anchors(
    seed: int, classes: int | None, guard: float | None, skip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With groups and without, pairs in many small pieces, the loop finds the same rows."""
    monkeypatch.setattr(mining, "_PAIRS", 7)
    matches = at_random(seed, classes)
    assert (positive_groups(matches) is not None) == (classes is not None)
    queries, contents = unit(len(matches), seed), unit(len(matches.ids), seed + 9)
    mined = mine(queries, contents, matches, count=4, guard=guard, skip=skip)
    expected = loop(queries, contents, matches, 4, guard, skip)
    assert mined.rows.tolist() == expected
    assert mined.found == sum(row >= 0 for rows in expected for row in rows)


def test_the_order_of_contents_does_not_matter() -> None:
    """The same match data in another order of anchors gives each anchor the same contents."""
    matches = at_random(0, 4)
    turned = matches.only(np.arange(len(matches))[::-1])
    queries, contents = unit(len(matches)), unit(len(matches.ids), 9)
    rows = mine(queries, contents, matches, count=3).rows
    assert mine(queries[::-1].copy(), contents, turned, count=3).rows.tolist() == rows[::-1].tolist()


def test_random_draws_within_the_depth() -> None:
    """Two of the four nearest after the one that is skipped, nearest first, and no other by the same seed."""
    matches = match_set({"q": {"p": 1}}, "qpabcdefg")
    contents = at(1, 0.99, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)

    def drawn(seed: int) -> tuple[int, ...]:
        found = mine(contents[:1], contents, matches, count=2, skip=1, sampling="random", depth=4, seed=seed)
        return tuple(found.rows[0].tolist())

    seen = {drawn(seed) for seed in range(60)}
    assert seen == {(a, b) for a in (3, 4, 5, 6) for b in (4, 5, 6) if a < b}
    assert drawn(1) == drawn(1)


def test_random_never_draws_a_hole_before_a_content() -> None:
    """With three contents for a depth of ten, three of five slots are filled, the nearest first."""
    matches = match_set({"q": {"p": 1}}, "qpabc")
    contents = at(1, 0.99, 0.8, 0.7, 0.6)
    mined = mine(contents[:1], contents, matches, count=5, sampling="random", depth=10)
    assert mined.rows.tolist() == [[2, 3, 4, -1, -1]]
    assert (mined.found, mined.short) == (3, 1)


def test_mined_negatives_become_judgements() -> None:
    """They come after what an anchor has, with label -1 and weight 1; the set was mined, not changed."""
    matches = match_set({"q": {"p": 3, "n": -1}, "r": {"n": 1}}, "qpnrab")
    empty = np.full((2, 2), -np.inf, np.float32)
    mined = Mined(np.array([[4, 5], [5, -1]]), empty, found=3, short=1, guarded=0, unguarded=0)
    more = mined.with_negatives(matches)
    assert more.offsets.tolist() == [0, 4, 6]
    assert more.matches.tolist() == [1, 2, 4, 5, 2, 5]
    assert more.labels.tolist() == [3, -1, -1, -1, 1, -1]
    assert more.weights.tolist() == [1] * 6
    assert [more.labels.dtype.name, more.weights.dtype.name, more.offsets.dtype.name] == [
        "float32",
        "float32",
        "int64",
    ]
    assert len(matches.labels) == 3
    with pytest.raises(OptionError, match="2 anchors; the match set has 1"):
        mined.with_negatives(matches.only(np.array([0])))


def test_one_class_leaves_nothing_to_mine() -> None:
    """Where one positive judgement or two connect all contents, each anchor is short and nothing is mined."""
    matches = match_set({"a": {"b": 1, "c": 1}, "b": {"a": 1, "c": 1}})
    mined = mine(unit(2), unit(3), matches, count=2)
    assert (mined.rows.tolist(), mined.found, mined.short) == ([[-1, -1]] * 2, 0, 2)
    assert len(mined.with_negatives(matches).labels) == 4


def test_one_anchor_alone_has_no_negatives() -> None:
    """A set of one content: nothing but itself is there."""
    matches = match_set({"a": {}})
    assert mine(unit(1), unit(1), matches, count=1).rows.tolist() == [[-1]]


def test_all_contents_alike_are_guarded() -> None:
    """An encoder that maps everything onto one point: each content is as near as the positive, so none is mined."""
    matches = match_set({"q": {"p": 1}}, "qpabc")
    alike = np.repeat(unit(1), 5, axis=0)
    mined = mine(alike[:1], alike, matches, count=2)
    assert (mined.found, mined.guarded) == (0, 1)
    assert mine(alike[:1], alike, matches, count=2, guard=None).rows.tolist() == [[2, 3]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count is 0"),
        ({"skip": -1}, "skip is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"guard": 0.0}, "guard is 0.0"),
        ({"guard": 1.1}, "guard is 1.1"),
        ({"guard": math.nan}, "guard is nan"),
        ({"depth": 10}, "depth=10"),
        ({"sampling": "best"}, "sampling='best'"),
        ({"sampling": "random", "depth": 4}, "depth is 4; give at least count=5"),
    ],
)
def test_an_option_out_of_range_is_refused(options: mining.MiningOptions, message: str) -> None:
    """Each option has its range, and depth belongs to random."""
    with pytest.raises(OptionError, match=message):
        mine(unit(1), unit(3), match_set({"q": {"p": 1}}, "qpa"), **options)


def test_embeddings_that_do_not_fit_are_refused() -> None:
    """One query for each anchor and one embedding for each content, and finite ones."""
    matches = match_set({"q": {"p": 1}}, "qpa")
    with pytest.raises(OptionError, match="each of the 1 anchors"):
        mine(unit(3), unit(3), matches)
    with pytest.raises(EncoderError, match="nan"):
        mine(unit(1) * np.float32(np.nan), unit(3), matches)


class Letters(nn.Module):
    """Maps a text to a vector by its first letter."""

    def tokenize(self, texts: list[str]) -> dict[str, Tensor]:
        """Return the letters' numbers."""
        return {"letter": torch.tensor([[float(ord(text[0]) - 96)] for text in texts])}

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return vectors that turn with the letter, (B, 2)."""
        turned = features["letter"] / 10
        return torch.cat([turned.cos(), turned.sin()], dim=1)


def test_an_encoder_mines_what_it_finds_near() -> None:
    """The letters next to f that are not judged: g is guarded, for e is the positive; d and h come."""
    encoder = Encoder(Letters(), EncoderSpec("letters"))
    mined = mine_negatives(encoder, match_set({"f": {"e": 1}}, "fedchz"), count=2, guard=0.99)
    assert mined.rows.tolist() == [[2, 4]]
