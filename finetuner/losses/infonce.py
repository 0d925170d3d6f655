"""InfoNCE: each positive must win a softmax against all that is judged of its anchor."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from finetuner.losses.loss import FAR, Ratio, check_above_zero, check_one_of, or_one
from finetuner.losses.relations import Relations, ones


@dataclass(frozen=True)
class InfoNCE(Ratio):
    """Each positive must win a softmax against all judged contents of its anchor.

    With s = cosine / temperature, P the positives and J the positives and negatives of an anchor:

        loss(anchor) = -1/|P| * sum over p in P of log( exp(s_p) / sum over j in J of exp(s_j) )

    averaged over the anchors that have a positive and a negative. InfoNCE: van den Oord et al. 2018, arXiv
    1807.03748, eq. 4. The form for several positives is L_out in eq. 2 of Khosla et al. 2020, arXiv 2004.11362.

    With weights w, exp(s_n) of a negative counts w_n times, a positive's logarithm w_p times, and an anchor as much
    as its positives do on average.

    Attributes:
        temperature: Divides the cosines, no unit, above 0, usually 0.02 to 0.5; the smaller, the more the
            hardest negatives count. The default comes from trials on match data of Fashion-MNIST.
        graded: Whether a positive's logarithm also counts in proportion to its score, within its anchor. A positive
            without a score counts like the mean of those with one, a score below 0 like 0; where no positive of an
            anchor has a score above 0, all count alike. How much an anchor counts does not depend on scores.
    """

    temperature: float = 0.2
    graded: bool = False

    def __post_init__(self) -> None:
        check_above_zero("loss 'infonce'", "temperature", self.temperature)
        check_one_of("loss 'infonce'", "graded", self.graded, [False, True])

    @property
    def uses_scores(self) -> bool:
        """Whether positives are graded."""
        return self.graded

    def terms(self, cosine: Tensor, relations: Relations) -> tuple[Tensor, Tensor]:
        """Return the sum of the anchors' losses and their number, both weighted, see :class:`Ratio`."""
        positive, negative = (ones(one, cosine.dtype) for one in (relations.positive, relations.negative))
        out = FAR * (positive + negative - 1)  # not infinite, since a softmax over nothing would be no number
        logits = torch.add(out, cosine, alpha=1 / self.temperature)
        counts, number = positive, positive.sum(dim=1)
        if relations.weight is not None:
            logits = logits + negative * relations.weight.log()
            counts = positive * relations.weight
        importance = relations.contrasting * counts.sum(dim=1) / or_one(number)
        if self.graded and relations.score is not None:
            counts = counts * _grades(relations.positive, relations.score.to(cosine.dtype))
        share = counts / or_one(counts.sum(dim=1, keepdim=True))  # (A, N), what the softmax shall be
        losses = cross_entropy(logits, share, reduction="none")  # (A,)
        return (importance * losses).sum(), importance.sum()


def _grades(positive: Tensor, score: Tensor) -> Tensor:
    """Return how much each positive counts for its score, (A, N), see :class:`InfoNCE`."""
    scored = positive & ~score.isnan()
    grades = torch.where(scored, score, 0).clamp(min=0)
    total = grades.sum(dim=1, keepdim=True)
    mean = total / or_one(scored.sum(dim=1, keepdim=True))
    return torch.where(total > 0, torch.where(scored, grades, mean), 1)
