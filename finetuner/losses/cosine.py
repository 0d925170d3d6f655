"""Regression: the cosine itself must become the judgement."""

from dataclasses import dataclass

from torch import Tensor

from finetuner.losses.loss import Ratio, sloped
from finetuner.losses.relations import Relations, ones


@dataclass(frozen=True)
class CosineRegression(Ratio):
    """The cosine itself must become the judgement: 1 for a positive, -1 for a negative.

        loss = weighted mean over the judged pairs of (cosine - target)^2

    An anchor teaches even if it has only positives or only negatives. But negatives shall become opposites,
    which few contents can be at once: give it explicit judgements rather than in-batch negatives.
    """

    def terms(self, cosine: Tensor, relations: Relations) -> tuple[Tensor, Tensor]:
        """Return the sum of the squared errors and the number of pairs, both weighted, see :class:`Ratio`."""
        positive, negative = (ones(one, cosine.dtype) for one in (relations.positive, relations.negative))
        counts = positive + negative if relations.weight is None else (positive + negative) * relations.weight
        error = cosine.detach() - (positive - negative)
        half_slope = counts * error
        return sloped(cosine, (half_slope * error).sum(), 2 * half_slope), counts.sum()

    def teaches(self, relations: Relations) -> Tensor:
        """Return which anchors have any judgement, bool (A,)."""
        return relations.judged.any(dim=1)

    @property
    def learns_values(self) -> bool:
        """Whether it is told what a cosine shall be."""
        return True
