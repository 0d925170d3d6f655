"""Which contents of a batch are too similar to an anchor to be its negatives, though nobody judged them."""

import numpy as np
from numpy.typing import NDArray

from finetuner.matches import MatchSet, Rows
from finetuner.mining import bounds, mean_positive
from finetuner.models import Embeddings


class BatchGuard:
    """Finds likely positives by the encoder before training, as :func:`finetuner.mining.mine` does.

    Args:
        queries: Embeddings of the anchors, float32 (A, D).
        contents: Embeddings of all contents, float32 (N, D).
        matches: The match data.
        guard: Share of the mean cosine of an anchor with its positives, above which a content is likely to be one.
    """

    def __init__(self, queries: Embeddings, contents: Embeddings, matches: MatchSet, *, guard: float) -> None:
        self._queries = queries
        self._contents = contents
        self._bounds = bounds(mean_positive(queries, contents, matches), guard)
        self._anchor_of = np.full(len(matches.ids), -1, np.int64)
        self._anchor_of[matches.anchors] = np.arange(len(matches))

    def __call__(self, anchors: Rows, contents: Rows) -> NDArray[np.bool_]:
        """Return which of some contents are likely positives of some anchors, all given by row: bool (a, n)."""
        which = self._anchor_of[anchors]
        cosine = self._queries[which] @ self._contents[contents].T
        likely: NDArray[np.bool_] = cosine > self._bounds[which][:, None]
        return likely & (which >= 0)[:, None]
