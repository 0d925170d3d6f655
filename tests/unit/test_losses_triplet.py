"""The triplet loss: hand-computed values, loops over listed triplets, and that they are never listed."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from finetuner.losses import Relations, Triplet
from finetuner.losses.triplet import Mining
from tests.loss_batches import at_random, cosines, known, slope


def triplets(cosine: Tensor, given: Relations, margin: float, mining: Mining) -> list[tuple[float, Tensor]]:
    """Return weight and hinge of each triplet that counts, as FaceNet and Hermans et al. define them."""
    weight = torch.ones_like(cosine) if given.weight is None else given.weight
    distance = 2 - 2 * cosine
    found = []
    for a, row in enumerate(distance):
        wins, loses = (side[a].nonzero().flatten().tolist() for side in (given.positive, given.negative))
        if mining == "hard" and wins and loses:
            wins, loses = [max(wins, key=row.tolist().__getitem__)], [
                min(loses, key=row.tolist().__getitem__)
            ]
        for p in wins:
            for n in loses:
                hinge = (row[p] - row[n] + margin).clamp(min=0)
                in_order = bool(row[p] < row[n])
                if mining == "hard" or (hinge > 0 and (mining == "all" or in_order)):
                    found.append(((weight[a, p] * weight[a, n]).item(), hinge))
    return found


def test_only_violated_triplets_count() -> None:
    """Positive at 0.5, negatives at 0.45 and -1: only the first violates the margin, by 0.2 - 2 * 0.05."""
    assert Triplet()(cosines([0.5, 0.45, -1]), known("+--")).item() == pytest.approx(0.1)


def test_a_triplet_that_just_keeps_the_margin_is_solved() -> None:
    """A hinge of exactly 0 (0.25 against 0.5 at margin 0.5) does not count in the mean with one of 0.5."""
    assert Triplet(margin=0.5)(cosines([0.5, 0.25, 0.5]), known("+--")).item() == 0.5


def test_hard_is_the_furthest_positive_with_the_nearest_negative() -> None:
    """Positives at 0.9 and 0.5, negatives at 0.75 and 0.1: 2 * 0.25 + 0.2; an anchor that keeps it counts as 0."""
    cosine = cosines([0.9, 0.5, 0.75, 0.1], [0.9, 0.8, 0.1, 0.1])
    assert Triplet(mining="hard")(cosine, known("++--", "++--")).item() == pytest.approx((0.7 + 0) / 2)


def test_semi_hard_leaves_out_what_is_nearer_than_the_positive() -> None:
    """Positive at 0.5: a negative at 0.6 or at 0.5 is too hard, one at 0.3 too easy, and one at 0.45 costs 0.1."""
    cosine = cosines([0.5, 0.6, 0.5, 0.3, 0.45])
    value = Triplet(mining="semi-hard")(cosine, known("+----"))
    assert value.item() == pytest.approx(0.1)
    assert slope(value, cosine).tolist() == [[-2, 0, 0, 0, 2]]


@pytest.mark.parametrize("mining", ["all", "hard", "semi-hard"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("margin", [0.2, 5.0])
def test_value_and_gradient_equal_those_of_listed_triplets(
    mining: Mining, weighted: bool, margin: float
) -> None:
    """Counting by sorting gives what listing every triplet gives; at margin 5 every one is active."""
    cosine, given = at_random(1, weighted=weighted)
    listed = triplets(cosine, given, margin, mining)
    expected = torch.stack([weight * hinge for weight, hinge in listed]).sum() / sum(
        weight for weight, _ in listed
    )
    value = Triplet(margin, mining)(cosine, given)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(slope(value, cosine), slope(expected, cosine))


@pytest.mark.parametrize("mining", ["all", "hard", "semi-hard"])
def test_it_never_builds_more_than_a_batch(mining: Mining) -> None:
    """No tensor on the way is larger than anchors x contents, though there are 250 times as many triplets."""

    class Largest(TorchFunctionMode):
        numbers = 0

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple) else (result,):
                self.numbers = max(self.numbers, tensor.numel() if isinstance(tensor, Tensor) else 0)
            return result

    cosine, given = at_random(0, anchors=4, contents=1000)
    with Largest() as largest:
        Triplet(mining=mining)(cosine, given)
    assert 4 * 1000 <= largest.numbers <= 4 * 1001
