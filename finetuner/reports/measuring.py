"""Metrics of several encoders for the same anchors, how they differ, and for which anchors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from finetuner.evaluation import Floats, Ks, Over, by_judgements
from finetuner.matches import MatchSet, Rows
from finetuner.nearest import nearest
from finetuner.reports.embedded import Embedded
from finetuner.reports.findings import Segment, Tally, View
from finetuner.significance import Difference, paired_differences
from finetuner.training.compare import PRIMARY, rankable

SEGMENTS = 50
"""Segments that are told of, at most."""

LEVEL = 1e-12
"""Differences of a query that are none."""

_GRID = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200)
_ASKED = 500  # anchors whose first places are looked at for what nobody judged
_FIRST = 10

Scores = Mapping[str, Floats]


@dataclass(frozen=True)
class Scored:
    """Encoders that rank for the same anchors, query by query.

    Attributes:
        over: What each anchor ranks.
        metric: The metric that decides.
        anchors: Indices of the anchors that are ranked, ascending, (Q,).
        not_drawn: How many more could be ranked.
        scores: By encoder and metric, the value of each query, (Q,).
        recall: By encoder, (k, mean recall@k), for more k than were asked for.
    """

    over: Over
    metric: str
    anchors: Rows
    not_drawn: int
    scores: Mapping[str, Scores]
    recall: Mapping[str, tuple[tuple[int, float], ...]]

    def gain(self, rival: str) -> Floats:
        """Return what the last encoder gains over another one, in the metric that decides, (Q,)."""
        return np.subtract(list(self.scores.values())[-1][self.metric], self.scores[rival][self.metric])


@dataclass(frozen=True)
class Asked:
    """What is asked of encoders.

    Attributes:
        ks: Ranks at which metrics are cut.
        metric: The metric that decides; in :attr:`names`.
        confidence: How often an interval shall hold the true mean.
        seed: Decides resamples, flips and draws.
    """

    ks: Ks
    metric: str
    confidence: float
    seed: int

    @property
    def names(self) -> list[str]:
        """The metrics that are told."""
        cut = [f"{metric}@{k}" for metric in ("hit", "recall", "ndcg") for k in sorted(set(self.ks))]
        return [PRIMARY, "mrr", "map@r", "r_precision", *cut]


def scored(
    encoders: Mapping[str, Embedded], matches: MatchSet, over: Over, asked: Asked, *, most: int | None = None
) -> Scored:
    """Return what each encoder scores for each anchor that can be ranked, or for so many at most, which are drawn."""
    able = rankable(matches, over)
    anchors = np.sort(np.random.default_rng(asked.seed).permutation(able)[:most])
    asking = matches.only(anchors)
    longest = int(np.diff(asking.offsets).max()) if over == "judged" else len(matches.ids) - 1
    grid = sorted({*asked.ks, *(k for k in _GRID if k < longest), min(longest, _GRID[-1])})
    scores, recall = {}, {}
    for name, of in encoders.items():
        queries = None if of.queries is None else of.queries[anchors]
        metrics = by_judgements(of.documents, asking, over=over, queries=queries, ks=grid)
        recall[name] = tuple((k, float(metrics.per_query[f"recall@{k}"].mean())) for k in grid)
        scores[name] = {metric: metrics.per_query[metric] for metric in asked.names}
    return Scored(over, asked.metric, anchors, len(able) - len(anchors), scores, recall)


def view(
    found: Scored,
    encoders: Mapping[str, Embedded],
    matches: MatchSet,
    segments: Mapping[str, str] | None,
    asked: Asked,
    *,
    alone: bool,
) -> View:
    """Return what is told of encoders that rank for the same anchors, alone or beside another view."""
    *rivals, candidate = found.scores
    ours = found.scores[candidate]
    told, left_out, unnamed = _segments(found, matches, segments or {}, asked)
    return View(
        over=found.over,
        anchors=len(found.anchors),
        not_drawn=found.not_drawn,
        excluded=len(matches) - len(found.anchors) - found.not_drawn,
        unjudged=_unjudged(encoders, matches, found, asked.seed) if alone or found.over == "corpus" else {},
        metrics=_means(found.scores, slice(None)),
        differences={
            name: paired_differences(ours, found.scores[name], seed=asked.seed, confidence=asked.confidence)
            for name in rivals
        },
        tallies={name: _tally(found.gain(name)) for name in rivals},
        recall=found.recall,
        segments=told,
        segments_left_out=left_out,
        unnamed=unnamed,
    )


def _means(scores: Mapping[str, Scores], some: Rows | slice) -> dict[str, dict[str, float]]:
    return {
        name: {metric: float(values[some].mean()) for metric, values in of.items()}
        for name, of in scores.items()
    }


def _tally(gain: Floats) -> Tally:
    won, lost = int((gain > LEVEL).sum()), int((gain < -LEVEL).sum())
    return Tally(won, lost, len(gain) - won - lost)


def _segments(
    found: Scored, matches: MatchSet, segments: Mapping[str, str], asked: Asked
) -> tuple[tuple[Segment, ...], int, int]:
    """Return the largest segments, how many there are beyond those, and how many anchors are in none."""
    names: Sequence[str | None] = [segments.get(matches.ids[row]) for row in matches.anchors[found.anchors]]
    members: dict[str, list[int]] = {}
    for query, name in enumerate(names):
        if name is not None:
            members.setdefault(str(name), []).append(query)
    largest = sorted(members.items(), key=lambda one: (-len(one[1]), one[0]))
    told = tuple(_segment(name, np.array(some), found, asked) for name, some in largest[:SEGMENTS])
    return told, len(largest[SEGMENTS:]), names.count(None)


def _segment(name: str, some: Rows, found: Scored, asked: Asked) -> Segment:
    *rivals, candidate = found.scores
    metric = asked.metric
    ours = {metric: found.scores[candidate][metric][some]}
    differences: dict[str, Difference] = {}
    for rival in rivals:
        theirs = {metric: found.scores[rival][metric][some]}
        told = paired_differences(ours, theirs, seed=asked.seed, confidence=asked.confidence)
        differences[rival] = told[metric]
    return Segment(name, len(some), _means(found.scores, some), differences)


def _unjudged(
    encoders: Mapping[str, Embedded], matches: MatchSet, found: Scored, seed: int
) -> dict[str, float]:
    """Return the share of each encoder's first places in the corpus that nobody judged."""
    drawn = np.random.default_rng(seed).permutation(found.anchors)[:_ASKED]
    rows = matches.anchors[drawn]
    known = matches.anchor_of * len(matches.ids) + matches.matches

    def keep(queries: Rows, columns: slice, cosine: Tensor) -> None:
        query = np.flatnonzero((rows[queries] >= columns.start) & (rows[queries] < columns.stop))
        cosine[query, rows[queries[query]] - columns.start] = -np.inf

    shares = {}
    for name, of in encoders.items():
        first = nearest(of.asking(drawn, rows), of.documents, _FIRST, keep=keep).rows
        there = first >= 0
        judged: NDArray[np.bool_] = there & np.isin(drawn[:, None] * len(matches.ids) + first, known)
        shares[name] = 1 - float(judged.sum() / there.sum())
    return shares
