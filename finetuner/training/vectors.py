"""Where the vectors of a batch come from: out of the cache of a frozen module, or through a module that learns."""

import contextlib
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from finetuner.features import FeatureRows
from finetuner.matches import MatchSet, Rows
from finetuner.models import CachedEncoder, Embeddings, Encoder, Side
from finetuner.models.layers import train_what_moves
from finetuner.training.state import Tensors, random_tensors, restore_random

GRAPH_BYTES = 2 * 2**30
"""What the graph of one forward pass may take, unless somebody says otherwise; a number, so that runs are reproducible."""


class Vectors(Protocol):
    """What the module of an encoder makes of rows of a match set, before heads and normalisation."""

    def of(self, rows: Rows) -> Tensor:
        """Return the vectors of some contents, float32 (N, D), for one step of training."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a loss of the last vectors to the parameters."""
        ...

    piece: int | None
    """Contents that go through the module together at most; None for all, or where that is not known yet."""

    def smaller(self, count: int) -> bool:
        """Use less memory for ``count`` contents; return whether that can be done."""
        ...

    def embeddings(self, rows: Rows, side: Side) -> Embeddings:
        """Return embeddings in evaluation mode, float32 (N, D)."""
        ...


class CachedVectors:
    """Vectors that a frozen module has made before: reading them is all there is to do.

    Args:
        encoder: Whose heads are trained.
        features: What its module made of each content.
    """

    def __init__(self, encoder: Encoder, features: FeatureRows) -> None:
        self.piece: int | None = None
        self._encoder = encoder
        self._features = features

    def of(self, rows: Rows) -> Tensor:
        """Return the vectors of some contents, float32 (N, D)."""
        return torch.from_numpy(self._features.take(rows)).to(self._encoder.device)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a loss to the parameters of the heads."""
        loss.backward()  # type: ignore[no-untyped-call]  # so in torch

    def smaller(self, count: int) -> bool:
        """Return False: there is nothing that could be done in pieces."""
        return False

    def embeddings(self, rows: Rows, side: Side) -> Embeddings:
        """Return embeddings, float32 (N, D)."""
        self._encoder.eval()
        return self._encoder.finish_all(self._features.take(rows), side)


class LiveVectors:
    """Vectors from a module that learns.

    Contents that are too many at once go through the module in pieces, twice: first without a graph; then, when the
    gradient with respect to the vectors is known, each piece once more with one. So the loss sees the whole batch, and
    the memory is that of a piece: GradCache, section 3.2 of Gao et al. 2021 (arXiv 2101.06983). Both passes draw the same
    dropout. With batch normalisation a piece is what is normalised over.

    Args:
        encoder: What is trained.
        matches: Whose contents go through it.
        piece: Contents that go through together at most; None for as many as :data:`GRAPH_BYTES` have room for.
        bfloat16: Whether matrices are multiplied in bfloat16 (automatic mixed precision).
    """

    def __init__(self, encoder: Encoder, matches: MatchSet, *, piece: int | None, bfloat16: bool) -> None:
        self._encoder = encoder
        self._matches = matches
        self.piece = piece
        self._bfloat16 = bfloat16
        self._pending: list[tuple[Rows, Tensors]] = []  # rows of each piece, and the random state before it
        self._made: Tensor | None = None

    def of(self, rows: Rows) -> Tensor:
        """Return the vectors of some contents, float32 (N, D)."""
        if self.piece is None:
            self.piece = self._affordable(rows)
        train_what_moves(self._encoder)
        order = self._by_length(rows)
        if len(rows) <= self.piece:
            self._pending.clear()
            return torch.cat([self._forward(rows[part]) for part in self._alike(order)])[np.argsort(order)]
        self._pending = []
        made = []
        for start in range(0, len(rows), self.piece):
            piece = rows[order[start : start + self.piece]]
            self._pending.append((piece, random_tensors(self._encoder.device)))
            with torch.no_grad():
                made.append(self._forward(piece))
        self._made = torch.cat(made).requires_grad_()
        return self._made[np.argsort(order)]

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a loss of the last vectors to the parameters."""
        loss.backward()  # type: ignore[no-untyped-call]  # so in torch
        if not self._pending:
            return
        assert self._made is not None
        assert self._made.grad is not None
        after = random_tensors(self._encoder.device)
        gradients = torch.split(self._made.grad, [len(piece) for piece, _ in self._pending])
        for (piece, random), gradient in zip(self._pending, gradients, strict=True):
            restore_random(random, self._encoder.device)
            self._forward(piece).backward(gradient)  # type: ignore[no-untyped-call]  # so in torch
        restore_random(after, self._encoder.device)

    def smaller(self, count: int) -> bool:
        """Let half as many contents go together; return whether that is at least one."""
        half = min(count, self.piece or count) // 2
        self.piece = max(1, half)
        return half > 0

    def embeddings(self, rows: Rows, side: Side) -> Embeddings:
        """Return embeddings in evaluation mode and single precision, as they are served, float32 (N, D)."""
        return CachedEncoder(self._encoder, None).embed(
            self._matches.contents, self._matches.hashes, rows, side
        )

    def _affordable(self, rows: Rows) -> int:
        """Return how many contents like the longest of these fit into the memory that a graph may take.

        A few go through the module, and what the graph would keep of them is counted.
        """
        few = rows[self._by_length(rows)[:4]]
        kept: dict[int, int] = {}

        def count(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        self._encoder.eval()  # the statistics of batch normalisation stay as they are
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            made = self._forward(few)
        for parameter in self._encoder.parameters():
            kept.pop(parameter.untyped_storage().data_ptr(), None)
        del made
        return max(1, GRAPH_BYTES * len(few) // max(1, sum(kept.values())))

    def _forward(self, rows: Rows) -> Tensor:
        with self._mixed():
            return self._encoder.vectors(self._encoder.prepare(self._matches.take(rows))).float()

    @contextlib.contextmanager
    def _mixed(self) -> Iterator[None]:
        with torch.autocast(self._encoder.device.type, dtype=torch.bfloat16, enabled=self._bfloat16):
            yield

    def _by_length(self, rows: Rows) -> Rows:
        """Return an order in which texts of a length are neighbours; arrays stay as they are."""
        if self._encoder.kind == "blob":
            return np.arange(len(rows))
        contents = self._matches.contents
        return np.argsort([-len(contents[row]) for row in rows], kind="stable")

    def _alike(self, order: Rows) -> list[Rows]:
        """Return parts of the order that go through the module together: little padding, and not too few at once.

        Arrays all go at once, since batch normalisation has to see them, and texts if those of any length share rows.
        """
        if self._encoder.kind == "blob" or getattr(self._encoder.module, "packs", False):
            return [order]
        return [order[start : start + _TEXTS] for start in range(0, len(order), _TEXTS)]


_TEXTS = 32
"""Texts that are padded to one length; measured with MiniLM on two cores."""
