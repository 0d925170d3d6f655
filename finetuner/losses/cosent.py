"""CoSENT: cosines must be in the order of the scores, over all scored pairs of a batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from finetuner.losses.loss import check_above_zero
from finetuner.losses.relations import Relations


@dataclass(frozen=True)
class CoSENT:
    """Of two scored pairs the one with the higher score must have the higher cosine.

    With the scored (anchor, content) pairs i of a batch, whichever their anchors:

        loss = log( 1 + sum over i, j with score_i > score_j of exp( scale * (cosine_j - cosine_i) ) )

    Su 2022, "CoSENT (1): a better scheme for sentence vectors than Sentence-BERT" (kexue.fm/archives/8847), the last
    formula. Only the order of scores counts, so they may have any unit. With weights w a summand counts w_i w_j times.
    Pairs without a score are ignored, also if they are known to be positive or negative.

    Attributes:
        scale: Multiplies the cosines, no unit, above 0; the larger, the more the worst pairs count. The default is
            that of the paper.
    """

    scale: float = 20.0

    def __post_init__(self) -> None:
        check_above_zero("loss 'cosent'", "scale", self.scale)

    def __call__(self, cosine: Tensor, relations: Relations) -> Tensor:
        """Return the loss of a batch, see :class:`finetuner.losses.Loss`.

        Sorted by score, the sum over j is a running sum, up to where the score of i begins. So J scored pairs take
        J log J steps, and not J^2.
        """
        if relations.score is None or not cosine.numel():
            return 0 * cosine.sum()
        scored = ~relations.score.isnan()
        score, order = relations.score[scored].sort()
        logits = self.scale * cosine[scored][order]  # (J,)
        log_weight = 0 if relations.weight is None else relations.weight[scored][order].log()
        lower = torch.searchsorted(score, score)  # how many scores are lower than this one
        first = int((lower == 0).sum())  # those with the lowest score are the higher one of no two
        if first == len(score):
            return 0 * cosine.sum()
        running = (logits + log_weight).logcumsumexp(dim=0)
        log_terms = running[lower[first:] - 1] + (log_weight - logits)[first:]
        return torch.logaddexp(log_terms.logsumexp(dim=0), logits.new_zeros(()))

    def teaches(self, relations: Relations) -> Tensor:
        """Return which anchors have a score, if scores differ, bool (A,)."""
        if relations.score is None:
            return relations.positive.new_zeros(len(relations.positive))
        scored = ~relations.score.isnan()
        given = relations.score[scored]
        return scored.any(dim=1) & bool((given != given[:1]).any())

    @property
    def uses_scores(self) -> bool:
        """Whether it makes use of ``Relations.score``."""
        return True

    @property
    def learns_values(self) -> bool:
        """Whether it is told what a cosine shall be."""
        return True
