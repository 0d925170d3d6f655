"""Match data in columns, a portion at a time: how it goes into the store, out of it, and over the wire.

Document by document, an image is sent again with every anchor that it matches. In packs each content is sent once,
and a judgement is two integers and a number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from finetuner.documents import Array

ANCHORS = 256
"""Anchors after which a pack is full; with images of 28 x 28 pixels and 20 matches each it holds up to 17 MB."""

MATCHES = 8192
"""Matches after which a pack is full."""

BYTES = 32 * 2**20
"""Bytes of contents after which a pack is full."""


REFUSALS = 20
"""So many refusals are told one by one; of the others only the count."""


@dataclass(frozen=True)
class Refusal:
    """Something that was left out, and why.

    Attributes:
        place: Where it stands, such as ``clicks.csv:12``, or which document it is.
        reason: What is wrong with it, what was given, and what is accepted.
    """

    place: str
    reason: str


@dataclass(frozen=True)
class Pack:
    """A portion of a stream of match data.

    Every document is a row, numbered through the stream. A pack that starts at 0 begins a new numbering: it refers to
    no earlier pack, and a reader may forget them.

    Attributes:
        start: The row of the first document in ``ids``: how many documents the earlier packs brought.
        ids: The ids of the K documents that no earlier pack brought.
        texts: The texts of the first L of them; None if documents carry no text.
        blobs: Their arrays, (L, ...) of one dtype; None if documents carry no array. The K - L documents without any
            content are known to the reader by their ids.
        anchors: Rows of the anchors, int64 (A,). An anchor may come again.
        offsets: Matches ``offsets[i]:offsets[i + 1]`` are those of anchor i, int64 (A + 1,).
        matches: Rows of the matches, int64 (M,).
        labels: Their labels, float64 (M,); NaN where nobody judged.
        weights: How much each judgement counts, float64 (M,), above 0; None if each counts 1.
        anchor_tags: The tags of each anchor as JSON, A, or nothing where it has none; None if none has any.
        match_tags: The tags of each match beside its judgement, M, in the same way.
    """

    start: int
    ids: Sequence[str]
    texts: Sequence[str] | None
    blobs: Array | None
    anchors: NDArray[np.int64]
    offsets: NDArray[np.int64]
    matches: NDArray[np.int64]
    labels: NDArray[np.float64]
    weights: NDArray[np.float64] | None = None
    anchor_tags: Sequence[str] | None = None
    match_tags: Sequence[str] | None = None

    @classmethod
    def of_documents(
        cls, ids: Sequence[str], texts: Sequence[str] | None, blobs: Array | None, *, start: int = 0
    ) -> "Pack":
        """Return a pack of documents alone, without anchors."""
        none = np.zeros(0, np.int64)
        return cls(start, ids, texts, blobs, none, np.zeros(1, np.int64), none, np.zeros(0))

    @property
    def nbytes(self) -> int:
        """About how many bytes its contents and columns take."""
        columns = (self.blobs, self.anchors, self.offsets, self.matches, self.labels, self.weights)
        lists = (self.ids, self.texts, self.anchor_tags, self.match_tags)
        arrays = sum(column.nbytes for column in columns if column is not None)
        return arrays + sum(len(text) for listed in lists if listed is not None for text in listed)

    @property
    def carried(self) -> int:
        """How many of its documents come with their contents: L."""
        return len(self.blobs) if self.blobs is not None else len(self.texts or ())


class Feed(NamedTuple):
    """One feed of a collection's history, or a part of it.

    Attributes:
        source: Who judged.
        at: When, in UTC.
        pack: What; it starts at 0, and names by their ids documents that came earlier.
    """

    source: str
    at: datetime
    pack: Pack
