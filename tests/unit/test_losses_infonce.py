"""InfoNCE: hand-computed values, the loop from the paper, weights and grades."""

import math
from dataclasses import replace

import pytest
import torch

from finetuner.losses import InfoNCE, Relations
from tests.loss_batches import at_random, cosines, known, slope


def loop(cosine: torch.Tensor, given: Relations, temperature: float, *, graded: bool = False) -> float:
    """Khosla et al. 2020, equation 2, anchor by anchor, with weights and grades as the docstring has them."""
    weight = (torch.ones_like(cosine) if given.weight is None else given.weight).tolist()
    assert given.score is not None
    top, bottom = 0.0, 0.0
    for a, row in enumerate((cosine / temperature).tolist()):
        wins = [c for c in range(len(row)) if given.positive[a, c]]
        loses = [c for c in range(len(row)) if given.negative[a, c]]
        if not wins or not loses:
            continue
        total = sum(math.exp(row[p]) for p in wins) + sum(weight[a][n] * math.exp(row[n]) for n in loses)
        scores = [given.score[a, p].item() for p in wins]
        mean = sum(s for s in scores if s > 0) / max(1, sum(s > 0 for s in scores))
        grades = [(s if s > 0 else mean) if graded and mean else 1.0 for s in scores]
        counts = [weight[a][p] * grade for p, grade in zip(wins, grades, strict=True)]
        losses = [math.log(total) - row[p] for p in wins]
        importance = sum(weight[a][p] for p in wins) / len(wins)
        top += importance * sum(c * one for c, one in zip(counts, losses, strict=True)) / sum(counts)
        bottom += importance
    return top / bottom


def test_a_softmax_share_of_one_half() -> None:
    """exp(s) is 2 for the positive and 1 + 1 for the negatives, so the loss is log 2."""
    assert InfoNCE(1)(cosines([math.log(2), 0, 0]), known("+--")).item() == pytest.approx(math.log(2))


def test_cosines_are_divided_by_the_temperature() -> None:
    """A temperature of 0.5 doubles the logits: the share is 4 of 4 + 1."""
    assert InfoNCE(0.5)(cosines([math.log(2), 0]), known("+-")).item() == pytest.approx(math.log(5 / 4))


def test_logarithms_are_averaged_outside_over_the_positives() -> None:
    """Positives with shares 1/2 and 1/4 cost (log 2 + log 4) / 2, not log of their mean share."""
    value = InfoNCE(1)(cosines([math.log(2), 0, 0]), known("++-"))
    assert value.item() == pytest.approx(1.5 * math.log(2))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("temperature", [0.05, 0.3])
def test_it_equals_the_loop_from_the_paper(weighted: bool, graded: bool, temperature: float) -> None:
    """Any batch gives what equation 2 gives, anchor by anchor."""
    cosine, given = at_random(1, weighted=weighted)
    value = InfoNCE(temperature, graded)(cosine, given)
    assert value.item() == pytest.approx(loop(cosine.detach(), given, temperature, graded=graded))


def test_grades_share_the_softmax_in_their_proportion() -> None:
    """With scores 3 and 1 the best softmax gives the positives 3/4 and 1/4 of what both have."""
    given = replace(known("++-"), score=torch.tensor([[3, 1, math.nan]]))
    cosine = cosines([math.log(3), 0, -50])
    assert slope(InfoNCE(1, graded=True)(cosine, given), cosine).abs().max().item() < 1e-9
    assert slope(InfoNCE(1)(cosine, given), cosine)[0, 0].item() == pytest.approx(0.25)


def test_an_ungraded_positive_counts_like_the_mean_of_the_graded() -> None:
    """Scores 1, 3 and none count 1, 3 and 2; one below 0 counts 0; where none is above 0, all count alike."""
    loss, cosine = InfoNCE(1, graded=True), cosines([0.1, 0.2, 0.3, 0.4])
    one, other = (
        loss(cosine, replace(known("+++-"), score=torch.tensor([[1, 3, third, math.nan]])))
        for third in (math.nan, 2)
    )
    assert one.item() == other.item()
    below, zero = (replace(known("+++-"), score=torch.tensor([[3, 1, low, math.nan]])) for low in (-4, 0))
    assert loss(cosine, below).item() == loss(cosine, zero).item()
    score = torch.tensor([[0, -2, math.nan, math.nan]])
    assert (
        loss(cosine, replace(known("+++-"), score=score)).item() == InfoNCE(1)(cosine, known("+++-")).item()
    )


def test_a_small_temperature_does_not_overflow() -> None:
    """At a temperature of 0.001 logits are 1000, whose exponentials single precision does not hold."""
    cosine = cosines([-1, 1]).detach().float().requires_grad_()
    value = InfoNCE(0.001)(cosine, known("+-"))
    assert value.item() == pytest.approx(2000)
    assert slope(value, cosine).tolist() == [[-1000, 1000]]
