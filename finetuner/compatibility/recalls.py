"""What a promotion does to an index: recall of old, mapped and new queries among old and new documents."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from finetuner.compatibility.maps import Map
from finetuner.compatibility.searching import nearest_others
from finetuner.compatibility.stamped import Embeddings, Stamped
from finetuner.errors import OptionError
from finetuner.evaluation import paired_difference
from finetuner.matches import Rows

Route = Literal["old->old", "new->old", "mapped->old", "new->new"]
"""Which version's queries ask which version's documents."""

REEMBEDDED: Route = "new->new"


class Relevant(NamedTuple):
    """Which documents are relevant for which queries, R pairs, each once.

    Attributes:
        queries: Rows of queries, int64 (R,).
        documents: Rows of documents, int64 (R,).
    """

    queries: Rows
    documents: Rows


@dataclass(frozen=True)
class Recalls:
    """Recall@k along each route: the share of a query's relevant documents among its k nearest, (rel(1) + ... + rel(k)) / R.

    What is at the distance of the first document that is left out counts as not found, as in the worst order of ties.

    Attributes:
        k: How many documents are looked at.
        queries: How many queries have a relevant document; the others do not count.
        recall: The mean over these, by route. ``new->old``, without a map, is there if the dimensions are equal.
        lost: For each other route its difference to ``new->new`` in recall as (mean, low, high), with a 95 % interval
            of the paired bootstrap over queries.
    """

    k: int
    queries: int
    recall: dict[Route, float]
    lost: dict[Route, tuple[float, float, float]]

    @property
    def kept(self) -> float:
        """How much of the recall of full re-embedding mapped queries reach; 1 where there is none to reach."""
        whole = self.recall[REEMBEDDED]
        return self.recall["mapped->old"] / whole if whole > 0 else 1.0


def recalls(
    between: Map,
    old_queries: Stamped,
    new_queries: Stamped,
    old_documents: Stamped,
    new_documents: Stamped,
    *,
    relevant: Relevant | None = None,
    themselves: Rows | None = None,
    k: int = 10,
    seed: int = 0,
) -> Recalls:
    """Return the recall along each route.

    Args:
        between: The map from the new version to the old one.
        old_queries: Q queries, embedded by the old version.
        new_queries: The same by the new version.
        old_documents: N documents, embedded by the old version.
        new_documents: The same by the new version.
        relevant: Which are relevant; by default the k nearest documents in the new space, so that ``new->new`` is 1 where
            no two documents are equally near.
        themselves: Which document each query is, -1 for none, (Q,); nothing finds itself. By default none is.
        k: How many documents are looked at, at least 1 and below N.
        seed: Decides the resamples of the bootstrap.

    Raises:
        OtherVersionError: If embeddings are not of the version that the map is from or to.
        OptionError: If counts or rows do not fit each other, or no query has a relevant document.
    """
    old = _vectors(between.target, old_queries, old_documents)
    new = _vectors(between.source, new_queries, new_documents)
    _check_counts(old, new, k)
    mapped = between.apply(new_queries).of(between.target, where="recalls")
    asked: dict[Route, tuple[Embeddings, Embeddings]] = {"old->old": old}
    if new[0].shape[1] == old[1].shape[1]:
        asked["new->old"] = new[0], old[1]
    asked |= {"mapped->old": (mapped, old[1]), REEMBEDDED: new}
    itself = np.full(len(new[0]), -1) if themselves is None else themselves
    if relevant is None:
        found = nearest_others(*new, k, itself).rows
        query, place = np.nonzero(found >= 0)
        relevant = Relevant(query, found[query, place])
    counts = _counts(relevant, len(new[0]), len(new[1]))
    ranked = counts > 0
    per_query = {
        route: (_hits(*both, relevant, itself, k) / np.maximum(counts, 1))[ranked]
        for route, both in asked.items()
    }
    whole = per_query[REEMBEDDED]
    return Recalls(
        k=k,
        queries=int(ranked.sum()),
        recall={route: float(one.mean()) for route, one in per_query.items()},
        lost={
            route: paired_difference(one, whole, seed=seed)
            for route, one in per_query.items()
            if route != REEMBEDDED
        },
    )


def _hits(
    queries: Embeddings, documents: Embeddings, relevant: Relevant, itself: Rows, k: int
) -> NDArray[np.int64]:
    """Return how many relevant documents are among the k nearest of each query, (Q,)."""
    found = nearest_others(queries, documents, k + 1, itself)
    inside = (found.cosine[:, :k] > found.cosine[:, k:]) & (found.rows[:, :k] >= 0)
    query, place = np.nonzero(inside)
    wanted = relevant.queries * len(documents) + relevant.documents
    hit = np.isin(query * len(documents) + found.rows[query, place], wanted)
    return np.bincount(query[hit], minlength=len(queries))


def _vectors(version: str, queries: Stamped, documents: Stamped) -> tuple[Embeddings, Embeddings]:
    return queries.of(version, where="recalls: queries"), documents.of(version, where="recalls: documents")


def _check_counts(old: tuple[Embeddings, Embeddings], new: tuple[Embeddings, Embeddings], k: int) -> None:
    sizes = [[len(one) for one in both] for both in (old, new)]
    if sizes[0] != sizes[1] or not 1 <= k < sizes[0][1]:
        raise OptionError(
            f"recalls: k={k}, [queries, documents] are {sizes[0]} old and {sizes[1]} new; "
            "give the same of both versions, and 1 <= k < documents"
        )


def _counts(relevant: Relevant, queries: int, documents: int) -> NDArray[np.int64]:
    """Return how many documents are relevant for each query, (Q,)."""
    for name, rows, most in (
        ("queries", relevant.queries, queries),
        ("documents", relevant.documents, documents),
    ):
        if len(rows) == 0 or rows.min() < 0 or rows.max() >= most:
            raise OptionError(f"recalls: relevant {name} are none, or beyond the {most} that there are")
    return np.bincount(relevant.queries, minlength=queries)
