"""What is what to whom in a batch, by id."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from finetuner.groups import Mask, PositiveGraph, among, positive_groups
from finetuner.matches import MatchSet, Rows
from finetuner.samplers.batch import Batch, Draft
from finetuner.samplers.judged import judgements_of

Likely = Callable[[Rows, Rows], Mask]
"""Which of N contents look so similar to A anchors that they may be positives: rows (A,) and (N,) to bool (A, N)."""


class Relations:
    """Knows the judgements, and what follows from them about pairs that nobody judged.

    Args:
        matches: The match data.
        in_batch_negatives: Whether contents that nobody judged may be negatives.
        scores: Whether batches shall have the labels.
        likely: Which pairs that nobody judged are no negatives although their ids allow it.

    Attributes:
        groups: The group of each content, int64 (contents,), or None if the data has none.
    """

    def __init__(
        self, matches: MatchSet, *, in_batch_negatives: bool, scores: bool, likely: Likely | None
    ) -> None:
        self.groups = positive_groups(matches)
        self._matches = matches
        self._in_batch = in_batch_negatives
        self._scores = scores
        self._likely = likely
        self._weighted = bool((matches.weights != 1).any())

    @cached_property
    def _graph(self) -> PositiveGraph:
        return PositiveGraph(self._matches)

    def batch(self, draft: Draft, anchors: Rows, judges: Rows) -> Batch:
        """Return a batch.

        Args:
            draft: Who and what comes into it.
            anchors: The rows of its anchors, (A,).
            judges: Which anchors of the match set they are, -1 for none, (A,).
        """
        contents = np.unique(draft.rows)
        judged = _Judged(self._matches, judges, contents)
        positive, negative = self._masks(judged, anchors, draft.mined)
        itself = (np.arange(len(anchors)), np.searchsorted(contents, anchors))
        positive[itself] = negative[itself] = False
        return Batch(
            contents=contents,
            anchors=itself[1],
            positive=positive,
            negative=negative,
            weight=judged.spread(self._matches.weights, 1) if self._weighted else None,
            score=judged.spread(self._matches.labels, np.nan) if self._scores else None,
            groups=None if self.groups is None else self.groups[contents],
        )

    def _masks(self, judged: "_Judged", anchors: Rows, mined: Rows | None) -> tuple[Mask, Mask]:
        contents = judged.contents
        apart = self._apart(anchors, contents) if self._in_batch or mined is not None else None
        if self._in_batch and apart is not None and self.groups is not None and self._likely is None:
            return ~apart, apart  # judgements say the same
        sign = judged.spread(self._matches.labels, 0)
        positive, negative = sign > 0, sign < 0
        if apart is not None and mined is not None:
            negative |= apart & _marked(mined, contents)
        if apart is not None and self._in_batch:
            if self.groups is not None:
                positive = ~apart
            negative |= apart if self._likely is None else apart & ~self._likely(anchors, contents)
        return positive, negative

    def _apart(self, anchors: Rows, contents: Rows) -> Mask:
        """Return where nothing tells that a content belongs to an anchor, bool (A, N)."""
        if self.groups is not None:
            return np.not_equal(self.groups[anchors][:, None], self.groups[contents])
        return ~self._graph.near(anchors, contents)


class _Judged:
    """The judgements of a batch, looked up when they are first asked for."""

    def __init__(self, matches: MatchSet, judges: Rows, contents: Rows) -> None:
        self._matches = matches
        self._judges = judges
        self.contents = contents

    @cached_property
    def _found(self) -> tuple[Rows, Rows, Rows]:
        """Which judgements are about contents of the batch, and the rows and columns of these."""
        owner, judgement = judgements_of(self._matches, self._judges)
        found, column = among(self.contents, np.arange(len(owner)), self._matches.matches[judgement])
        return judgement[found], owner[found], column

    def spread(self, values: NDArray[np.float32], otherwise: float) -> NDArray[np.float32]:
        """Return what the judgements have, as a matrix with ``otherwise`` where nobody judged, float32 (A, N)."""
        matrix = np.full((len(self._judges), len(self.contents)), otherwise, np.float32)
        judgement, row, column = self._found
        matrix[row, column] = values[judgement]
        return matrix


def _marked(mined: Rows, contents: Rows) -> Mask:
    """Return which contents were mined for an anchor, bool (A, N)."""
    row, place = np.nonzero(mined >= 0)
    marked = np.zeros((len(mined), len(contents)), dtype=np.bool_)
    marked[row, np.searchsorted(contents, mined[row, place])] = True
    return marked
