"""What holds about anchors and their matches, out of everything that was ever judged."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetuner.numbering import Rows, numbered
from finetuner.store.database import AnyRow


@dataclass(frozen=True)
class Pairs:
    """What holds about the matches of some anchors: by anchor, then in the order in which they first came.

    Attributes:
        offsets: Pairs ``offsets[i]:offsets[i + 1]`` are those of anchor i, (A + 1,).
        matches: Rows of the matches in the collection, (M,).
        labels: The newest label of each, of whichever source, (M,); NaN where nobody judged.
        weights: The weight of that judgement, (M,).
        tags: The newest tags of each, M, or nothing; None if none has any.
    """

    offsets: Rows
    matches: Rows
    labels: NDArray[np.float64]
    weights: NDArray[np.float64]
    tags: list[str] | None

    @classmethod
    def none(cls, anchors: int = 0) -> "Pairs":
        """Return the pairs of anchors without matches."""
        empty = np.zeros(0)
        return cls(np.zeros(anchors + 1, np.int64), np.zeros(0, np.int64), empty, empty, None)

    def part(self, start: int, end: int) -> "Pairs":
        """Return the pairs of the anchors from ``start`` to before ``end``."""
        span = slice(self.offsets[start], self.offsets[end])
        return Pairs(
            offsets=self.offsets[start : end + 1] - self.offsets[start],
            matches=self.matches[span],
            labels=self.labels[span],
            weights=self.weights[span],
            tags=None if self.tags is None else self.tags[span],
        )

    @classmethod
    def settle(cls, said: Sequence[AnyRow], anchors: Rows) -> "Pairs":
        """Return what holds for some anchors.

        Args:
            said: All rows (anchor, match, feed, place, label, weight) about them, perhaps with tags behind.
            anchors: Their rows in the collection, each once, (A,).
        """
        if not said:
            return cls.none(len(anchors))
        columns = np.array([row[:6] for row in said], np.float64)  # NULL becomes NaN
        anchor, match, feed, place = columns[:, :4].astype(np.int64).T
        by_row = np.argsort(anchors)
        owner = by_row[np.searchsorted(anchors, anchor, sorter=by_row)]
        order = np.lexsort((place, feed, owner))
        first, pair = numbered((owner << 32 | match)[order])
        first = order[first]
        labels, weights = np.full(len(first), np.nan), np.ones(len(first))
        judged = ~np.isnan(columns[order, 4])
        # of several values for one place the last one stays, which is the newest
        labels[pair[judged]] = columns[order[judged], 4]
        weights[pair[judged]] = columns[order[judged], 5]
        newest = [""] * len(first)
        if len(said[0]) > 6:
            for at, row in zip(pair.tolist(), order.tolist(), strict=True):
                newest[at] = said[row][6] or newest[at]
        counts = np.bincount(owner[first], minlength=len(anchors))
        return cls(
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            matches=match[first],
            labels=labels,
            weights=weights,
            tags=newest if any(newest) else None,
        )
