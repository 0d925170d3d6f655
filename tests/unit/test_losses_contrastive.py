"""The contrastive loss: hand-computed values and the loop from the paper."""

import pytest

from finetuner.losses import Contrastive
from tests.loss_batches import at_random, cosines, known, slope


def test_a_pair_costs_half_the_square_of_what_is_wrong_with_it() -> None:
    """A positive at distance 0.4 costs 0.08, a negative 0.3 within the margin 0.045, one beyond it nothing."""
    value = Contrastive(0.5)(cosines([0.6, 0.8, 0.4, 1]), known("+--."))
    assert value.item() == pytest.approx((0.08 + 0.045 + 0) / 3)


def test_a_negative_that_keeps_the_margin_is_left_alone() -> None:
    """A negative at or beyond the margin is not moved, one within it is pushed by how far it is within."""
    cosine = cosines([0.5, 0.2, 0.75])
    assert slope(Contrastive(0.5)(cosine, known("---")), cosine).tolist() == [[0, 0, 0.25 / 3]]


@pytest.mark.parametrize("margin", [0.2, 1.3])
def test_it_equals_the_loop_from_the_paper(margin: float) -> None:
    """Equation 4 of Hadsell et al. 2006 for each judged pair, and their weighted mean."""
    cosine, given = at_random(0, weighted=True)
    assert given.weight is not None
    top, bottom = 0.0, 0.0
    for a, c in given.judged.nonzero().tolist():
        distance, weight = 1 - cosine[a, c].item(), given.weight[a, c].item()
        cost = distance**2 / 2 if given.positive[a, c] else max(0.0, margin - distance) ** 2 / 2
        top, bottom = top + weight * cost, bottom + weight
    assert Contrastive(margin)(cosine, given).item() == pytest.approx(top / bottom)
