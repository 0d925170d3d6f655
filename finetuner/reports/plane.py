"""A map of embeddings: their two principal components, and what belongs together in them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetuner.groups import positive_groups
from finetuner.matches import MatchSet, Rows
from finetuner.models import Embeddings
from finetuner.reports.findings import OTHERS, Plane

POINTS = 1200
"""Contents that are drawn, at most."""

LINES = 120
"""Anchors that are joined with a positive, at most."""

_MOST_GROUPS = 12
_LEAST_SHARE = 0.02  # of the points, that a group has to have to be told apart


@dataclass(frozen=True)
class Drawn:
    """What is drawn of every encoder alike.

    Attributes:
        rows: Which contents, ascending, (P,).
        groups: The names of the groups.
        group: Of each content the number of its group, (P,).
        lines: Pairs of indices into the rows.
    """

    rows: Rows
    groups: tuple[str, ...]
    group: Rows
    lines: tuple[tuple[int, int], ...]


def drawn(matches: MatchSet, segments: Mapping[str, str] | None, *, seed: int) -> Drawn:
    """Return which contents are drawn, and to what groups they belong.

    Groups are what positive judgements connect, if a dozen of them or fewer hold most of the contents, as they do where
    judgements were made from classes. Else anchors are told apart from matches, and lines join them.
    """
    random = np.random.default_rng(seed)
    classes = _classes(matches)
    if classes is not None:
        used = np.unique(np.concatenate([matches.anchors, matches.matches]))
        rows = np.sort(random.permutation(used)[:POINTS])
        names = _named(classes, matches, segments or {})
        return Drawn(rows, (*names, OTHERS), np.where(classes < 0, len(names), classes)[rows], ())
    positive = np.flatnonzero(matches.labels > 0)
    anchors = matches.anchors[matches.anchor_of]
    positive = random.permutation(positive)[: POINTS // 2]  # both ends of each are drawn
    rows = np.unique(np.concatenate([anchors[positive], matches.matches[positive]]))
    _, first = np.unique(anchors[positive], return_index=True)
    joined = positive[np.sort(first)[:LINES]]
    ends = zip(
        np.searchsorted(rows, anchors[joined]).tolist(),
        np.searchsorted(rows, matches.matches[joined]).tolist(),
        strict=True,
    )
    role = np.where(np.isin(rows, matches.anchors), 0, 1)
    return Drawn(rows, ("anchor", "match"), role, tuple(ends))


def plane(encoder: str, documents: Embeddings, what: Drawn) -> Plane:
    """Return the map of what is drawn, by its own two principal components.

    Args:
        encoder: Whose embeddings they are.
        documents: Of each content, float32 (N, D).
        what: What is drawn.
    """
    centred = documents[what.rows].astype(np.float64)
    centred -= centred.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred)  # ascending
    two = axes[:, ::-1][:, :2]
    # an axis is as good the other way round: let its largest number be above 0
    two = two * np.sign(two[np.abs(two).argmax(axis=0), np.arange(two.shape[1])])
    places = np.zeros((len(centred), 2))
    places[:, : two.shape[1]] = centred @ two
    total = float(variances.sum())
    return Plane(
        encoder=encoder,
        explained=float(variances[::-1][:2].sum()) / total if total > 0 else 0.0,
        points=tuple(
            (round(x, 4), round(y, 4), group)
            for (x, y), group in zip(places.tolist(), what.group.tolist(), strict=True)
        ),
        groups=what.groups,
        lines=what.lines,
    )


def _classes(matches: MatchSet) -> NDArray[np.int64] | None:
    """Return the class of each content, from 0, the largest first, and -1 for what is in none; None without classes."""
    groups = positive_groups(matches)
    if groups is None:
        return None
    used = np.unique(np.concatenate([matches.anchors, matches.matches]))
    sizes = np.bincount(groups[used], minlength=groups.max() + 1)
    large = np.argsort(-sizes, kind="stable")[:_MOST_GROUPS]
    large = large[sizes[large] >= max(3.0, _LEAST_SHARE * len(used))]
    if len(large) < 2 or 2 * sizes[large].sum() < len(used):
        return None
    number = np.full(len(sizes), -1)
    number[large] = np.arange(len(large))
    return number[groups]


def _named(classes: Rows, matches: MatchSet, segments: Mapping[str, str]) -> Sequence[str]:
    """Return a name for each class: the segment that most of its anchors are in, if no other class has the same."""
    names = []
    for number in range(int(classes.max()) + 1):
        anchors = matches.anchors[classes[matches.anchors] == number]
        named = Counter(str(segments[matches.ids[row]]) for row in anchors if matches.ids[row] in segments)
        most = named.most_common(1)
        names.append(most[0][0] if most and 2 * most[0][1] > len(anchors) else f"group {number + 1}")
    return names if len(set(names)) == len(names) else [f"group {at + 1}" for at in range(len(names))]
