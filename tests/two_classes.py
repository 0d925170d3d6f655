"""Two classes that a small network learns to tell apart in a moment: match data and encoders for tests."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from finetuner.documents import Document, labelled
from finetuner.models import Encoder, EncoderSpec, build_encoder

SPEC = EncoderSpec("mlp", {"in_features": 6, "hidden": 8, "dim": 4, "dropout": 0.0})


def encoder(seed: int = 0) -> Encoder:
    """Return a new small encoder."""
    return build_encoder(SPEC, seed=seed)


def points(count: int, *, seed: int = 0) -> NDArray[np.float32]:
    """Return points, float32 (count, 6): the first number tells the class, even or odd index; five are noise."""
    noise = np.random.default_rng(seed).normal(scale=2, size=(count, 6))
    noise[:, 0] = np.where(np.arange(count) % 2, 1.5, -1.5)
    return noise.astype(np.float32)


def match_documents(
    count: int = 60, *, seed: int = 0, label: Callable[[bool], float | None] = lambda same: 1 if same else -1
) -> list[Document]:
    """Return anchors with three matches of the same class and three of the other.

    Args:
        count: Anchors.
        seed: Decides the noise and the matches.
        label: The label by whether a match is of the anchor's class; None leaves it unjudged.
    """
    random = np.random.default_rng(seed)
    blobs = points(count, seed=seed)
    documents = []
    for anchor, blob in enumerate(blobs):
        others = np.delete(np.arange(count), anchor)
        same = others % 2 == anchor % 2
        chosen = [
            *random.choice(others[same], 3, replace=False),
            *random.choice(others[~same], 3, replace=False),
        ]
        matches = []
        for other in chosen:
            value = label(bool(other % 2 == anchor % 2))
            tags = {} if value is None else labelled({}, value)
            matches.append(Document(id=f"d{other}", blob=blobs[other], tags=tags))
        documents.append(Document(id=f"d{anchor}", blob=blob, matches=matches))
    return documents


class Scaled(nn.Module):
    """Gives a sign to its input, so that two sets of weights give opposite embeddings."""

    def __init__(self, sign: float) -> None:
        super().__init__()
        self.sign = nn.Parameter(torch.tensor(float(sign)))

    def forward(self, blobs: Tensor) -> Tensor:
        """Return the blobs, times the sign."""
        return self.sign * blobs


def scaled(*, sign: float = 1) -> nn.Module:
    """Return a module that a test names as ``tests.two_classes:scaled``."""
    return Scaled(sign)
