"""What encoders make of a match set, on disk: as many embeddings as there are contents need not fit into memory."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from finetuner.features import FeatureCache
from finetuner.matches import MatchSet, Rows
from finetuner.models import Embeddings, Encoder, Side

_PORTION = 8192  # contents at a time


@dataclass(frozen=True)
class Embedded:
    """Embeddings of a match set by one encoder, in nameless files that end with them.

    Attributes:
        documents: Of each content, memory-mapped float32 (N, D).
        queries: Of each anchor as a query, memory-mapped float32 (A, D); None if that is what it is as a document.
    """

    documents: Embeddings
    queries: Embeddings | None

    def asking(self, anchors: Rows, rows: Rows) -> Embeddings:
        """Return what some anchors ask with, a new float32 array (n, D).

        Args:
            anchors: Their indices.
            rows: Their rows among the contents.
        """
        asked: Embeddings = self.documents[rows] if self.queries is None else self.queries[anchors]
        return np.array(asked)


def embedded(encoder: Encoder, matches: MatchSet, cache: FeatureCache) -> Embedded:
    """Return what an encoder makes of all contents and anchors; its module sees each content once, if it is not cached.

    Raises:
        EncoderError: If it does not take such contents.
    """
    features = cache.features(
        encoder.fingerprint(), matches.contents, matches.hashes, lambda part: encoder.embed_vectors(part)
    )

    def portions(rows: Rows, side: Side) -> Iterator[Embeddings]:
        for start in range(0, len(rows), _PORTION):
            yield encoder.finish_all(features.take(rows[start : start + _PORTION]), side)

    encoder.eval()
    documents = _on_disk(portions(np.arange(len(matches.ids)), "document"))
    if not encoder.heads.tell_sides_apart:
        return Embedded(documents, None)
    return Embedded(documents, _on_disk(portions(matches.anchors, "query")))


def _on_disk(portions: Iterator[Embeddings]) -> Embeddings:
    rows = dimension = 0
    with tempfile.TemporaryFile() as file:
        for portion in portions:
            file.write(np.ascontiguousarray(portion).data)
            rows, dimension = rows + len(portion), portion.shape[1]
        file.flush()
        return np.memmap(file, np.float32, "r+", shape=(rows, dimension))
