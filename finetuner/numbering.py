"""Values in the order in which they first occur."""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def numbered(values: Rows) -> tuple[Rows, Rows]:
    """Number different values in the order in which they first occur.

    Args:
        values: Integers, (N,).

    Returns:
        Where each of the K values first occurs, ascending, (K,), and for each value its number, below K, (N,).
    """
    _, first, number = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return first[order], rank[number]
