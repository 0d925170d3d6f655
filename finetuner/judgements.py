"""Judgements as they come, settled in the end: of each anchor's matches, once each, what was said last."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetuner.numbering import Rows, numbered


@dataclass(frozen=True)
class Settled:
    """Judgements by anchor.

    Attributes:
        anchors: Rows of the anchors, each once, in the order in which they came, (A,).
        offsets: Judgements ``offsets[i]:offsets[i + 1]`` are those of anchor i, (A + 1,).
        matches: Rows of the judged matches, in the order in which they were first judged, (J,).
        labels: Their last labels, float32 (J,).
        weights: The weights of those, float32 (J,).
        counts: How many anchors came again (``merged_anchors``), matches were their own anchor
            (``self_matches``) or ``unjudged``, and judgements ``repeated`` or ``contradicted`` an earlier one.
    """

    anchors: Rows
    offsets: Rows
    matches: Rows
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]
    counts: dict[str, int]


class Judgements:
    """Gathers judgements about rows of contents: 24 bytes for each, and 16 for each anchor."""

    def __init__(self) -> None:
        self._anchors, self._counts, self._matches = array("q"), array("q"), array("q")
        self._labels, self._weights = array("d"), array("d")

    def __len__(self) -> int:
        """Return how many anchors came; one that came twice counts twice."""
        return len(self._anchors)

    def add(
        self, anchor: int, matches: Iterable[int], labels: Iterable[float], weights: Iterable[float]
    ) -> None:
        """Take in an anchor with its matches; a label of NaN is none."""
        before = len(self._matches)
        self._anchors.append(anchor)
        self._matches.extend(matches)
        self._labels.extend(labels)
        self._weights.extend(weights)
        self._counts.append(len(self._matches) - before)

    def extend(
        self,
        anchors: Rows,
        counts: Rows,
        matches: Rows,
        labels: NDArray[np.float64],
        weights: NDArray[np.float64],
    ) -> None:
        """Take in anchors (A,) with so many matches each (A,), and the matches of all of them (M,)."""
        for column, values in (
            (self._anchors, anchors),
            (self._counts, counts),
            (self._matches, matches),
            (self._labels, labels),
            (self._weights, weights),
        ):
            column.frombytes(np.ascontiguousarray(values).tobytes())

    def settle(self) -> Settled:
        """Return what holds."""
        came, matches = np.frombuffer(self._anchors, np.int64), np.frombuffer(self._matches, np.int64)
        labels, weights = np.frombuffer(self._labels, np.float64), np.frombuffer(self._weights, np.float64)
        first, owner = numbered(came)
        anchors = came[first]
        owner = np.repeat(owner, np.frombuffer(self._counts, np.int64))
        itself = matches == anchors[owner]
        judged = ~itself & ~np.isnan(labels)
        key, label = (owner << 32 | matches)[judged], labels[judged]
        order = np.argsort(key, kind="stable")
        again = key[order][1:] == key[order][:-1]
        equal = label[order][1:] == label[order][:-1]
        # the first of a pair says where it stands, the last what holds
        first = order[np.concatenate([[True], ~again])[: len(order)]]
        last = order[np.concatenate([~again, [True]])[: len(order)]]
        place = np.lexsort((first, owner[judged][first]))
        kept = last[place]
        sizes = np.bincount(owner[judged][kept], minlength=len(anchors))
        return Settled(
            anchors=anchors,
            offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            matches=matches[judged][kept],
            labels=label[kept].astype(np.float32),
            weights=weights[judged][kept].astype(np.float32),
            counts={
                "merged_anchors": len(came) - len(anchors),
                "self_matches": int(itself.sum()),
                "unjudged": int((~itself & np.isnan(labels)).sum()),
                "repeated": int((again & equal).sum()),
                "contradicted": int((again & ~equal).sum()),
            },
        )
