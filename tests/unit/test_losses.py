"""The losses: hand-computed values, loops written from the papers, and what must never change a loss."""

import math

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from finetuner.errors import OptionError
from finetuner.losses import LOSSES, CosineRegression, InfoNCE, Loss, Triplet

ALL = [InfoNCE(), InfoNCE(temperature=0.02), CosineRegression(), Triplet(), Triplet(margin=1.5)]
every_loss = pytest.mark.parametrize("loss", ALL, ids=repr)


def batch(seed: int, anchors: int = 5, contents: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Return random (cosine, positive, negative), with about a third of the pairs unjudged."""
    random = torch.Generator().manual_seed(seed)
    cosine = torch.rand(anchors, contents, generator=random, dtype=torch.float64) * 2 - 1
    relation = torch.randint(0, 3, (anchors, contents), generator=random)
    return cosine, relation == 1, relation == 2


def matrix(*rows: list[float]) -> Tensor:
    """Return rows of numbers in double precision."""
    return torch.tensor(rows, dtype=torch.float64)


def loop_infonce(cosine: Tensor, positive: Tensor, negative: Tensor, temperature: float) -> float:
    """Khosla et al. 2020, equation 2, anchor by anchor."""
    losses = []
    for s, p, n in zip((cosine / temperature).tolist(), positive.tolist(), negative.tolist(), strict=True):
        if any(p) and any(n):
            total = sum(math.exp(s[j]) for j in range(len(s)) if p[j] or n[j])
            losses.append(-sum(math.log(math.exp(s[j]) / total) for j in range(len(s)) if p[j]) / sum(p))
    return sum(losses) / len(losses)


def loop_triplet(cosine: Tensor, positive: Tensor, negative: Tensor, margin: float) -> float:
    """FaceNet's hinge on squared distances of every triplet, its mean over those that are not zero."""
    distance = (2 - 2 * cosine).tolist()
    hinges = [
        d[p] - d[n] + margin
        for d, is_p, is_n in zip(distance, positive.tolist(), negative.tolist(), strict=True)
        for p in range(len(d))
        for n in range(len(d))
        if is_p[p] and is_n[n]
    ]
    active = [hinge for hinge in hinges if hinge > 0]
    return sum(active) / len(active)


def test_infonce_of_a_softmax_share_of_one_half() -> None:
    """exp(s) is 2 for the positive and 1 + 1 for the negatives, so the loss is log 2."""
    cosine = matrix([math.log(2), 0, 0])
    loss = InfoNCE(temperature=1)(
        cosine, torch.tensor([[True, False, False]]), torch.tensor([[False, True, True]])
    )
    assert loss.item() == pytest.approx(math.log(2))


def test_infonce_divides_by_the_temperature() -> None:
    """A temperature of 0.5 doubles the logits: the share is 4 of 4 + 1."""
    cosine = matrix([math.log(2), 0])
    loss = InfoNCE(temperature=0.5)(cosine, torch.tensor([[True, False]]), torch.tensor([[False, True]]))
    assert loss.item() == pytest.approx(math.log(5 / 4))


def test_infonce_averages_logarithms_outside_over_the_positives() -> None:
    """Positives with shares 1/2 and 1/4 cost (log 2 + log 4) / 2, not log of their mean share."""
    cosine = matrix([math.log(2), 0, 0])
    loss = InfoNCE(temperature=1)(
        cosine, torch.tensor([[True, True, False]]), torch.tensor([[False, False, True]])
    )
    assert loss.item() == pytest.approx(1.5 * math.log(2))


def test_cosine_regression_is_the_mean_squared_error_to_plus_and_minus_one() -> None:
    """Errors 0.5 (positive at 0.5) and 0.6 (negative at -0.4) give (0.25 + 0.36) / 2; unjudged counts not."""
    loss = CosineRegression()(
        matrix([0.5, -0.4, 0.9]), torch.tensor([[True, False, False]]), torch.tensor([[False, True, False]])
    )
    assert loss.item() == pytest.approx(0.305)


def test_triplet_counts_only_violated_triplets() -> None:
    """Positive at 0.5, negatives at 0.45 and -1: only the first violates the margin, by 0.2 - 2 * 0.05."""
    loss = Triplet()(
        matrix([0.5, 0.45, -1]), torch.tensor([[True, False, False]]), torch.tensor([[False, True, True]])
    )
    assert loss.item() == pytest.approx(0.1)


def test_a_triplet_that_just_keeps_the_margin_is_solved() -> None:
    """A hinge of exactly 0 (0.25 against 0.5 at margin 0.5) does not count in the mean with one of 0.5."""
    loss = Triplet(margin=0.5)(
        matrix([0.5, 0.25, 0.5]), torch.tensor([[True, False, False]]), torch.tensor([[False, True, True]])
    )
    assert loss.item() == 0.5


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
def test_infonce_equals_the_loop_from_the_paper(seed: int, temperature: float) -> None:
    """Any batch gives what equation 2 gives, anchor by anchor."""
    cosine, positive, negative = batch(seed)
    loss = InfoNCE(temperature=temperature)(cosine, positive, negative)
    assert loss.item() == pytest.approx(loop_infonce(cosine, positive, negative, temperature))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("margin", [0.05, 0.2, 5.0])
def test_triplet_equals_the_loop_over_all_triplets(seed: int, margin: float) -> None:
    """Counting by sorting gives what listing every triplet gives; at margin 5 every one is active."""
    cosine, positive, negative = batch(seed)
    loss = Triplet(margin=margin)(cosine, positive, negative)
    assert loss.item() == pytest.approx(loop_triplet(cosine, positive, negative, margin))


def test_triplet_gradient_equals_that_of_all_triplets() -> None:
    """The gradient is the one of the listed triplets, not only the value."""
    cosine, positive, negative = batch(1)
    cosine.requires_grad_()
    hinge = 2 * (cosine[:, None, :] - cosine[:, :, None]) + 0.2
    active = (positive[:, :, None] & negative[:, None, :]) & (hinge > 0)
    (expected,) = torch.autograd.grad(hinge[active].mean(), cosine)
    (given,) = torch.autograd.grad(Triplet()(cosine, positive, negative), cosine)
    torch.testing.assert_close(given, expected)


def test_triplet_never_builds_more_than_a_batch() -> None:
    """No tensor on the way is larger than anchors x contents, though there are 250 times as many triplets."""

    class Largest(TorchFunctionMode):
        numbers = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple) else (result,):
                self.numbers = max(self.numbers, tensor.numel() if isinstance(tensor, Tensor) else 0)
            return result

    cosine, positive, negative = batch(0, anchors=4, contents=1000)
    with Largest() as largest:
        Triplet()(cosine, positive, negative)
    assert largest.numbers == 4 * 1001


@every_loss
def test_order_of_anchors_and_contents_does_not_matter(loss: Loss) -> None:
    """Relations are per pair, so shuffling rows and columns together changes nothing."""
    cosine, positive, negative = batch(2)
    random = torch.Generator().manual_seed(0)
    rows, columns = torch.randperm(5, generator=random), torch.randperm(12, generator=random)
    shuffled = [part[rows][:, columns] for part in (cosine, positive, negative)]
    torch.testing.assert_close(loss(*shuffled), loss(cosine, positive, negative))


@every_loss
def test_unjudged_pairs_get_no_gradient(loss: Loss) -> None:
    """A pair that is neither positive nor negative is neither pulled nor pushed."""
    cosine, positive, negative = batch(3)
    (gradient,) = torch.autograd.grad(loss(cosine.requires_grad_(), positive, negative), cosine)
    assert gradient[~(positive | negative)].count_nonzero() == 0
    assert gradient.count_nonzero() > 0


@every_loss
def test_positives_are_pulled_and_negatives_pushed(loss: Loss) -> None:
    """In a batch with one positive and one violating negative, descent closes the one and opens the other."""
    cosine = matrix([0.1, 0.4]).requires_grad_()
    value = loss(cosine, torch.tensor([[True, False]]), torch.tensor([[False, True]]))
    (gradient,) = torch.autograd.grad(value, cosine)
    assert gradient[0, 0] < 0 < gradient[0, 1]


@every_loss
@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_those_of_finite_differences(loss: Loss, seed: int) -> None:
    """The gradient that autograd gives is the slope of the loss."""
    cosine, positive, negative = batch(seed)
    assert torch.autograd.gradcheck(lambda given: loss(given, positive, negative), cosine.requires_grad_())


@every_loss
@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (3, 0), (1, 1), (3, 4)], ids=str)
def test_nothing_to_teach_is_zero_with_a_zero_gradient(loss: Loss, shape: tuple[int, int]) -> None:
    """Without any judgement, or without any pair at all, a backward pass still works and moves nothing."""
    cosine = torch.full(shape, 0.5, requires_grad=True)
    nothing = torch.zeros(shape, dtype=torch.bool)
    value = loss(cosine, nothing, nothing)
    value.backward()  # type: ignore[no-untyped-call]
    assert value.item() == 0
    assert cosine.grad is not None
    assert cosine.grad.count_nonzero() == 0


@pytest.mark.parametrize("loss", [InfoNCE(), Triplet()], ids=repr)
@pytest.mark.parametrize("positives", [True, False], ids=["only positives", "only negatives"])
def test_contrast_needs_both_sides(loss: Loss, positives: bool) -> None:
    """An anchor that has only positives, or only negatives, teaches nothing and gives a zero gradient."""
    cosine = torch.tensor([[0.3, 0.6]], requires_grad=True)
    side, other = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2, dtype=torch.bool)
    value = loss(cosine, side, other) if positives else loss(cosine, other, side)
    (gradient,) = torch.autograd.grad(value, cosine)
    assert value.item() == 0
    assert gradient.tolist() == [[0, 0]]


@pytest.mark.parametrize("loss", [InfoNCE(), Triplet()], ids=repr)
def test_an_anchor_that_cannot_teach_does_not_dilute_the_others(loss: Loss) -> None:
    """The mean is over what teaches: an additional anchor without negatives leaves the loss as it was."""
    cosine, positive, negative = batch(4, anchors=1)
    more = (
        torch.cat([cosine, cosine]),
        torch.cat([positive, positive]),
        torch.cat([negative, negative & False]),
    )
    torch.testing.assert_close(loss(*more), loss(cosine, positive, negative))


@every_loss
def test_duplicates_and_collapse_stay_finite(loss: Loss) -> None:
    """With every cosine at 1, as after a collapse, loss and gradient are finite."""
    _, positive, negative = batch(5)
    cosine = torch.ones(5, 12, requires_grad=True)
    value = loss(cosine, positive, negative)
    (gradient,) = torch.autograd.grad(value, cosine)
    assert value.isfinite()
    assert gradient.isfinite().all()


@every_loss
def test_nan_is_not_hidden(loss: Loss) -> None:
    """A diverged encoder shows in the loss, so that a run can stop."""
    cosine, positive, negative = batch(6)
    assert loss(cosine * math.nan, positive, negative).isnan()


@pytest.mark.parametrize("value", [0, -0.1, math.inf, math.nan, True, "0.2"])
def test_unusable_parameters_are_refused_by_name(value: float) -> None:
    """A temperature or margin that is not a finite number above 0 raises an error that names it."""
    with pytest.raises(OptionError, match="loss 'infonce': temperature"):
        InfoNCE(temperature=value)
    with pytest.raises(OptionError, match="loss 'triplet': margin"):
        Triplet(margin=value)


def test_losses_are_found_by_name() -> None:
    """Options name a loss and its fields."""
    assert LOSSES["infonce"](temperature=0.1) == InfoNCE(temperature=0.1)
    assert LOSSES["cosine"]() == CosineRegression()
    assert LOSSES["triplet"](margin=0.4) == Triplet(margin=0.4)


@pytest.mark.parametrize("seed", [0, 1])
def test_weighted_losses_equal_their_loops(seed: int) -> None:
    """Each loss is the weighted mean that its docstring writes down, computed term by term."""
    cosine, positive, negative = batch(seed)
    weight = torch.rand(cosine.shape, generator=torch.Generator().manual_seed(seed)) * 3 + 0.1
    rows = range(len(cosine))
    wins = {a: [c for c in range(cosine.shape[1]) if positive[a, c]] for a in rows}
    loses = {a: [c for c in range(cosine.shape[1]) if negative[a, c]] for a in rows}
    top, bottom = 0.0, 0.0
    for a in rows:
        if wins[a] and loses[a]:
            s = (cosine[a] / 0.3).tolist()
            total = sum(math.exp(s[p]) for p in wins[a])
            total += sum(weight[a, n].item() * math.exp(s[n]) for n in loses[a])
            top += sum(weight[a, p].item() * (math.log(total) - s[p]) for p in wins[a]) / len(wins[a])
            bottom += sum(weight[a, p].item() for p in wins[a]) / len(wins[a])
    assert InfoNCE(0.3)(cosine, positive, negative, weight).item() == pytest.approx(top / bottom, rel=1e-5)
    squares = [(weight[a, c] * (cosine[a, c] - 1) ** 2).item() for a in rows for c in wins[a]]
    squares += [(weight[a, c] * (cosine[a, c] + 1) ** 2).item() for a in rows for c in loses[a]]
    judged = positive | negative
    mean = sum(squares) / weight[judged].sum().item()
    assert CosineRegression()(cosine, positive, negative, weight).item() == pytest.approx(mean, rel=1e-5)
    active = [
        ((weight[a, p] * weight[a, n]).item(), (2 * (cosine[a, n] - cosine[a, p]) + 0.4).item())
        for a in rows
        for p in wins[a]
        for n in loses[a]
        if 2 * (cosine[a, n] - cosine[a, p]) + 0.4 > 0
    ]
    mean = sum(w * one for w, one in active) / sum(w for w, _ in active)
    assert Triplet(0.4)(cosine, positive, negative, weight).item() == pytest.approx(mean, rel=1e-5)


@every_loss
def test_weights_of_one_change_nothing(loss: Loss) -> None:
    """Who gives every pair its usual weight gets the loss without weights."""
    cosine, positive, negative = batch(3)
    weighted = loss(cosine, positive, negative, torch.ones_like(cosine))
    assert weighted.item() == loss(cosine, positive, negative).item()
