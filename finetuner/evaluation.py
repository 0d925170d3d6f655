"""How well embeddings rank: one number for each query and metric, and whether two models really differ.

Distance is 1 - cosine of L2-normalised embeddings. Documents at equal distance count in the worst order: what
is irrelevant comes first. So no metric depends on the order of rows, and an encoder that maps everything onto
one point does not profit from positives that were written down first.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from finetuner.errors import EncoderError, OptionError
from finetuner.matches import MatchSet, Rows

Embeddings = NDArray[np.float32]
Floats = NDArray[np.float64]
Gains = NDArray[np.floating[Any]]
Counts = NDArray[np.integer[Any]]
Scores = dict[str, Floats]
Over = Literal["judged", "corpus"]
Ks = Sequence[int]

KS = (1, 5, 10)
"""Ranks at which a ranking is cut by default."""

_CELLS = 1 << 21
"""Numbers held at once: 8 MB as float32, and a few times that in between."""


@dataclass(frozen=True)
class Metrics:
    """The metrics of each query, by name.

    R is the number of relevant documents of a query, rel(i) is 1 if the document at rank i = 1, 2, ... is
    relevant and else 0, and P(i) = (rel(1) + ... + rel(i)) / i is the precision down to rank i.

    - ``hit@k``: 1 if one of the first k documents is relevant, else 0.
    - ``recall@k``: (rel(1) + ... + rel(k)) / R.
    - ``mrr``: 1 / rank of the first relevant document; 0 if the ranking ends before.
    - ``map``: 1/R * sum over all i of P(i) rel(i).
    - ``map@r``: 1/R * sum over i <= R of P(i) rel(i).
    - ``r_precision``: (rel(1) + ... + rel(R)) / R.
    - ``ndcg@k``: DCG@k / DCG@k of the best order, where DCG@k = sum over i <= k of gain(i) / log2(i + 1). The
      gain is the label itself (linear), and 0 for what is irrelevant.

    Attributes:
        per_query: For each metric the value of each query, 0 to 1, in the order of the queries, float64 (Q,).
        queries: Q, the queries that have a relevant document.
        excluded: Queries that have none: no metric is defined for them.
    """

    per_query: Scores
    queries: int
    excluded: int

    def mean(self) -> dict[str, float]:
        """Return the mean of each metric over the queries; NaN if there is no query."""
        return {name: float(np.mean(v)) if len(v) else math.nan for name, v in self.per_query.items()}


def rank_metrics(
    relevance: Gains, num_relevant: Counts, *, ideal: Gains | None = None, ks: Ks = KS
) -> Metrics:
    """Return the metrics of rankings.

    Args:
        relevance: Gain of the document at each rank, relevant above 0, float (Q, K). Shorter rankings are
            padded at their end with 0, NaN or -inf: irrelevant documents there change no metric.
        num_relevant: Relevant documents of each query, ranked or not, (Q,).
        ideal: Gains of the relevant documents of each query, descending and padded with 0, all or as many as
            the largest of ``ks``, (Q, I). By default those of the ranking, which must hold all then.
        ks: Ranks at which to cut.

    Raises:
        OptionError: If ``ks`` is empty or has a number below 1, or the counts do not fit the rankings.
    """
    depth = _depth(ks)
    found = (relevance > 0).sum(axis=1)
    unfit = np.flatnonzero((num_relevant < found) | ((num_relevant > found) & (ideal is None)))
    if len(unfit):
        given = f"query {unfit[0]}: num_relevant={num_relevant[unfit[0]]}, ranked are {found[unfit[0]]}"
        raise OptionError(f"{given}; count all that are relevant, and give `ideal` if not all are ranked")
    kept = num_relevant > 0
    query, place = np.nonzero(relevance[kept] > 0)
    hits = _Hits(query, place + 1, relevance[kept][query, place].astype(np.float64))
    best = _ideal(hits, int(kept.sum()), depth) if ideal is None else ideal[kept]
    return Metrics(_score(hits, num_relevant[kept], best, ks), int(kept.sum()), int((~kept).sum()))


def by_class(embeddings: Embeddings, classes: NDArray[Any], *, ks: Ks = KS) -> Metrics:
    """Return the metrics of each item as a query over all others, of which those of its class are relevant.

    Args:
        embeddings: L2-normalised, float32 (N, D).
        classes: Class of each item, numbers or texts, (N,).
        ks: Ranks at which to cut.

    Raises:
        OptionError: If ``ks`` is empty or has a number below 1, or there is not one class for each item.
        EncoderError: If an embedding is not finite, or longer than 1.
    """
    depth = _depth(ks)
    embeddings = _checked(embeddings, len(classes), "classes")
    _, codes, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    relevant = sizes[codes] - 1

    def score(queries: Rows) -> Scores:
        same = codes[queries][:, None] == codes
        same[np.arange(len(queries)), queries] = False
        query, rank = _ranks(_distances(embeddings, queries), same)
        best = (np.arange(depth) < relevant[queries][:, None]).astype(np.float64)
        return _score(_Hits(query, rank, np.ones(len(query))), relevant[queries], best, ks)

    return _metrics(score, np.flatnonzero(relevant), len(classes), width=len(classes))


def by_judgements(embeddings: Embeddings, matches: MatchSet, *, over: Over, ks: Ks = KS) -> Metrics:
    """Return the metrics of each anchor as a query; labels above 0 are gains, all others irrelevant.

    Args:
        embeddings: One for each content, L2-normalised, float32 (N, D).
        matches: The judgements.
        over: What is ranked. ``judged``: the judged matches of the anchor (a condensed list), which says
            nothing about anchors without a negative. ``corpus``: all contents but the anchor, where what is
            unjudged counts as irrelevant (strict).
        ks: Ranks at which to cut.

    Raises:
        OptionError: As for :func:`by_class`, or if ``over`` is something else.
        EncoderError: If an embedding is not finite, or longer than 1.
    """
    depth = _depth(ks)
    if over not in ("judged", "corpus"):
        raise OptionError(f"over is {over!r}; accepted are 'judged' and 'corpus'")
    embeddings = _checked(embeddings, len(matches.ids), "contents")
    rank = _hits_judged if over == "judged" else _hits_corpus

    def score(queries: Rows) -> Scores:
        judged = matches.only(queries)
        hits = rank(embeddings, judged)
        relevant = np.bincount(hits.query, minlength=len(judged))
        return _score(hits, relevant, _ideal(hits, len(judged), depth), ks)

    queries = np.unique(matches.anchor_of[matches.labels > 0])
    gathered = embeddings.shape[1] * len(matches.matches) // max(1, len(matches))
    return _metrics(score, queries, len(matches), width=gathered if over == "judged" else len(embeddings))


def paired_difference(
    a: Floats, b: Floats, *, seed: int, confidence: float = 0.95, resamples: int = 2000
) -> tuple[float, float, float]:
    """Return (mean, low, high): the mean of a - b over the same queries, and a confidence interval of it.

    The percentile interval of the paired bootstrap (Efron and Tibshirani 1993, chapter 13): queries are drawn
    with replacement, and both systems keep their values of a query (as Smucker et al. 2007 do it).

    Args:
        a: A metric of one system, a value for each query, (Q,).
        b: The same of the other system, for the same queries in the same order, (Q,).
        seed: Decides the resamples, at least 0.
        confidence: How often the interval shall hold the true mean, above 0 and below 1.
        resamples: How often Q queries are drawn, at least 1.

    Raises:
        OptionError: If the arrays do not fit each other or hold no query, or a number is out of range.
    """
    if a.shape != b.shape or a.ndim != 1 or len(a) == 0:
        raise OptionError(f"a {a.shape}, b {b.shape}: give one value a query, for the same queries")
    if not 0 < confidence < 1 or resamples < 1:
        raise OptionError(
            f"confidence={confidence}, resamples={resamples}; give 0 < confidence < 1 <= resamples"
        )
    difference = np.asarray(a - b, dtype=np.float64)
    random = np.random.default_rng(seed)
    means = np.empty(resamples)
    for part in np.array_split(means, -(-means.size * len(difference) // _CELLS)):
        part[:] = difference[random.integers(len(difference), size=(len(part), len(difference)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(difference.mean()), float(low), float(high)


class _Hits(NamedTuple):
    """Where the relevant documents are: H of them, ordered by query and rank."""

    query: Rows
    rank: Rows  # from 1
    gain: Floats

    def down_to(self, rank: int) -> "_Hits":
        top = self.rank <= rank
        return _Hits(self.query[top], self.rank[top], self.gain[top])


def _score(hits: _Hits, relevant: Counts, ideal: Gains, ks: Ks) -> Scores:
    """Return each metric of each query, by the formulas in :class:`Metrics`."""

    def total(query: Rows, values: NDArray[Any]) -> Floats:
        return np.bincount(query, values, len(relevant)).astype(np.float64, copy=False)

    place = _place(hits.query, len(relevant)) + 1
    precision = place / hits.rank
    in_r = hits.rank <= relevant[hits.query]
    scores = {
        "mrr": total(hits.query, (place == 1) / hits.rank),
        "map": total(hits.query, precision) / relevant,
        "map@r": total(hits.query, precision * in_r) / relevant,
        "r_precision": total(hits.query, in_r) / relevant,
    }
    best = np.cumsum(ideal / np.log2(np.arange(ideal.shape[1]) + 2), axis=1)
    for k in ks:
        top = hits.down_to(k)
        found = total(top.query, np.ones(len(top.query)))
        dcg = total(top.query, top.gain / np.log2(top.rank + 1))
        scores[f"hit@{k}"] = np.minimum(found, 1)
        scores[f"recall@{k}"] = found / relevant
        scores[f"ndcg@{k}"] = dcg / best[:, min(k, best.shape[1]) - 1]
    return scores


def _place(query: Rows, queries: int) -> Rows:
    """Return how many entries of the same query stand before each one; ``query`` ascends."""
    counts = np.bincount(query, minlength=queries)
    return np.arange(len(query)) - (np.cumsum(counts) - counts)[query]


def _ideal(hits: _Hits, queries: int, depth: int) -> Floats:
    """Return the highest gains of each query, descending and padded with 0, (queries, depth)."""
    gain = hits.gain[np.lexsort((-hits.gain, hits.query))]  # the queries stay where they are
    place = _place(hits.query, queries)
    top = place < depth
    ideal = np.zeros((queries, depth))
    ideal[hits.query[top], place[top]] = gain[top]
    return ideal


def _ranks(distance: Embeddings, relevant: NDArray[np.bool_]) -> tuple[Rows, Rows]:
    """Return (query, rank) of all that is relevant, by query and rank, from distances >= 0, (Q, N)."""
    # the bits of floats >= 0 ascend with them and leave the sign bit free: one fast sort of integers does it,
    # and in a tie the bit behind the distance puts what is irrelevant first
    keys = distance.view(np.uint32) << np.uint32(1)
    keys |= relevant
    keys.sort(axis=1)
    query, place = np.divmod(np.flatnonzero(keys & np.uint32(1)), keys.shape[1])
    return query, place + 1


def _distances(embeddings: Embeddings, queries: Rows) -> Embeddings:
    """Return the distance of the queries to all rows, >= 0, and of each to itself infinite, (Q, N)."""
    distance: Embeddings = np.maximum(1 - embeddings[queries] @ embeddings.T, 0)
    distance[np.arange(len(queries)), queries] = np.inf
    return distance


def _hits_judged(embeddings: Embeddings, judged: MatchSet) -> _Hits:
    query = judged.anchor_of
    cosine = np.einsum("jd,jd->j", embeddings[judged.anchors[query]], embeddings[judged.matches])
    labels = judged.labels[np.lexsort((judged.labels, np.maximum(1 - cosine, 0), query))]
    relevant = labels > 0
    rank = _place(query, len(judged)) + 1
    return _Hits(query[relevant], rank[relevant], labels[relevant].astype(np.float64))


def _hits_corpus(embeddings: Embeddings, judged: MatchSet) -> _Hits:
    chosen = judged.labels > 0
    owner, match, gain = judged.anchor_of[chosen], judged.matches[chosen], judged.labels[chosen]
    distance = _distances(embeddings, judged.anchors)
    relevant = np.zeros(distance.shape, dtype=np.bool_)
    relevant[owner, match] = True
    query, rank = _ranks(distance, relevant)
    return _Hits(query, rank, gain[np.lexsort((gain, distance[owner, match], owner))].astype(np.float64))


def _metrics(score: Callable[[Rows], Scores], queries: Rows, asked: int, *, width: int) -> Metrics:
    """Score the queries in blocks, so that ``width`` numbers for each fit; no query is one block, too."""
    size = max(1, _CELLS // max(1, width))
    parts = [score(queries[start : start + size]) for start in range(0, max(1, len(queries)), size)]
    per_query = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Metrics(per_query, len(queries), asked - len(queries))


def _depth(ks: Ks) -> int:
    if not ks or min(ks) < 1:
        raise OptionError(f"ks is {ks!r}; give at least one rank to cut at, each at least 1")
    return max(ks)


def _checked(embeddings: Embeddings, count: int, of_what: str) -> Embeddings:
    if embeddings.ndim != 2 or len(embeddings) != count:
        raise OptionError(f"embeddings {embeddings.shape}: give one row for each of the {count} {of_what}")
    embeddings = np.ascontiguousarray(embeddings, dtype=np.float32)
    squares = np.einsum("nd,nd->n", embeddings, embeddings)
    unfit = np.flatnonzero(~(squares < 1.001))
    if len(unfit):
        length = math.sqrt(squares[unfit[0]])
        raise EncoderError(f"embedding {unfit[0]} has the length {length:g}; give finite, L2-normalised ones")
    return embeddings
