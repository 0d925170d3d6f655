"""Objectives: blocks that change nothing but memory, embeddings that can be cut."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode

from finetuner.losses import CosineObjective, InfoNCE, Loss, MarginMSE, Matryoshka, Relations, Triplet
from tests.loss_batches import at_random, classes, slope


def embedded(seed: int = 0) -> tuple[Tensor, Tensor, Relations]:
    """Return embeddings of 7 anchors and 20 contents, with relations."""
    _, relations = at_random(seed, anchors=7, contents=20, weighted=True)
    random = torch.Generator().manual_seed(seed)
    queries, contents = (torch.randn(rows, 8, generator=random, dtype=torch.float64) for rows in (7, 20))
    return normalize(queries).requires_grad_(), normalize(contents).requires_grad_(), relations


@pytest.mark.parametrize("loss", [InfoNCE(), Triplet(), Triplet(mining="hard"), MarginMSE()], ids=repr)
@pytest.mark.parametrize("most", [1, 3 * 20])
def test_blocks_change_neither_value_nor_gradient(loss: Loss, most: int) -> None:
    """Anchors one by one, or in threes with one left over, add up to all at once."""
    queries, contents, relations = embedded()
    whole = CosineObjective(loss)(queries, contents, relations)
    blocks = CosineObjective(loss, most=most)(queries, contents, relations)
    torch.testing.assert_close(blocks, whole)
    for given, expected in zip(
        torch.autograd.grad(blocks, [queries, contents]),
        torch.autograd.grad(whole, [queries, contents]),
        strict=True,
    ):
        torch.testing.assert_close(given, expected)


def test_blocks_never_hold_all_cosines() -> None:
    """Neither there nor back is a tensor larger than a block of two anchors, or the embeddings."""

    class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
        numbers = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            for one in result if isinstance(result, tuple | list) else (result,):
                self.numbers = max(self.numbers, one.numel() if isinstance(one, Tensor) else 0)
            return result

    unit, relations = classes(5, 30, 2)
    queries = unit.detach().clone().requires_grad_()
    with Largest() as largest:  # type: ignore[no-untyped-call]
        CosineObjective(InfoNCE(), most=60)(queries, unit, relations).backward()
    assert largest.numbers == 60


def test_blocks_keep_no_cosines_for_the_gradient() -> None:
    """Between there and back embeddings are kept, of 60 numbers in all; without blocks 900 cosines and more are."""
    unit, relations = classes(5, 30, 2)
    kept = []
    for most in (60, 30 * 30):
        numbers: dict[int, int] = {}

        def keep(one: Tensor, numbers: dict[int, int] = numbers) -> Tensor:
            numbers[one.data_ptr()] = one.numel()
            return one

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one):
            value = CosineObjective(InfoNCE(), most=most)(unit, unit, relations)
        assert value.requires_grad
        kept.append(sum(numbers.values()))
    assert kept[0] < 3 * 60
    assert kept[1] > 30 * 30


def test_anchors_that_are_all_contents_have_the_same_gradient() -> None:
    """One tensor for both sides, which is computed in fewer steps, gets the sum of what two tensors get."""
    unit, relations = classes(2, 5, 3)
    objective = CosineObjective(InfoNCE())
    torch.autograd.gradcheck(lambda one: objective(one, one, relations), unit)
    other = unit.detach().clone().requires_grad_()
    two = torch.autograd.grad(objective(other, unit, relations), [other, unit])
    torch.testing.assert_close(slope(objective(unit, unit, relations), unit), two[0] + two[1])


def test_half_precision_is_left_before_the_loss() -> None:
    """Embeddings in bfloat16 give a loss in single precision, and gradients in bfloat16."""
    unit, relations = classes(3, 9, 4)
    for other in (unit.detach().clone(), unit):
        queries, contents = other.bfloat16(), unit.bfloat16()
        value = CosineObjective(InfoNCE())(contents if other is unit else queries, contents, relations)
        assert value.dtype == torch.float32
        assert slope(value, contents).dtype == torch.bfloat16


def test_matryoshka_is_the_sum_over_prefixes_of_length_one() -> None:
    """Each dimension counts by its weight, on the first numbers of each embedding, normalised again."""
    queries, contents, relations = embedded()
    inner = CosineObjective(InfoNCE())
    value = Matryoshka(lambda _: inner, [2, 8], [3, 1])(queries, contents, relations)
    short = inner(normalize(queries[:, :2]), normalize(contents[:, :2]), relations)
    torch.testing.assert_close(value, 3 * short + inner(queries, contents, relations))


def test_matryoshka_keeps_the_gradient_finite_where_a_prefix_is_zero() -> None:
    """An embedding whose first numbers are 0 has no direction there, and its gradient is a number."""
    queries, contents, relations = embedded()
    contents = (contents * torch.tensor([0, 0] + [1] * 6)).detach().requires_grad_()
    value = Matryoshka(lambda _: CosineObjective(InfoNCE()), [2, 8])(queries, contents, relations)
    assert slope(value, contents).isfinite().all()


def test_objectives_say_what_they_need_and_what_teaches() -> None:
    """Both are those of the loss, also within a Matryoshka."""
    _, _, relations = embedded()
    for loss in (InfoNCE(), MarginMSE()):
        inner = CosineObjective(loss)
        for objective in (inner, Matryoshka({2: inner, 4: inner}.__getitem__, [2, 4])):
            assert objective.uses_scores is loss.uses_scores
            assert objective.learns_values is loss.learns_values
            assert objective.uses_groups is False
            assert objective.teaches(relations).tolist() == loss.teaches(relations).tolist()
