"""MarginMSE: differences of cosines must be those of a teacher's scores."""

from dataclasses import dataclass

import torch
from torch import Tensor

from finetuner.losses.loss import Ratio, check_above_zero, or_one
from finetuner.losses.relations import Relations, ones


@dataclass(frozen=True)
class MarginMSE(Ratio):
    """How much closer one match is than another must be what a teacher says.

    With the scored matches i, j of an anchor, c their cosines and s their scores:

        loss(anchor, i, j) = ( scale * (c_i - c_j) - (s_i - s_j) )^2

    averaged over all pairs of two matches of all anchors, in which (i, j) weighs w_i w_j. "Margin-MSE" of Hofstätter
    et al. 2020, arXiv 2010.02666, section 3. There i is a positive and j a negative; here all pairs count, since what
    the teacher says of two positives is worth as much. Only differences count, so scores may have any origin.

    Attributes:
        scale: What a cosine of 1 is in the teacher's unit, above 0. The default suits scores that are cosines
            themselves; scores of a cross-encoder have a range of 10 to 20.
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        check_above_zero("loss 'margin_mse'", "scale", self.scale)

    def terms(self, cosine: Tensor, relations: Relations) -> tuple[Tensor, Tensor]:
        """Return the sum of the squared errors and the number of pairs of two, both weighted, see :class:`Ratio`.

        With r = scale * c - s, the sum of w_i w_j (r_i - r_j)^2 over pairs is W * sum of w_i (r_i - mean of r)^2, W
        the sum of the weights. So N matches take N steps, and not N^2.
        """
        if relations.score is None:
            return 0 * cosine.sum(), cosine.detach().new_zeros(())
        scored = ~relations.score.isnan()
        counts = ones(scored, cosine.dtype)
        if relations.weight is not None:
            counts = counts * relations.weight
        total = counts.sum(dim=1, keepdim=True)
        error = torch.where(scored, self.scale * cosine - relations.score.to(cosine.dtype), 0)
        centred = error - (counts * error).sum(dim=1, keepdim=True) / or_one(total)
        pairs = total.square().sum() - counts.square().sum()  # of two, each twice
        return (total * counts * centred.square()).sum(), pairs / 2

    def teaches(self, relations: Relations) -> Tensor:
        """Return which anchors have two scored matches, bool (A,)."""
        if relations.score is None:
            return relations.positive.new_zeros(len(relations.positive))
        return (~relations.score.isnan()).sum(dim=1) > 1

    @property
    def uses_scores(self) -> bool:
        """Whether it makes use of ``Relations.score``."""
        return True

    @property
    def learns_values(self) -> bool:
        """Whether it is told what a cosine shall be."""
        return True
