"""How well embeddings rank: one number for each query and metric, and whether two models really differ.

Distance is 1 - cosine of L2-normalised embeddings. Documents at equal distance count in the worst order: what
is irrelevant comes first. So no metric depends on the order of rows, and an encoder that maps everything onto
one point does not profit from positives that were written down first.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from finetuner.errors import EncoderError, OptionError
from finetuner.matches import MatchSet, Rows
from finetuner.ranks import by_distance, placed, ranks, slices

Embeddings = NDArray[np.float32]
Floats = NDArray[np.float64]
Gains = NDArray[np.floating[Any]]
Counts = NDArray[np.integer[Any]]
Scores = dict[str, Floats]
Over = Literal["judged", "corpus"]
Ks = Sequence[int]

KS = (1, 5, 10)
"""Ranks at which a ranking is cut by default."""

METRICS = ("map", "mrr", "map@r", "r_precision", *(f"{m}@{k}" for m in ("hit", "recall", "ndcg") for k in KS))
"""The names of all metrics, cut at the ranks of :data:`KS`."""

_CELLS = 1 << 21  # numbers held at once: 8 MB as float32, and a few times that in between


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

    Where formulas agree, so do trec_eval, ranx and pytorch-metric-learning, to 1e-6. Elsewhere: at equal distance trec_eval
    puts the later name first, ranx and pytorch-metric-learning go by the order that they are given, scikit-learn takes the
    mean over all orders. A query without anything relevant is a 0 in trec_eval, and is left out here. Others let the gain
    be 2^label - 1 (``ndcg_burges`` in ranx): give that as the label. sentence-transformers divides MAP by min(k, R)
    and cuts MRR at k.

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
    codes = codes.astype(np.int32)

    def score(queries: Rows, distance: Embeddings) -> Scores:
        same = codes[queries][:, None] == codes
        same[np.arange(len(queries)), queries] = False
        query, rank = ranks(distance, same)
        best = (np.arange(depth) < relevant[queries][:, None]).astype(np.float64)
        return _score(_Hits(query, rank, np.ones(len(query))), relevant[queries], best, ks)

    queries = np.flatnonzero(relevant)
    parts = by_distance(score, queries, embeddings, embeddings, np.arange(len(classes)))
    return _joined(parts, queries, len(classes))


def by_judgements(
    embeddings: Embeddings,
    matches: MatchSet,
    *,
    over: Over,
    queries: Embeddings | None = None,
    ks: Ks = KS,
) -> Metrics:
    """Return the metrics of each anchor as a query; labels above 0 are gains, all others irrelevant.

    Args:
        embeddings: One for each content, L2-normalised, float32 (N, D).
        matches: The judgements.
        over: What is ranked. ``judged``: the judged matches of the anchor (a condensed list), which says
            nothing about anchors without a negative. ``corpus``: all contents but the anchor, where what is
            unjudged counts as irrelevant (strict).
        queries: One for each anchor, L2-normalised, float32 (A, D), where an anchor asks with another embedding than
            it is found with; by default that of its content.
        ks: Ranks at which to cut.

    Raises:
        OptionError: As for :func:`by_class`, or if ``over`` is something else.
        EncoderError: If an embedding is not finite, or longer than 1.
    """
    depth = _depth(ks)
    if over not in ("judged", "corpus"):
        raise OptionError(f"over is {over!r}; accepted are 'judged' and 'corpus'")
    embeddings = _checked(embeddings, len(matches.ids), "contents")
    asking = embeddings[matches.anchors] if queries is None else _checked(queries, len(matches), "anchors")

    def score(chosen: Rows, distance: Embeddings | None = None) -> Scores:
        judged = matches.only(chosen)
        if distance is None:
            hits = _hits_judged(asking[chosen], embeddings, judged)
        else:
            hits = _hits_corpus(distance, judged)
        relevant = np.bincount(hits.query, minlength=len(judged))
        return _score(hits, relevant, _ideal(hits, len(judged), depth), ks)

    ranked = np.unique(matches.anchor_of[matches.labels > 0])
    if over == "corpus":
        parts = by_distance(score, ranked, asking, embeddings, matches.anchors)
    else:
        gathered = embeddings.shape[1] * len(matches.matches) // max(1, len(matches))
        parts = [score(ranked[block]) for block in slices(len(ranked), _CELLS, gathered)]
    return _joined(parts, ranked, len(matches))


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

    place = placed(hits.query, len(relevant)) + 1
    first, in_r = place == 1, hits.rank <= relevant[hits.query]
    precision = place / hits.rank
    scores = {
        "mrr": total(hits.query[first], precision[first]),
        "map": total(hits.query, precision) / relevant,
        "map@r": total(hits.query[in_r], precision[in_r]) / relevant,
        "r_precision": np.bincount(hits.query[in_r], minlength=len(relevant)) / relevant,
    }
    best = np.cumsum(ideal / np.log2(np.arange(ideal.shape[1]) + 2), axis=1)
    for k in ks:
        top = hits.down_to(k)
        found = np.bincount(top.query, minlength=len(relevant)).astype(np.float64)
        dcg = total(top.query, top.gain / np.log2(top.rank + 1))
        scores[f"hit@{k}"] = np.minimum(found, 1)
        scores[f"recall@{k}"] = found / relevant
        scores[f"ndcg@{k}"] = dcg / best[:, min(k, best.shape[1]) - 1]
    return scores


def _ideal(hits: _Hits, queries: int, depth: int) -> Floats:
    """Return the highest gains of each query, descending and padded with 0, (queries, depth)."""
    gain = hits.gain[np.lexsort((-hits.gain, hits.query))]  # the queries stay where they are
    place = placed(hits.query, queries)
    top = place < depth
    ideal = np.zeros((queries, depth))
    ideal[hits.query[top], place[top]] = gain[top]
    return ideal


def _hits_judged(queries: Embeddings, embeddings: Embeddings, judged: MatchSet) -> _Hits:
    query = judged.anchor_of
    cosine = np.einsum("jd,jd->j", queries[query], embeddings[judged.matches])
    labels = judged.labels[np.lexsort((judged.labels, np.maximum(1 - cosine, 0), query))]
    relevant = labels > 0
    rank = placed(query, len(judged)) + 1
    return _Hits(query[relevant], rank[relevant], labels[relevant].astype(np.float64))


def _hits_corpus(distance: Embeddings, judged: MatchSet) -> _Hits:
    chosen = judged.labels > 0
    owner, match, gain = judged.anchor_of[chosen], judged.matches[chosen], judged.labels[chosen]
    gain = gain[np.lexsort((gain, distance[owner, match], owner))]
    relevant = np.zeros(distance.shape, dtype=np.bool_)
    relevant[owner, match] = True
    return _Hits(*ranks(distance, relevant), gain.astype(np.float64))


def _joined(parts: list[Scores], queries: Rows, asked: int) -> Metrics:
    per_query = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Metrics(per_query, len(queries), asked - len(queries))


def _depth(ks: Ks) -> int:
    if not ks or min(ks) < 1:
        raise OptionError(f"ks is {ks!r}; give at least one rank to cut at, each at least 1")
    return max(ks)


def _checked(embeddings: Embeddings, count: int, of_what: str) -> Embeddings:
    if embeddings.ndim != 2 or len(embeddings) != count:
        raise OptionError(f"embeddings {embeddings.shape}: give one row for each of the {count} {of_what}")
    embeddings = np.require(embeddings, np.float32, ["C", "W"])
    squares = np.einsum("nd,nd->n", embeddings, embeddings)
    unfit = np.flatnonzero(~(squares < 1.001))
    if len(unfit):
        length = math.sqrt(squares[unfit[0]])
        raise EncoderError(f"embedding {unfit[0]} has the length {length:g}; give finite, L2-normalised ones")
    return embeddings
