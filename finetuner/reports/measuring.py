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
        anchors: Indices of the anchors that are ranked, ascending, (Q,).
        scores: By encoder and metric, the value of each query, (Q,).
        recall: By encoder, (k, mean recall@k), for more k than were asked for.
    """

    over: Over
    anchors: Rows
    scores: Mapping[str, Scores]
    recall: Mapping[str, tuple[tuple[int, float], ...]]

    def gain(self, rival: str) -> Floats:
        """Return what the last encoder gains over another one, in the metric that decides, (Q,)."""
        return np.subtract(list(self.scores.values())[-1][PRIMARY], self.scores[rival][PRIMARY])


def scored(encoders: Mapping[str, Embedded], matches: MatchSet, over: Over, ks: Ks) -> Scored:
    """Return what each encoder scores for each anchor that can be ranked."""
    anchors = rankable(matches, over)
    asking = matches.only(anchors)
    longest = int(np.diff(asking.offsets).max()) if over == "judged" else len(matches.ids) - 1
    grid = sorted({*ks, *(k for k in _GRID if k < longest), min(longest, _GRID[-1])})
    scores, recall = {}, {}
    for name, of in encoders.items():
        queries = None if of.queries is None else of.queries[anchors]
        metrics = by_judgements(of.documents, asking, over=over, queries=queries, ks=grid)
        recall[name] = tuple((k, float(metrics.per_query[f"recall@{k}"].mean())) for k in grid)
        scores[name] = {metric: metrics.per_query[metric] for metric in _names(ks)}
    return Scored(over, anchors, scores, recall)


def view(
    found: Scored,
    encoders: Mapping[str, Embedded],
    matches: MatchSet,
    segments: Mapping[str, str] | None,
    seed: int,
) -> View:
    """Return what is told of encoders that rank for the same anchors."""
    *rivals, candidate = found.scores
    ours = found.scores[candidate]
    told, left_out, unnamed = _segments(found, matches, segments or {}, seed)
    return View(
        over=found.over,
        anchors=len(found.anchors),
        excluded=len(matches) - len(found.anchors),
        unjudged=_unjudged(encoders, matches, found, seed),
        metrics=_means(found.scores, slice(None)),
        differences={name: paired_differences(ours, found.scores[name], seed=seed) for name in rivals},
        tallies={name: _tally(found.gain(name)) for name in rivals},
        recall=found.recall,
        segments=told,
        segments_left_out=left_out,
        unnamed=unnamed,
    )


def _names(ks: Ks) -> list[str]:
    cut = [f"{metric}@{k}" for metric in ("hit", "recall", "ndcg") for k in sorted(set(ks))]
    return [PRIMARY, "mrr", "map@r", "r_precision", *cut]


def _means(scores: Mapping[str, Scores], some: Rows | slice) -> dict[str, dict[str, float]]:
    return {
        name: {metric: float(values[some].mean()) for metric, values in of.items()}
        for name, of in scores.items()
    }


def _tally(gain: Floats) -> Tally:
    won, lost = int((gain > LEVEL).sum()), int((gain < -LEVEL).sum())
    return Tally(won, lost, len(gain) - won - lost)


def _segments(
    found: Scored, matches: MatchSet, segments: Mapping[str, str], seed: int
) -> tuple[tuple[Segment, ...], int, int]:
    """Return the largest segments, how many there are beyond those, and how many anchors are in none."""
    names: Sequence[str | None] = [segments.get(matches.ids[row]) for row in matches.anchors[found.anchors]]
    members: dict[str, list[int]] = {}
    for query, name in enumerate(names):
        if name is not None:
            members.setdefault(str(name), []).append(query)
    largest = sorted(members.items(), key=lambda one: (-len(one[1]), one[0]))
    told = tuple(_segment(name, np.array(some), found, seed) for name, some in largest[:SEGMENTS])
    return told, len(largest[SEGMENTS:]), names.count(None)


def _segment(name: str, some: Rows, found: Scored, seed: int) -> Segment:
    *rivals, candidate = found.scores
    ours = {PRIMARY: found.scores[candidate][PRIMARY][some]}
    differences: dict[str, Difference] = {}
    for rival in rivals:
        theirs = {PRIMARY: found.scores[rival][PRIMARY][some]}
        differences[rival] = paired_differences(ours, theirs, seed=seed)[PRIMARY]
    return Segment(name, len(some), _means(found.scores, some), differences)


def _unjudged(
    encoders: Mapping[str, Embedded], matches: MatchSet, found: Scored, seed: int
) -> dict[str, float]:
    """Return the share of each encoder's first places that nobody judged."""
    if found.over == "judged":
        return {}
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
