"""Ranks of what is relevant among all, in the worst order where distances are equal: what is irrelevant comes first.

A rank is asked for each relevant document and not only for the first few, so all distances are looked at: in one sort of
integers, or by counting where few documents are relevant.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from finetuner.matches import Rows

Distances = NDArray[np.float32]
PartT = TypeVar("PartT")

_BLOCK = 1 << 23  # distances that are held at once: 32 MB
_PART = 1 << 20  # distances that a thread works on: 4 MB
_THREADS = 8  # at most
_FEW = 12  # relevant documents of a query up to which counting is quicker than sorting


def by_distance(
    score: Callable[[Rows, Distances], PartT],
    chosen: Rows,
    asking: NDArray[np.float32],
    embeddings: NDArray[np.float32],
    themselves: Rows,
) -> list[PartT]:
    """Return what a function makes of queries and their distances to everything, part by part.

    Args:
        score: Called in threads with some of the queries and their distances, at least 0 and to themselves infinite,
            (Q, N), which it may overwrite. With no query it is called once, with none.
        chosen: The queries.
        asking: Embeddings of those and of all others, L2-normalised, float32 (A, D).
        embeddings: What is ranked, L2-normalised, float32 (N, D).
        themselves: Where each query is among them, (A,).
    """
    corpus = torch.from_numpy(embeddings).T

    def score_part(cosine: Distances, queries: Rows) -> PartT:
        distance = np.subtract(1, cosine, out=cosine)
        np.maximum(distance, 0, out=distance)
        distance[np.arange(len(queries)), themselves[queries]] = np.inf
        return score(queries, distance)

    made: list[PartT] = []
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        for block in slices(len(chosen), _BLOCK, len(embeddings)):
            queries = chosen[block]
            cosine = torch.mm(torch.from_numpy(asking[queries]), corpus).numpy()
            parts = slices(len(queries), _PART, len(embeddings))
            made += pool.map(score_part, [cosine[part] for part in parts], [queries[part] for part in parts])
    return made


def slices(queries: int, cells: int, width: int) -> list[slice]:
    """Return slices of the queries, so that ``width`` numbers for each are at most ``cells``; at least one slice."""
    size = max(1, cells // max(1, width))
    return [slice(start, start + size) for start in range(0, max(1, queries), size)]


def ranks(distance: Distances, relevant: NDArray[np.bool_]) -> tuple[Rows, Rows]:
    """Return where all that is relevant stands.

    Args:
        distance: Of Q queries to N documents, at least 0, float32 (Q, N); what is not ranked is infinite. It is
            overwritten.
        relevant: Which are relevant, bool (Q, N).

    Returns:
        Queries and ranks from 1, ordered by both, each (H,).
    """
    if _counted(relevant).max(initial=0) <= _FEW:
        return _by_counting(distance, relevant)
    # the bits of floats >= 0 ascend with them and leave the sign bit free: one fast sort of integers does it,
    # and in a tie the bit behind the distance puts what is irrelevant first
    keys = distance.view(np.uint32)
    keys <<= np.uint32(1)
    keys |= relevant
    keys.sort(axis=1)
    is_relevant = (keys.astype(np.uint8) & np.uint8(1)).view(np.bool_)
    query, place = np.divmod(np.flatnonzero(is_relevant), keys.shape[1])
    return query, place + 1


def placed(query: Rows, queries: int) -> Rows:
    """Return how many entries of the same query stand before each one; ``query`` ascends."""
    counts = np.bincount(query, minlength=queries)
    return np.arange(len(query)) - (np.cumsum(counts) - counts)[query]


def _by_counting(distance: Distances, relevant: NDArray[np.bool_]) -> tuple[Rows, Rows]:
    """Count for each relevant document those that are not farther."""
    query, column = np.divmod(np.flatnonzero(relevant), relevant.shape[1])
    near = distance[query, column]
    near = near[np.lexsort((near, query))]  # the queries stay where they are
    place = placed(query, len(distance))
    lasts = np.flatnonzero(np.append((query[1:] != query[:-1]) | (near[1:] != near[:-1]), True)[: len(query)])
    equals_behind = place[lasts[np.searchsorted(lasts, np.arange(len(query)))]] - place
    rank = np.empty(len(query), dtype=np.int64)
    for number in range(place.max(initial=-1) + 1):
        at = np.flatnonzero(place == number)
        among = distance if len(at) == len(distance) else distance[query[at]]
        rank[at] = _counted(among <= near[at][:, None]) - equals_behind[at]
    return query, rank


def _counted(mask: NDArray[np.bool_]) -> Rows:
    """Return how many are true in each row."""
    counts: Rows = np.bitwise_count(np.packbits(mask, axis=1)).sum(axis=1, dtype=np.int64)
    return counts
