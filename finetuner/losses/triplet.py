"""The triplet loss: a positive closer than a negative, over all triplets of a batch or the hard ones."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from finetuner.losses.loss import FAR, Ratio, check_above_zero, check_one_of
from finetuner.losses.relations import Relations, ones

Mining = Literal["all", "hard", "semi-hard"]


@dataclass(frozen=True)
class Triplet(Ratio):
    """A positive must be closer than a negative of the same anchor, by a margin.

    With d = 2 - 2 cosine, the squared Euclidean distance of unit vectors, for a positive p and a negative n of an
    anchor as in section 3.1 of FaceNet (Schroff et al. 2015, arXiv 1503.03832):

        loss(anchor, p, n) = max(0, d_p - d_n + margin)

    Which triplets count is the mining; the loss is their mean, in which a triplet weighs w_p w_n:

    * ``all``: those whose loss is not zero, so that the many solved ones do not drown the rest ("batch all, not
      zero" in section 2 of Hermans et al. 2017, arXiv 1703.07737).
    * ``hard``: of each anchor its furthest positive with its nearest negative, whether that costs anything or not
      ("batch hard" of Hermans et al.).
    * ``semi-hard``: those with d_p < d_n < d_p + margin, whose order is right and whose margin is not (section 3.2 of
      FaceNet, which draws one of them for each positive). Where every order is wrong there is nothing to learn.

    Attributes:
        margin: In units of squared distance, above 0; squared distances end at 4. The default is FaceNet's.
        mining: Which triplets count.
    """

    margin: float = 0.2
    mining: Mining = "all"

    def __post_init__(self) -> None:
        check_above_zero("loss 'triplet'", "margin", self.margin)
        check_one_of("loss 'triplet'", "mining", self.mining, get_args(Mining))

    def terms(self, cosine: Tensor, relations: Relations) -> tuple[Tensor, Tensor]:
        """Return the sum of the triplets' losses and their number, both weighted, see :class:`Ratio`."""
        positive, negative = (ones(one, cosine.dtype) for one in (relations.positive, relations.negative))
        if self.mining == "hard":
            return self._hardest(cosine, relations, FAR * (1 - positive), FAR * (1 - negative))
        if relations.weight is not None:
            positive, negative = positive * relations.weight, negative * relations.weight
        as_positive, as_negative = self._counted(cosine.detach().contiguous(), positive, negative)
        triplets = as_positive.sum()
        return 2 * ((as_negative - as_positive) * cosine).sum() + self.margin * triplets, triplets

    def _hardest(
        self, cosine: Tensor, relations: Relations, no_positive: Tensor, no_negative: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the terms of the mining ``hard``.

        Args:
            cosine: As they are now.
            relations: What is known of them.
            no_positive: 0 where the content is a positive, :data:`FAR` elsewhere.
            no_negative: The same for negatives.
        """
        furthest, p = (cosine + no_positive).min(dim=1)
        nearest, n = (cosine - no_negative).max(dim=1)
        counts = ones(relations.contrasting, cosine.dtype)
        if relations.weight is not None:
            counts = counts * relations.weight.gather(1, torch.stack([p, n], dim=1)).prod(dim=1)
        hinge = (2 * (nearest - furthest) + self.margin).clamp(min=0)
        return (counts * hinge).sum(), counts.sum()

    def _counted(self, cosine: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weight of all triplets that count in which each pair is the positive, and the negative, (A, N).

        The triplets are never listed: each cosine counts as often as it is in one of them, and sorting tells how
        often. So A N numbers in memory and A N log N steps do for all A N^2 triplets.

        Args:
            cosine: As they are now.
            positive: The weights of positives, 0 elsewhere.
            negative: The weights of negatives, 0 elsewhere.
        """
        # a triplet counts where cosine_n > cosine_p - margin / 2, and semi-hard where cosine_n < cosine_p too
        half, semi_hard = self.margin / 2, self.mining == "semi-hard"
        negatives, order = cosine.masked_fill(negative == 0, -math.inf).sort(dim=1)
        up_to = _sums(negative.gather(1, order))
        highest = up_to.gather(1, torch.searchsorted(negatives, cosine)) if semi_hard else up_to[:, -1:]
        as_positive = highest - up_to.gather(1, torch.searchsorted(negatives, cosine - half, right=True))
        positives, order = cosine.masked_fill(positive == 0, math.inf).sort(dim=1)
        up_to = _sums(positive.gather(1, order))
        as_negative = up_to.gather(1, torch.searchsorted(positives - half, cosine))
        if semi_hard:
            as_negative = as_negative - up_to.gather(1, torch.searchsorted(positives, cosine, right=True))
        return as_positive * positive, as_negative * negative


def _sums(values: Tensor) -> Tensor:
    """Return the sums of the first 0, 1, ... N values of each row, (A, N + 1); exact for ones up to 2^24."""
    return torch.nn.functional.pad(values.cumsum(dim=1), (1, 0))
