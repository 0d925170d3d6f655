"""A text encoder that is there in a moment: hashed words, summed up and mapped linearly."""

import re
import zlib

import torch
from torch import Tensor, nn


class BagOfWords(nn.Module):
    """Adds up a vector for each word of a text.

    Args:
        buckets: Words are hashed to so many rows.
        dim: Numbers in an embedding.
    """

    def __init__(self, buckets: int, dim: int) -> None:
        super().__init__()
        self.vectors = nn.Linear(buckets, dim, bias=False)

    def tokenize(self, texts: list[str]) -> Tensor:
        """Return how often each word is in each text, float32 (B, buckets)."""
        counts = torch.zeros(len(texts), self.vectors.in_features)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()):
                counts[row, zlib.crc32(word.encode()) % self.vectors.in_features] += 1
        return counts

    def forward(self, counts: Tensor) -> Tensor:
        """Return embeddings, float32 (B, dim)."""
        embeddings: Tensor = self.vectors(counts)
        return embeddings


def bag_of_words(*, buckets: int = 512, dim: int = 32) -> nn.Module:
    """Return a module that a test names as ``tests.bag_of_words:bag_of_words``."""
    return BagOfWords(buckets, dim)
