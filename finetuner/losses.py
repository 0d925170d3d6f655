"""Losses over the cosines of a batch.

A batch has A anchors and N contents. Which content is what to which anchor is known by id, as two masks, so a
duplicate or a known positive is never pushed away; see :class:`finetuner.samplers.Batch`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from finetuner.errors import OptionError


class Loss(Protocol):
    """What a loss is: a function of cosines and relations, to one number."""

    def __call__(self, cosine: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of a batch.

        Args:
            cosine: Cosine of each anchor with each content, float (A, N); gradients flow into it.
            positive: True where the content is a positive of the anchor, bool (A, N).
            negative: True where it is a negative, bool (A, N). Both False: unjudged, ignored.

        Returns:
            A scalar; 0 with a gradient of zeros if no anchor can teach anything.
        """
        ...


@dataclass(frozen=True)
class InfoNCE:
    """Each positive must win a softmax against all judged contents of its anchor.

    With s = cosine / temperature, P the positives and J the positives and negatives of an anchor:

        loss(anchor) = -1/|P| * sum over p in P of log( exp(s_p) / sum over j in J of exp(s_j) )

    averaged over the anchors that have a positive and a negative. InfoNCE: van den Oord et al. 2018, arXiv
    1807.03748. The form for several positives is L_out in eq. 2 of Khosla et al. 2020, arXiv 2004.11362.

    Attributes:
        temperature: Divides the cosines, no unit, above 0, usually 0.02 to 0.5; the smaller, the more the
            hardest negatives count. The default comes from trials on match data of Fashion-MNIST.
    """

    temperature: float = 0.2

    def __post_init__(self) -> None:
        _check_above_zero("loss 'infonce'", "temperature", self.temperature)

    def __call__(self, cosine: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of a batch, see :class:`Loss`."""
        teaches = positive.any(dim=1) & negative.any(dim=1)
        positive, judged = positive[teaches], (positive | negative)[teaches]
        logits = cosine[teaches] / self.temperature  # (T, N)
        log_total = logits.masked_fill(~judged, -math.inf).logsumexp(dim=1)
        mean_positive = logits.masked_fill(~positive, 0).sum(dim=1) / positive.sum(dim=1)
        return (log_total - mean_positive).sum() / max(len(logits), 1)


@dataclass(frozen=True)
class CosineRegression:
    """The cosine itself must become the judgement: 1 for a positive, -1 for a negative.

        loss = mean over the judged pairs of (cosine - target)^2

    An anchor teaches even if it has only positives or only negatives. But negatives shall become opposites,
    which few contents can be at once: give it explicit judgements rather than in-batch negatives.
    """

    def __call__(self, cosine: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of a batch, see :class:`Loss`."""
        target = positive.to(cosine.dtype) - negative.to(cosine.dtype)
        error = (cosine - target)[positive | negative]
        return error.square().sum() / max(len(error), 1)


@dataclass(frozen=True)
class Triplet:
    """A positive must be closer than each negative of the same anchor, by a margin.

    With d = 2 - 2 cosine, the squared Euclidean distance of unit vectors, for all positives p and negatives n
    of an anchor as in FaceNet (section 3.1 of Schroff et al. 2015, arXiv 1503.03832):

        loss(anchor, p, n) = max(0, d_p - d_n + margin)

    averaged over the triplets whose loss is not zero, so that the many solved ones do not drown the rest
    (Hermans et al. 2017, "batch all, not zero"; arXiv 1703.07737).

    Attributes:
        margin: In units of squared distance, above 0; squared distances end at 4. The default is FaceNet's.
    """

    margin: float = 0.2

    def __post_init__(self) -> None:
        _check_above_zero("loss 'triplet'", "margin", self.margin)

    def __call__(self, cosine: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of a batch, see :class:`Loss`.

        The triplets are never listed: each cosine counts as often as it is in a triplet that is not zero, and
        sorting tells how often. So A N numbers in memory and A N log N steps do for all A N^2 triplets.
        """
        as_positive, as_negative = self._active(cosine.detach().contiguous(), positive, negative)
        triplets = as_positive.sum()
        balance = (as_negative - as_positive).to(torch.promote_types(cosine.dtype, torch.float32))
        # divided before the sum, since a sum over millions of triplets loses digits
        return 2 * (balance / triplets.clamp(min=1) * cosine).sum() + self.margin * (triplets > 0).to(balance)

    def _active(self, cosine: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """Return in how many active triplets each pair is the positive, and the negative, int64 (A, N)."""
        bound = cosine - self.margin / 2  # (a, p, n) is active where cosine_n > bound_p
        negatives = cosine.masked_fill(~negative, -math.inf).sort(dim=1).values
        bounds = bound.masked_fill(~positive, math.inf).sort(dim=1).values
        above = cosine.shape[1] - torch.searchsorted(negatives, bound, right=True)
        below = torch.searchsorted(bounds, cosine)
        return above * positive, below * negative


LOSSES: dict[str, Callable[..., Loss]] = {"infonce": InfoNCE, "cosine": CosineRegression, "triplet": Triplet}
"""The losses by the name that options use; each takes its fields as keyword arguments."""


def _check_above_zero(where: str, name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise OptionError(f"{where}: {name} is {value!r}; give a finite number above 0")
