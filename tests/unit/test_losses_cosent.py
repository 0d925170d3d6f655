"""CoSENT: hand-computed values, the loop from the paper, ties, and that pairs of pairs are never listed."""

import math
from dataclasses import replace

import pytest
import torch

from finetuner.losses import CoSENT, Relations
from tests.loss_batches import at_random, cosines, known, slope


def scored(*rows: list[float]) -> Relations:
    """Return scores of pairs of which nothing else is known."""
    return replace(known(*("." * len(row) for row in rows)), score=torch.tensor(rows, dtype=torch.float64))


def test_two_scored_pairs() -> None:
    """The higher score at cosine 0.1 and the lower one at 0.3 cost log(1 + exp(20 * 0.2))."""
    value = CoSENT()(cosines([0.1, 0.3]), scored([0.9, 0.2]))
    assert value.item() == pytest.approx(math.log1p(math.exp(4)))


def test_pairs_of_different_anchors_are_compared() -> None:
    """Scores are of the whole batch: one anchor's pair must be nearer than another's with a lower score."""
    value = CoSENT(scale=1)(cosines([0.5, 0], [0, 0.2]), scored([1, math.nan], [math.nan, 2]))
    assert value.item() == pytest.approx(math.log1p(math.exp(0.3)))


def test_equal_scores_are_not_compared() -> None:
    """Of scores 1, 2, 2 only the two comparisons with the 1 count; where all are equal nothing does."""
    value = CoSENT(scale=1)(cosines([0, 0, 0]), scored([2, 1, 2]))
    assert value.item() == pytest.approx(math.log(3))
    cosine = cosines([0.2, 0.4])
    assert slope(CoSENT()(cosine, scored([3, 3])), cosine).tolist() == [[0, 0]]
    assert CoSENT().teaches(scored([3, 3])).tolist() == [False]


@pytest.mark.parametrize("weighted", [False, True])
def test_value_and_gradient_equal_those_of_the_loop(weighted: bool) -> None:
    """Running sums give what listing all pairs of pairs gives, with scores that are equal too."""
    cosine, given = at_random(0, anchors=3, contents=6, weighted=weighted)
    assert given.score is not None
    places = (~given.score.isnan()).nonzero().tolist()
    weight = torch.ones_like(cosine) if given.weight is None else given.weight
    terms = [
        weight[i] * weight[j] * torch.exp(5 * (cosine[j] - cosine[i]))
        for i in map(tuple, places)
        for j in map(tuple, places)
        if given.score[i] > given.score[j]
    ]
    expected = torch.log1p(torch.stack(terms).sum())
    value = CoSENT(scale=5)(cosine, given)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(slope(value, cosine), slope(expected, cosine))


def test_a_large_scale_does_not_overflow() -> None:
    """At a scale of 1000 exponentials of 2000 are no numbers, and the loss is one."""
    cosine = cosines([-1, 1, 0.5])
    value = CoSENT(scale=1000)(cosine, scored([3, 1, 2]))
    assert value.item() == pytest.approx(2000)
    assert slope(value, cosine)[0].tolist() == pytest.approx([-1000, 1000, 0])


def test_without_scores_there_is_nothing_to_learn() -> None:
    """Signs alone are no scores."""
    assert CoSENT().teaches(known("+-")).tolist() == [False]
    assert CoSENT()(cosines([0.1, 0.3]), known("+-")).item() == 0
