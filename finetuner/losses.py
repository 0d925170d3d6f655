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

    def __call__(
        self, cosine: Tensor, positive: Tensor, negative: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss of a batch.

        Args:
            cosine: Cosine of each anchor with each content, float (A, N); gradients flow into it.
            positive: True where the content is a positive of the anchor, bool (A, N).
            negative: True where it is a negative, bool (A, N). Both False: unjudged, ignored.
            weight: How much each pair counts, above 0, float (A, N); None if each counts 1.

        Returns:
            A scalar; 0 with a gradient of zeros if no anchor can teach anything.
        """
        ...


@dataclass(frozen=True)
class InfoNCE:
    """Each positive must win a softmax against all judged contents of its anchor.

    With s = cosine / temperature, P the positives and J the positives and negatives of an anchor:

        loss(anchor) = -1/|P| * sum over p in P of log( exp(s_p) / sum over j in J of exp(s_j) )

    averaged over the anchors that have a positive and a negative. With weights w, exp(s_n) of a negative counts w_n
    times, a positive's logarithm w_p times, and an anchor as much as its positives do on average. InfoNCE: van den Oord et al. 2018, arXiv
    1807.03748. The form for several positives is L_out in eq. 2 of Khosla et al. 2020, arXiv 2004.11362.

    Attributes:
        temperature: Divides the cosines, no unit, above 0, usually 0.02 to 0.5; the smaller, the more the
            hardest negatives count. The default comes from trials on match data of Fashion-MNIST.
    """

    temperature: float = 0.2

    def __post_init__(self) -> None:
        _check_above_zero("loss 'infonce'", "temperature", self.temperature)

    def __call__(
        self, cosine: Tensor, positive: Tensor, negative: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss of a batch, see :class:`Loss`."""
        weight = torch.ones_like(cosine) if weight is None else weight
        teaches = positive.any(dim=1) & negative.any(dim=1)
        positive, negative, weight = positive[teaches], negative[teaches], weight[teaches]
        logits = cosine[teaches] / self.temperature  # (T, N)
        counted = logits + weight.log().masked_fill(~negative, 0)
        log_total = counted.masked_fill(~(positive | negative), -math.inf).logsumexp(dim=1)
        share = weight.masked_fill(~positive, 0)
        mean_positive = (share * logits.masked_fill(~positive, 0)).sum(dim=1) / share.sum(dim=1)
        importance = share.sum(dim=1) / positive.sum(dim=1)
        return (importance * (log_total - mean_positive)).sum() / _or_one(importance.sum())


@dataclass(frozen=True)
class CosineRegression:
    """The cosine itself must become the judgement: 1 for a positive, -1 for a negative.

        loss = weighted mean over the judged pairs of (cosine - target)^2

    An anchor teaches even if it has only positives or only negatives. But negatives shall become opposites,
    which few contents can be at once: give it explicit judgements rather than in-batch negatives.
    """

    def __call__(
        self, cosine: Tensor, positive: Tensor, negative: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss of a batch, see :class:`Loss`."""
        judged = positive | negative
        weights = (torch.ones_like(cosine) if weight is None else weight)[judged]
        target = positive.to(cosine.dtype) - negative.to(cosine.dtype)
        error = (cosine - target)[judged]
        return (weights * error.square()).sum() / _or_one(weights.sum())


@dataclass(frozen=True)
class Triplet:
    """A positive must be closer than each negative of the same anchor, by a margin.

    With d = 2 - 2 cosine, the squared Euclidean distance of unit vectors, for all positives p and negatives n
    of an anchor as in FaceNet (section 3.1 of Schroff et al. 2015, arXiv 1503.03832):

        loss(anchor, p, n) = max(0, d_p - d_n + margin)

    averaged over the triplets whose loss is not zero, so that the many solved ones do not drown the rest
    (Hermans et al. 2017, "batch all, not zero"; arXiv 1703.07737). A triplet weighs w_p w_n.

    Attributes:
        margin: In units of squared distance, above 0; squared distances end at 4. The default is FaceNet's.
    """

    margin: float = 0.2

    def __post_init__(self) -> None:
        _check_above_zero("loss 'triplet'", "margin", self.margin)

    def __call__(
        self, cosine: Tensor, positive: Tensor, negative: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss of a batch, see :class:`Loss`.

        The triplets are never listed: each cosine counts as often as it is in a triplet that is not zero, and
        sorting tells how often. So A N numbers in memory and A N log N steps do for all A N^2 triplets.
        """
        wide = torch.promote_types(cosine.dtype, torch.float32)
        weights = torch.ones_like(cosine, dtype=wide) if weight is None else weight.to(wide)
        values = cosine.detach().contiguous()
        as_positive, as_negative = self._active(values, weights * positive, weights * negative)
        triplets = as_positive.sum()
        # divided before the sum, since a sum over millions of triplets loses digits
        balance = (as_negative - as_positive) / _or_one(triplets)
        return 2 * (balance * cosine).sum() + self.margin * (triplets > 0).to(wide)

    def _active(self, cosine: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weight of all active triplets in which each pair is the positive, and the negative, (A, N).

        Args:
            cosine: As they are now.
            positive: The weights of positives, 0 elsewhere.
            negative: The weights of negatives, 0 elsewhere.
        """
        bound = cosine - self.margin / 2  # (a, p, n) is active where cosine_n > bound_p
        negatives, order = cosine.masked_fill(negative == 0, -math.inf).sort(dim=1)
        up_to = _sums(negative.gather(1, order))
        above = up_to[:, -1:] - up_to.gather(1, torch.searchsorted(negatives, bound, right=True))
        bounds, order = bound.masked_fill(positive == 0, math.inf).sort(dim=1)
        below = _sums(positive.gather(1, order)).gather(1, torch.searchsorted(bounds, cosine))
        return above * positive, below * negative


LOSSES: dict[str, Callable[..., Loss]] = {"infonce": InfoNCE, "cosine": CosineRegression, "triplet": Triplet}
"""The losses by the name that options use; each takes its fields as keyword arguments."""


def _sums(values: Tensor) -> Tensor:
    """Return the sums of the first 0, 1, ... N values of each row, (A, N + 1); exact for ones up to 2^24."""
    return torch.nn.functional.pad(values.cumsum(dim=1), (1, 0))


def _or_one(total: Tensor) -> Tensor:
    """Return a divisor: the total, or 1 where nothing is divided by it."""
    return torch.where(total > 0, total, 1)


def _check_above_zero(where: str, name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise OptionError(f"{where}: {name} is {value!r}; give a finite number above 0")
