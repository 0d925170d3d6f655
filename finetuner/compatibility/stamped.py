"""Embeddings that know which version made them, so that two versions' are never compared without a word."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetuner.errors import EncoderError, OptionError, OtherVersionError
from finetuner.matches import Rows

Embeddings = NDArray[np.float32]

_LONGEST = 1.001


@dataclass(frozen=True)
class Stamped:
    """Embeddings of one version.

    Attributes:
        version: The name of the version that made them.
        vectors: L2-normalised, float32 (N, D).

    Raises:
        OptionError: If they are no float32 (N, D).
        EncoderError: If an embedding is not finite, or longer than 1.
    """

    version: str
    vectors: Embeddings

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or self.vectors.dtype != np.float32:
            given = f"{self.vectors.dtype} {self.vectors.shape}"
            raise OptionError(f"embeddings of version {self.version!r} are {given}; give float32 (N, D)")
        squares = np.einsum("nd,nd->n", self.vectors, self.vectors)
        fit = squares < _LONGEST**2
        if not fit.all():
            row = int(np.argmin(fit))
            raise EncoderError(
                f"embedding {row} of version {self.version!r} has the length {math.sqrt(squares[row]):g}; "
                "give finite, L2-normalised ones"
            )

    def __len__(self) -> int:
        """Return how many embeddings there are."""
        return len(self.vectors)

    @property
    def dim(self) -> int:
        """Numbers of an embedding."""
        return int(self.vectors.shape[1])

    def take(self, rows: Rows | slice) -> "Stamped":
        """Return some of them."""
        return Stamped(self.version, self.vectors[rows])

    def of(self, version: str, *, where: str) -> Embeddings:
        """Return the vectors, if they are of a version.

        Args:
            version: The version that is needed.
            where: Where they are needed; the message starts with it.

        Raises:
            OtherVersionError: If they are of another one.
        """
        if self.version != version:
            raise OtherVersionError(
                f"{where}: embeddings of version {version!r} are needed, and these are of {self.version!r}; "
                "embed with that version, or fit a map between the two"
            )
        return self.vectors


def normalised(vectors: NDArray[np.floating]) -> Embeddings:
    """Return vectors divided by their lengths, float32 (N, D); a zero vector stays one."""
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
    made: Embeddings = np.divide(vectors, np.maximum(lengths, 1e-12)).astype(np.float32, copy=False)
    return made
