"""What a training loop calls: from embeddings to one number, in little memory, with parameters if it needs any."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import normalize
from torch.utils.checkpoint import checkpoint

from finetuner.losses.loss import Loss, Ratio, or_one
from finetuner.losses.relations import Relations


class Objective(nn.Module):
    """What training makes smaller. It may have parameters of its own, which are trained and saved with the encoder.

    Attributes:
        uses_scores: Whether it makes use of ``Relations.score``.
        learns_values: Whether it is told what a cosine shall be.
        uses_groups: Whether it needs ``Relations.groups``.
    """

    uses_scores: bool = False
    learns_values: bool = False
    uses_groups: bool = False

    @abstractmethod
    def forward(self, queries: Tensor, contents: Tensor, relations: Relations) -> Tensor:
        """Return the loss of a batch, a scalar; 0 with a gradient of zeros if no anchor can teach anything.

        Args:
            queries: The anchors' embeddings as they ask, of length 1, float (A, D). Where each content is an anchor
                and asks as it is, the same tensor as ``contents``, which is faster.
            contents: The contents' embeddings, of length 1, float (N, D).
            relations: What is known of them.
        """

    @abstractmethod
    def teaches(self, relations: Relations) -> Tensor:
        """Return from which anchors it can learn something, bool (A,)."""


class CosineObjective(Objective):
    """A loss of the cosines of all anchors with all contents.

    Args:
        loss: The loss. If it is a :class:`Ratio`, large batches go in blocks of anchors, whose cosines are computed
            once more for the gradient instead of being kept: memory for a block, and a forward pass in addition.
        most: How many cosines are looked at together at most; 2^24 in single precision are 64 MiB, of which a loss
            keeps some.
    """

    def __init__(self, loss: Loss, *, most: int = 2**24) -> None:
        super().__init__()
        self.loss = loss
        self.uses_scores = loss.uses_scores
        self.learns_values = loss.learns_values
        self._most = most

    def forward(self, queries: Tensor, contents: Tensor, relations: Relations) -> Tensor:
        """Return the loss of a batch, see :class:`Objective`."""
        if isinstance(self.loss, Ratio) and len(queries) * len(contents) > self._most:
            return self._in_blocks(self.loss, queries, contents, relations)
        return self.loss(_cosine(queries, contents), relations)

    def teaches(self, relations: Relations) -> Tensor:
        """Return from which anchors it can learn something, bool (A,)."""
        return self.loss.teaches(relations)

    def _in_blocks(self, loss: Ratio, queries: Tensor, contents: Tensor, relations: Relations) -> Tensor:
        def terms(queries: Tensor, contents: Tensor, relations: Relations) -> tuple[Tensor, Tensor]:
            return loss.terms(_cosine(queries, contents), relations)

        numerators, denominators = [], []
        size = max(1, self._most // len(contents))
        for start in range(0, len(queries), size):
            block = slice(start, start + size)
            given = queries[block], contents, relations.rows(block)
            numerator, denominator = checkpoint(terms, *given, use_reentrant=False, preserve_rng_state=False)
            numerators.append(numerator)
            denominators.append(denominator)
        return torch.stack(numerators).sum() / or_one(torch.stack(denominators).sum())


class Matryoshka(Objective):
    """An objective of the first numbers of each embedding too, so that embeddings can be cut.

        loss = sum over dimensions m of weight_m * objective(first m numbers, of length 1 again)

    Kusupati et al. 2022, arXiv 2205.13147, eq. 1; there each m has a classifier, here the objective.

    Args:
        make: Returns the objective for embeddings of a dimension.
        dims: The dimensions, each from 1 to that of the embeddings.
        weights: How much each counts; by default each 1, as in the paper.
    """

    def __init__(
        self, make: Callable[[int], Objective], dims: Sequence[int], weights: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.dims = tuple(dims)
        self.weights = tuple(weights) if weights is not None else (1.0,) * len(dims)
        self.objectives = nn.ModuleList(make(dim) for dim in dims)
        self.uses_scores = any(one.uses_scores for one in self.objectives)
        self.learns_values = any(one.learns_values for one in self.objectives)
        self.uses_groups = any(one.uses_groups for one in self.objectives)

    def forward(self, queries: Tensor, contents: Tensor, relations: Relations) -> Tensor:
        """Return the weighted sum over dimensions, see :class:`Objective`."""
        losses = []
        for weight, objective, dim in zip(self.weights, self.objectives, self.dims, strict=True):
            cut = normalize(contents[:, :dim])
            asking = cut if queries is contents else normalize(queries[:, :dim])
            losses.append(weight * objective(asking, cut, relations))
        return torch.stack(losses).sum()

    def teaches(self, relations: Relations) -> Tensor:
        """Return from which anchors it can learn something, bool (A,)."""
        objective = self.objectives[0]
        assert isinstance(objective, Objective)
        return objective.teaches(relations)


def _cosine(queries: Tensor, contents: Tensor) -> Tensor:
    """Return all cosines in single precision or better, (A, N)."""
    if queries is contents:
        cosine: Tensor = _Gram.apply(contents)  # type: ignore[no-untyped-call]  # so in torch
    else:
        cosine = queries @ contents.T
    return cosine.to(torch.promote_types(cosine.dtype, torch.float32))


class _Gram(torch.autograd.Function):
    """x @ x.T, with two products of matrices there and back instead of three; its gradient has no gradient."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor) -> Tensor:
        ctx.save_for_backward(embeddings)
        return embeddings @ embeddings.T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        embeddings: Tensor = ctx.saved_tensors[0]
        return (gradient + gradient.T).to(embeddings.dtype) @ embeddings
