"""What becomes of a candidate, as data: the gate's decision, where on its line it is, guards, and an index of older versions."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Bounds = tuple[float, float, float]
"""A mean with its interval: (mean, low, high)."""

ROUTES = ("old->old", "new->old", "mapped->old", "new->new")
"""Which version's queries ask which version's documents, as the page lists them."""


@dataclass(frozen=True)
class Decision:
    """What the gate decided, and why, for people."""

    promoted: bool
    reason: str


@dataclass(frozen=True)
class Share:
    """Where the candidate is on the line from the weights at the start, 0, to those after training, 1.

    Attributes:
        share: The one that was chosen.
        scores: The metric that decides, of validation anchors, by share.
    """

    share: float
    scores: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Guard:
    """Other match data on which the candidate should not be worse.

    Attributes:
        name: The collection.
        anchors: How many were ranked.
        left_out: How many were not, since the run has seen them.
        metrics: The means by encoder and metric; nothing if no anchor could be ranked.
        gain: By each encoder but the candidate, candidate - encoder in the metric that decides.
    """

    name: str
    anchors: int
    left_out: int
    metrics: Mapping[str, Mapping[str, float]]
    gain: Mapping[str, Bounds]


@dataclass(frozen=True)
class Index:
    """What an index of an older version is worth to the candidate.

    Attributes:
        version: The older version.
        same_documents: Whether the candidate makes the same of documents, so that the index stays as it is.
        recall: Recall@k by route, of :data:`ROUTES`; nothing if it was not measured.
        lost: By route, what it has more than new->new, below 0 where it has less.
        k: How many documents were looked at; None if it was not told.
        reason: Why there is no map; None if there is one, or none is needed.
    """

    version: str
    same_documents: bool
    recall: Mapping[str, float]
    lost: Mapping[str, Bounds]
    k: int | None
    reason: str | None


@dataclass(frozen=True)
class Promotion:
    """What becomes of a candidate, as far as it is known.

    Attributes:
        decision: The gate's; None if it has not decided yet.
        share: None if nothing was tried on the line.
        guards: Those that there are.
        indexes: Of the older versions that were looked at.
    """

    decision: Decision | None = None
    share: Share | None = None
    guards: tuple[Guard, ...] = ()
    indexes: tuple[Index, ...] = ()


def promotion(
    decision: Mapping[str, Any] | None,
    line: Mapping[str, Any] | None,
    guards: Mapping[str, Mapping[str, Any]] | None,
    compatibility: Mapping[str, Mapping[str, Any]] | None,
) -> Promotion:
    """Return what becomes of a candidate.

    Args:
        decision: ``promoted`` and ``reason``.
        line: The event ``line`` of a training: ``share``, and ``scores`` by share.
        guards: By name, ``metrics`` and ``gain`` as :func:`finetuner.training.compare.compare` returns them, perhaps with
            ``anchors`` and ``left_out``.
        compatibility: By older version what :func:`finetuner.compatibility.promotion.fit_maps` found: ``recall`` by route,
            perhaps with ``lost``, ``k``, ``same_documents`` and ``reason``.
    """
    return Promotion(
        None if decision is None else Decision(bool(decision["promoted"]), str(decision["reason"])),
        None if line is None else Share(float(line["share"]), _scores(line.get("scores", {}))),
        tuple(_guard(name, told) for name, told in (guards or {}).items()),
        tuple(_index(version, told) for version, told in (compatibility or {}).items()),
    )


def _scores(scores: Mapping[str, float]) -> tuple[tuple[float, float], ...]:
    return tuple(sorted((float(share), float(score)) for share, score in scores.items()))


def _guard(name: str, told: Mapping[str, Any]) -> Guard:
    return Guard(
        name=name,
        anchors=int(told.get("anchors", 0)),
        left_out=int(told.get("left_out", 0)),
        metrics=told.get("metrics", {}),
        gain=dict(_bounds(told.get("gain", {}))),
    )


def _index(version: str, told: Mapping[str, Any]) -> Index:
    k = told.get("k")
    return Index(
        version=version,
        same_documents=bool(told.get("same_documents", False)),
        recall={route: float(recall) for route, recall in told.get("recall", {}).items()},
        lost=dict(_bounds(told.get("lost", {}))),
        k=None if k is None else int(k),
        reason=told.get("reason"),
    )


def _bounds(told: Mapping[str, Any]) -> Iterable[tuple[str, Bounds]]:
    for name, (mean, low, high) in told.items():
        if all(math.isfinite(one) for one in (mean, low, high)):
            yield name, (float(mean), float(low), float(high))
