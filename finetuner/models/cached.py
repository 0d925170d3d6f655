"""Embeddings of some contents, where what the module makes of them is kept for the next time."""

import numpy as np
from numpy.typing import NDArray

from finetuner.contents import Contents
from finetuner.features import FeatureCache
from finetuner.models.encoder import Embeddings, Encoder
from finetuner.models.heads import Side

_PORTION = 2048  # contents of which a copy is in memory


class CachedEncoder:
    """An encoder with a cache in front of its module.

    Args:
        encoder: The encoder; its weights stay as they are meanwhile.
        cache: Where vectors are kept; None if they are not.
    """

    def __init__(self, encoder: Encoder, cache: FeatureCache | None) -> None:
        self._encoder = encoder.eval()
        self._cache = cache
        self._fingerprint = "" if cache is None else encoder.fingerprint()

    def embed(
        self,
        contents: Contents,
        hashes: NDArray[np.uint8],
        rows: NDArray[np.int64],
        side: Side = "document",
    ) -> Embeddings:
        """Return the embeddings of some contents, float32 (n, D).

        Args:
            contents: N contents.
            hashes: Their hashes, uint8 (N, 16).
            rows: Which of them, (n,), at least one.
            side: What they are embedded as.

        Raises:
            EncoderError: If the encoder does not take such contents.
            OSError: If the cache cannot be written.
        """
        parts = (rows[start : start + _PORTION] for start in range(0, len(rows), _PORTION))
        return np.concatenate([self._part(_take(contents, part), hashes[part], side) for part in parts])

    def _part(self, contents: Contents, hashes: NDArray[np.uint8], side: Side) -> Embeddings:
        if self._cache is None:
            return self._encoder.embed(contents, side=side)
        found = self._cache.features(
            self._fingerprint, contents, hashes, lambda some: self._encoder.embed_vectors(some)
        )
        return self._encoder.finish_all(found.take(np.arange(len(contents))), side)


def _take(contents: Contents, rows: NDArray[np.int64]) -> Contents:
    return contents[rows] if isinstance(contents, np.ndarray) else [contents[row] for row in rows]
