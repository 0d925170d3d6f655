"""What is known of the anchors and the contents of a batch: which belong together, which do not, and how much so."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Relations:
    """What is known of A anchors and N contents.

    Which content is what to which anchor is known by id, so a duplicate or a known positive is never pushed away;
    see :class:`finetuner.samplers.Batch`.

    Attributes:
        positive: True where the content is a positive of the anchor, bool (A, N).
        negative: True where it is a negative, bool (A, N). Both False: unknown, or the anchor itself; ignored.
        weight: How much each pair counts, above 0, float (A, N); None if each counts 1.
        score: The label as it was given (a graded judgement, a similarity, a teacher's score), float (A, N), NaN
            where nobody gave one; None if nobody asked for scores.
        groups: The class or group of each content, int64 (N,), from 0; None if the data has none.
        anchors: Which of the N contents each anchor is, int64 (A,); None if it does not matter.
    """

    positive: Tensor
    negative: Tensor
    weight: Tensor | None = None
    score: Tensor | None = None
    groups: Tensor | None = None
    anchors: Tensor | None = None

    @property
    def judged(self) -> Tensor:
        """Where something is known, bool (A, N)."""
        return self.positive | self.negative

    @property
    def contrasting(self) -> Tensor:
        """Which anchors have a positive and a negative, bool (A,)."""
        return some(self.positive) & some(self.negative)

    def rows(self, chosen: slice) -> "Relations":
        """Return what is known of some of the anchors and all contents; nothing is copied."""
        return Relations(
            self.positive[chosen],
            self.negative[chosen],
            None if self.weight is None else self.weight[chosen],
            None if self.score is None else self.score[chosen],
            self.groups,
            None if self.anchors is None else self.anchors[chosen],
        )


# torch's own conversions of booleans, and their reductions, take five to ten times as long


def ones(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return 1 where a mask is True and 0 elsewhere."""
    return mask.view(torch.uint8).to(dtype)


def some(mask: Tensor) -> Tensor:
    """Return which rows of a mask (A, N) have a True, bool (A,)."""
    return mask.view(torch.uint8).amax(dim=1).bool() if mask.numel() else mask.any(dim=1)
