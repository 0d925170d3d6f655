"""What a loss is: a function of the cosines of a batch and what is known of them, to one number."""

import math
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from finetuner.errors import OptionError
from finetuner.losses.relations import Relations


class Loss(Protocol):
    """A function of cosines and relations. It keeps nothing: see :class:`finetuner.losses.Objective` for what does."""

    def __call__(self, cosine: Tensor, relations: Relations) -> Tensor:
        """Return the loss of a batch.

        Args:
            cosine: Cosine of each anchor with each content, float32 or float64 (A, N); gradients flow into it.
            relations: What is known of them.

        Returns:
            A scalar; 0 with a gradient of zeros if no anchor can teach anything.
        """
        ...

    def teaches(self, relations: Relations) -> Tensor:
        """Return from which anchors it can learn something, bool (A,)."""
        ...

    @property
    def uses_scores(self) -> bool:
        """Whether it makes use of ``Relations.score``."""
        ...

    @property
    def learns_values(self) -> bool:
        """Whether it is told what a cosine shall be: then pairs that nobody has seen are better left out."""
        ...


class Ratio(ABC):
    """A loss that is one sum over anchors divided by another, usually a weighted mean.

    Such a loss can be computed in blocks of anchors, since both sums add up.
    """

    def __call__(self, cosine: Tensor, relations: Relations) -> Tensor:
        """Return the loss of a batch, see :class:`Loss`."""
        if not cosine.numel():
            return cosine.sum()
        numerator, denominator = self.terms(cosine, relations)
        return numerator / or_one(denominator)

    @abstractmethod
    def terms(self, cosine: Tensor, relations: Relations) -> tuple[Tensor, Tensor]:
        """Return (numerator, denominator), two scalars that add up over blocks of anchors, of at least one pair.

        Gradients flow through the numerator only. A denominator of 0 means that there is nothing to learn; then
        the numerator is 0, with a gradient of zeros.
        """

    def teaches(self, relations: Relations) -> Tensor:
        """Return which anchors have a positive and a negative, bool (A,)."""
        return relations.contrasting

    @property
    def uses_scores(self) -> bool:
        """Whether it makes use of ``Relations.score``."""
        return False

    @property
    def learns_values(self) -> bool:
        """Whether it is told what a cosine shall be."""
        return False


FAR = 1e30
"""What moves a number out of any comparison with logits or cosines, and is still finite in single precision."""


def sloped(cosine: Tensor, value: Tensor, slope: Tensor) -> Tensor:
    """Return a value of which the slope is known, so that autograd need not find it step by step; twice as fast.

    Args:
        cosine: What the gradient flows into, (A, N).
        value: A scalar, computed without gradients.
        slope: By how much the value changes with each cosine, (A, N).
    """
    result: Tensor = _Sloped.apply(cosine, value, slope)  # type: ignore[no-untyped-call]  # so in torch
    return result


class _Sloped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cosine: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return gradient * slope, None, None


def or_one(total: Tensor) -> Tensor:
    """Return a divisor: the total, or 1 where nothing is divided by it."""
    return torch.where(total > 0, total, 1)


def check_above_zero(where: str, name: str, value: float) -> None:
    """Raise an OptionError unless a value is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise OptionError(f"{where}: {name} is {value!r}; give a finite number above 0")


def check_one_of(where: str, name: str, value: object, accepted: Collection[object]) -> None:
    """Raise an OptionError unless a value is one of those that are accepted, and of the same type."""
    if not any(value == one and type(value) is type(one) for one in accepted):
        listed = ", ".join(repr(one) for one in accepted)
        raise OptionError(f"{where}: {name} is {value!r}; accepted are {listed}")
