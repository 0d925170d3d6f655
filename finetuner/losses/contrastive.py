"""The contrastive loss: positives together, negatives a margin apart."""

from dataclasses import dataclass

from torch import Tensor

from finetuner.losses.loss import Ratio, check_above_zero, sloped
from finetuner.losses.relations import Relations, ones


@dataclass(frozen=True)
class Contrastive(Ratio):
    """A positive is pulled until it is at the anchor, a negative is pushed until it is a margin away.

        loss(positive) = 1/2 d^2            loss(negative) = 1/2 max(0, margin - d)^2

    as in eq. 4 of Hadsell et al. 2006 (Dimensionality Reduction by Learning an Invariant Mapping), averaged over the
    judged pairs by their weights. Here d = 1 - cosine; the paper has the Euclidean distance, whose slope is without
    bounds where a negative equals its anchor. The mean is over all judged pairs, also those that cost nothing.

    Each pair is told for itself, so an anchor teaches even if it has only positives or only negatives.

    Attributes:
        margin: In units of cosine distance, above 0; at 1 negatives end up orthogonal, and cosine distances end at
            2. The default is that of sentence-transformers.
    """

    margin: float = 0.5

    def __post_init__(self) -> None:
        check_above_zero("loss 'contrastive'", "margin", self.margin)

    def terms(self, cosine: Tensor, relations: Relations) -> tuple[Tensor, Tensor]:
        """Return the sum of the pairs' losses and their number, both weighted, see :class:`Ratio`."""
        positive, negative = (ones(one, cosine.dtype) for one in (relations.positive, relations.negative))
        value = cosine.detach()
        # margin - d of a negative, -d of a positive; it is also the slope of what it costs, 1/2 error^2
        error = (value - (1 - self.margin)).clamp_(min=0).mul_(negative).addcmul_(positive, value - 1)
        if relations.weight is None:
            return sloped(cosine, 0.5 * error.square().sum(), error), positive.sum() + negative.sum()
        slope = relations.weight * error
        return (
            sloped(cosine, 0.5 * (slope * error).sum(), slope),
            (relations.weight * (positive + negative)).sum(),
        )

    def teaches(self, relations: Relations) -> Tensor:
        """Return which anchors have any judgement, bool (A,)."""
        return relations.judged.any(dim=1)
