"""Whether what was exported makes the same embeddings as the encoder."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from finetuner.contents import Contents
from finetuner.errors import EncoderError
from finetuner.models import Embeddings, Encoder, Side

Embed = Callable[[Contents, Side], Embeddings]
"""Embeds contents as queries or as documents, with nothing but what was exported."""

TEXTS = [
    "How long is a person contagious?",
    "",
    "  Spaces, and a line\nbreak ",
    "Öl, naïve, 北京, 🙂",
    "A B-52 costs $1,234.56 (2024)!",
    "to be or not to be " * 400,
    "a",
    "https://example.org/?q=1&r=2",
]
"""What encoders of texts are compared on: short, empty, longer than any of them reads, in several scripts."""


class Parity(NamedTuple):
    """How near embeddings came to those of the encoder.

    Attributes:
        contents: How many were embedded, each as a query and as a document.
        difference: The largest difference of two numbers, of vectors of length 1.
        cosine: The least cosine of two embeddings of a content.
    """

    contents: int
    difference: float
    cosine: float


def compare(encoder: Encoder, embed: Embed, sample: Contents, *, tolerance: float) -> Parity:
    """Return how near what was exported comes to the encoder, in a batch and for a content alone.

    Args:
        encoder: The encoder.
        embed: What was exported.
        sample: Contents to compare on, at least one.
        tolerance: The largest difference that is accepted.

    Raises:
        EncoderError: If it is larger.
    """
    sides: tuple[Side, ...] = ("query", "document")
    wanted = [encoder.embed(part, side=side) for side in sides for part in (sample, sample[:1])]
    made = [embed(part, side) for side in sides for part in (sample, sample[:1])]
    pairs = np.concatenate(wanted), np.concatenate(made)
    difference = float(np.abs(pairs[0] - pairs[1]).max())
    parity = Parity(len(sample), difference, float((pairs[0] * pairs[1]).sum(1).min()))
    if not parity.difference <= tolerance:  # NaN is refused, too
        raise EncoderError(
            f"encoder {encoder.spec.name!r}: what was exported makes embeddings that differ by up to "
            f"{parity.difference:.1e}; {tolerance:.0e} is accepted, so nothing was written"
        )
    return parity
