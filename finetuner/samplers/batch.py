"""What a batch is, and how those that cannot teach are joined to others."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetuner.groups import Mask
from finetuner.matches import Rows
from finetuner.numbering import numbered

TOGETHER = 4
"""So many planned batches are joined at most in the hope that together they teach."""


@dataclass(frozen=True)
class Batch:
    """Some anchors, the contents to embed for them, and the relations of the two.

    Attributes:
        contents: Rows of the match set, each once and ascending, int64 (N,).
        anchors: Where in ``contents`` the anchors are, each once, int64 (A,).
        positive: True where a content is a positive of an anchor, bool (A, N).
        negative: True where it is a negative, bool (A, N). Both False: unknown, or the anchor itself.
        weight: How much each pair counts, float32 (A, N): what its judgement weighs, and 1 where nobody judged. None
            if all judgements of the data weigh 1.
        score: The label of each pair as its judgement has it, float32 (A, N), NaN where nobody judged. None if scores
            were not asked for.
        groups: The group of each content, see :func:`finetuner.groups.positive_groups`, int64 (N,). None if the data
            has none.
    """

    contents: Rows
    anchors: Rows
    positive: Mask
    negative: Mask
    weight: NDArray[np.float32] | None = None
    score: NDArray[np.float32] | None = None
    groups: Rows | None = None


def compares(batch: Batch) -> bool:
    """Return whether some anchor has a positive and a negative, so that a loss can compare the two."""
    return bool((batch.positive.any(axis=1) & batch.negative.any(axis=1)).any())


@dataclass(frozen=True)
class Draft:
    """Who and what comes into a batch; what is what to whom is still to be found.

    Attributes:
        anchors: Which of the sampler's anchors, int64 (A,).
        rows: Contents that they bring, themselves among them, in any order and perhaps twice, int64 (R,).
        mined: Rows that are extra negatives of each anchor, -1 for none, int64 (A, m); they are in ``rows``, too.
    """

    anchors: Rows
    rows: Rows
    mined: Rows | None = None

    def joined(self, other: "Draft") -> "Draft":
        """Return both in one; an anchor of both comes once."""
        anchors = np.concatenate([self.anchors, other.anchors])
        first, _ = numbered(anchors)
        mined = None
        if self.mined is not None and other.mined is not None:
            mined = np.concatenate([self.mined, other.mined])[first]
        return Draft(anchors[first], np.concatenate([self.rows, other.rows]), mined)


def that_teach(
    drafts: Iterable[Draft], make: Callable[[Draft], Batch], teaches: Callable[[Batch], bool]
) -> Iterator[Batch]:
    """Yield batches that teach, with the anchors of all the drafts; nothing if none of them teaches.

    A draft that cannot teach is joined to the next, and at the end to the last batch that was made, which therefore
    is held back. Where :data:`TOGETHER` drafts in a row cannot teach together, they wait for the next that can, or
    at the end take the last that could, and come in one batch with it; so its anchors come again. Therefore a batch
    holds at most ``2 * TOGETHER`` drafts, however rarely one teaches, and there are no more batches than drafts.

    Args:
        drafts: In their order.
        make: Finds the relations.
        teaches: Whether a loss can learn from a batch; it must stay true if more anchors and contents come in.
    """
    held: tuple[Draft, Batch] | None = None
    pending, count = None, 0
    waiting: list[Draft] = []
    for draft in drafts:
        pending, count = (draft, 1) if pending is None else (pending.joined(draft), count + 1)
        batch = make(pending)
        if teaches(batch):
            if held is not None:
                yield held[1]
            for idle in waiting:
                yield make(pending.joined(idle))
            held, pending, waiting = (pending, batch), None, []
        elif count == TOGETHER:
            waiting.append(pending)
            pending = None
    if held is None:
        return
    last, batch = held
    for idle in waiting:
        yield make(last.joined(idle))
    yield batch if pending is None else make(last.joined(pending))
