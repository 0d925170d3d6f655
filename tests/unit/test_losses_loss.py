"""What holds for every loss: what must not change it, what must not break it, and what it says it can learn from."""

import math
from dataclasses import replace

import pytest
import torch

from finetuner.losses import (
    Contrastive,
    CoSENT,
    CosineRegression,
    InfoNCE,
    Loss,
    MarginMSE,
    Ratio,
    Relations,
    Triplet,
)
from tests.loss_batches import at_random, cosines, known, slope

RATIOS = [
    InfoNCE(),
    InfoNCE(temperature=0.02, graded=True),
    CosineRegression(),
    Contrastive(margin=0.8),
    Triplet(),
    Triplet(margin=1.5, mining="hard"),
    Triplet(margin=0.5, mining="semi-hard"),
    MarginMSE(scale=3),
]
EVERY: list[Loss] = [*RATIOS, CoSENT()]
OF_SIGNS = [loss for loss in EVERY if not isinstance(loss, CoSENT | MarginMSE)]
every_loss = pytest.mark.parametrize("loss", EVERY, ids=repr)
every_ratio = pytest.mark.parametrize("loss", RATIOS, ids=repr)
every_loss_of_signs = pytest.mark.parametrize("loss", OF_SIGNS, ids=repr)


@every_loss
def test_order_of_anchors_and_contents_does_not_matter(loss: Loss) -> None:
    """Relations are per pair, so shuffling rows and columns together changes nothing."""
    cosine, given = at_random(2, weighted=True)
    random = torch.Generator().manual_seed(0)
    rows, columns = torch.randperm(5, generator=random), torch.randperm(12, generator=random)
    assert given.weight is not None
    assert given.score is not None
    parts = (cosine, given.positive, given.negative, given.weight, given.score)
    cosine_shuffled, *shuffled = (part[rows][:, columns] for part in parts)
    torch.testing.assert_close(loss(cosine_shuffled, Relations(*shuffled)), loss(cosine, given))


@every_loss
def test_unknown_pairs_get_no_gradient(loss: Loss) -> None:
    """A pair without a sign and without a score is neither pulled nor pushed, while others are."""
    cosine, given = at_random(3)
    assert given.score is not None
    gradient = slope(loss(cosine, given), cosine)
    assert gradient[~given.judged & given.score.isnan()].count_nonzero() == 0
    assert gradient.count_nonzero() > 0


@every_loss_of_signs
def test_positives_are_pulled_and_negatives_pushed(loss: Loss) -> None:
    """In a batch with one positive and one violating negative, descent closes the one and opens the other."""
    cosine = cosines([0.41, 0.4])
    gradient = slope(loss(cosine, known("+-")), cosine)
    assert gradient[0, 0] < 0 < gradient[0, 1]


@every_loss
def test_gradients_are_those_of_finite_differences(loss: Loss) -> None:
    """The gradient, found by autograd or written down, is the slope of the loss."""
    cosine, given = at_random(1, anchors=4, contents=6, weighted=True)
    assert torch.autograd.gradcheck(lambda one: loss(one, given), cosine)


@every_loss
@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (3, 0), (1, 1), (3, 4)], ids=str)
def test_nothing_to_teach_is_zero_with_a_zero_gradient(loss: Loss, shape: tuple[int, int]) -> None:
    """Without any judgement, or without any pair at all, a backward pass still works and moves nothing."""
    cosine = torch.full(shape, 0.5, requires_grad=True)
    nothing = torch.zeros(shape, dtype=torch.bool)
    given = Relations(nothing, nothing, score=torch.full(shape, math.nan))
    assert loss.teaches(given).tolist() == [False] * shape[0]
    value = loss(cosine, given)
    assert value.item() == 0
    assert slope(value, cosine).count_nonzero() == 0


@every_loss
def test_what_does_not_teach_gets_no_gradient_and_does_not_dilute(loss: Loss) -> None:
    """Anchors from which a loss says it cannot learn leave the loss as it is without them, and are not moved."""
    cosine, given = at_random(4)
    assert given.score is not None
    lone = torch.tensor([True] + [False] * 11)  # one judgement alone
    positive, negative = given.positive.clone(), given.negative.clone()
    positive[:2], negative[:2] = torch.stack([lone, lone & False]), torch.stack([lone & False, lone & False])
    score = given.score.clone()
    score[:2] = math.nan
    given = Relations(positive, negative, score=score)
    taught = loss.teaches(given)
    assert taught[2:].all()
    assert not taught[1]
    few = Relations(positive[taught], negative[taught], score=score[taught])
    torch.testing.assert_close(loss(cosine, given), loss(cosine[taught], few))
    assert slope(loss(cosine, given), cosine)[~taught].count_nonzero() == 0


@every_loss
def test_duplicates_and_collapse_stay_finite(loss: Loss) -> None:
    """With every cosine at 1, as after a collapse, loss and gradient are finite, in single precision too."""
    _, given = at_random(5)
    cosine = torch.ones(5, 12, requires_grad=True)
    value = loss(cosine, given)
    assert value.isfinite()
    assert slope(value, cosine).isfinite().all()


@every_loss
def test_nan_is_not_hidden(loss: Loss) -> None:
    """A diverged encoder shows in the loss, so that a run can stop."""
    cosine, given = at_random(6)
    assert loss(cosine * math.nan, given).isnan()


@every_loss
def test_weights_of_one_change_nothing(loss: Loss) -> None:
    """Who gives every pair its usual weight gets the loss without weights."""
    cosine, given = at_random(3)
    torch.testing.assert_close(loss(cosine, replace(given, weight=torch.ones(5, 12))), loss(cosine, given))


@every_loss
def test_single_precision_stays_and_is_enough(loss: Loss) -> None:
    """The loss and its gradient in single precision are those in double precision up to rounding."""
    cosine, given = at_random(7, weighted=True)
    assert given.weight is not None
    single = cosine.detach().float().requires_grad_()
    value, exact = loss(single, replace(given, weight=given.weight.float())), loss(cosine, given)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), exact, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(slope(value, single).double(), slope(exact, cosine), rtol=1e-3, atol=1e-5)


@every_ratio
def test_terms_add_up_over_anchors(loss: Ratio) -> None:
    """Numerator and denominator of a batch are the sums of those of its anchors, one by one."""
    cosine, given = at_random(8, weighted=True)
    alone = [loss.terms(cosine[a : a + 1], given.rows(slice(a, a + 1))) for a in range(5)]
    for whole, parts in zip(loss.terms(cosine, given), zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(whole, torch.stack(parts).sum())


@pytest.mark.parametrize("loss", [InfoNCE(), Triplet(), Triplet(mining="hard")], ids=repr)
@pytest.mark.parametrize("signs", ["++", "--"])
def test_contrast_needs_both_sides(loss: Loss, signs: str) -> None:
    """An anchor that has only positives, or only negatives, teaches nothing and gives a zero gradient."""
    cosine = cosines([0.3, 0.6])
    value = loss(cosine, known(signs))
    assert loss.teaches(known(signs)).tolist() == [False]
    assert value.item() == 0
    assert slope(value, cosine).tolist() == [[0, 0]]


@pytest.mark.parametrize("loss", [CosineRegression(), Contrastive(), CoSENT(), MarginMSE()], ids=repr)
def test_others_learn_from_what_contrast_cannot(loss: Loss) -> None:
    """Judgements of one side teach what regresses, and scores that differ teach what orders."""
    given = replace(known("++"), score=torch.tensor([[1.0, 2.0]]))
    assert loss.teaches(given).tolist() == [True]
    cosine = cosines([0.6, 0.3])
    assert slope(loss(cosine, given), cosine).count_nonzero() == 2


def test_who_uses_scores_says_so() -> None:
    """A sampler is asked for scores where the loss looks at them, and nowhere else."""
    assert [
        loss.uses_scores for loss in (InfoNCE(), InfoNCE(graded=True), Triplet(), CoSENT(), MarginMSE())
    ] == [
        False,
        True,
        False,
        True,
        True,
    ]
