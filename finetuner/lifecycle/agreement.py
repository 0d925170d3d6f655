"""How far two versions agree about what is near what, from their embeddings of the same contents."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetuner.models import Embeddings

KS = (1, 10)
"""Of how many nearest neighbours the overlap is told."""


@dataclass(frozen=True)
class Agreement:
    """What two versions say of N contents, each beside all others.

    Attributes:
        overlap: By k, how many of the k nearest neighbours under one are so under the other, in [0, 1], float64 (N,).
            There is none where k neighbours are all others, which agree whatever the versions are.
        rank: Spearman's correlation of the order in which both put all others, in [-1, 1], float64 (N,); empty below
            three contents.
        nearest: Rows of all others from the nearest on, under the one and under the other, int64 (N, N - 1) each.
    """

    overlap: dict[int, NDArray[np.float64]]
    rank: NDArray[np.float64]
    nearest: tuple[NDArray[np.int64], NDArray[np.int64]]

    def most_changed(self, count: int) -> NDArray[np.int64]:
        """Return the rows whose neighbours agree least, the least first: by the largest k, then by the order of all."""
        if not self.overlap or not len(self.rank):
            return np.zeros(0, np.int64)
        return np.lexsort((self.rank, self.overlap[max(self.overlap)]))[:count]


def agreement(one: Embeddings, other: Embeddings) -> Agreement:
    """Return how far two versions agree. It takes time and memory that grow with N x N: N is some thousand at most.

    Args:
        one: Embeddings of N contents under one version, L2-normalised, float32 (N, D).
        other: Of the same contents in the same order under the other one, (N, E); its space may be another one.
    """
    nearest = _order(one), _order(other)
    count = len(one)
    if count < 2:
        return Agreement({}, np.zeros(0), nearest)
    places = [_places(order) for order in nearest]
    overlap = {}
    for k in KS:
        if k < count - 1:
            overlap[k] = (np.take_along_axis(places[1], nearest[0][:, :k], axis=1) < k).mean(axis=1)
    others = count - 1
    if others < 2:
        return Agreement(overlap, np.zeros(0), nearest)
    # the place of a content among its own others is the same in both, and adds nothing
    apart = ((places[0] - places[1]) ** 2).sum(axis=1)
    return Agreement(overlap, 1 - 6 * apart / (others * (others**2 - 1)), nearest)


def _order(embeddings: Embeddings) -> NDArray[np.int64]:
    """Return the rows of all others from the nearest on, equal ones by row, (N, N - 1)."""
    cosine = embeddings @ embeddings.T
    np.fill_diagonal(cosine, -np.inf)
    return np.argsort(-cosine, axis=1, kind="stable")[:, :-1]  # itself is the last


def _places(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each row stands in the order of each other one, (N, N); 0 for itself."""
    places = np.zeros((len(order), len(order)), np.int64)
    np.put_along_axis(places, order, np.arange(order.shape[1])[None], axis=1)
    return places
