"""Batches for losses: drawn at random, or written down as rows of signs."""

import math

import torch
from torch import Tensor

from finetuner.losses import Relations


def known(*rows: str) -> Relations:
    """Return the relations of anchors to contents, a sign each: ``+`` positive, ``-`` negative, ``.`` unknown."""
    signs = [list(row) for row in rows]
    return Relations(*(torch.tensor([[sign == one for sign in row] for row in signs]) for one in "+-"))


def cosines(*rows: list[float]) -> Tensor:
    """Return cosines in double precision, which gradients flow into."""
    return torch.tensor(rows, dtype=torch.float64, requires_grad=True)


def at_random(
    seed: int, *, anchors: int = 5, contents: int = 12, weighted: bool = False
) -> tuple[Tensor, Relations]:
    """Return cosines, and relations with a third of the pairs unknown and scores for two thirds, of 1, 2, 3 or -1."""
    random = torch.Generator().manual_seed(seed)
    shape = (anchors, contents)
    cosine = torch.rand(shape, generator=random, dtype=torch.float64) * 2 - 1
    sign = torch.randint(-1, 2, shape, generator=random)
    grades = torch.randint(1, 4, shape, generator=random).double()
    score = torch.where(sign > 0, grades, -1).where(torch.rand(shape, generator=random) < 2 / 3, math.nan)
    weight = torch.rand(shape, generator=random, dtype=torch.float64) * 3 + 0.1 if weighted else None
    return cosine.requires_grad_(), Relations(sign > 0, sign < 0, weight, score)


def classes(count: int, embeddings: int, dim: int, *, seed: int = 0) -> tuple[Tensor, Relations]:
    """Return embeddings of length 1, and the relations of each to all others, by classes dealt in turns."""
    random = torch.Generator().manual_seed(seed)
    points = torch.randn(embeddings, dim, generator=random, dtype=torch.float64)
    groups = torch.arange(embeddings) % count
    same = groups[:, None] == groups
    itself = torch.eye(embeddings, dtype=torch.bool)
    relations = Relations(same & ~itself, ~same, groups=groups, anchors=torch.arange(embeddings))
    return torch.nn.functional.normalize(points).requires_grad_(), relations


def slope(value: Tensor, given: Tensor) -> Tensor:
    """Return the gradient of a value."""
    return torch.autograd.grad(value, given)[0]
