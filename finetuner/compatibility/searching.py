"""The nearest documents of queries that may be documents themselves."""

import numpy as np
from torch import Tensor

from finetuner.compatibility.stamped import Embeddings
from finetuner.matches import Rows
from finetuner.nearest import Nearest, nearest


def nearest_others(queries: Embeddings, documents: Embeddings, count: int, themselves: Rows) -> Nearest:
    """Return the nearest documents of each query, but never itself; see :func:`finetuner.nearest.nearest`.

    Args:
        queries: L2-normalised, float32 (Q, D).
        documents: L2-normalised, float32 (N, D).
        count: How many, at least 1.
        themselves: Which document each query is, -1 for none, int64 (Q,).
    """

    def leave_out(rows: Rows, columns: slice, cosines: Tensor) -> None:
        place = themselves[rows]
        here = np.flatnonzero((place >= columns.start) & (place < columns.stop))
        cosines[here, place[here] - columns.start] = -float("inf")

    return nearest(queries, documents, count, keep=leave_out)
