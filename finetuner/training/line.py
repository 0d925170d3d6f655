"""The line from the weights that a training starts with to those that it ends with."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from finetuner.models import Encoder

Score = Callable[[Encoder], float]
"""Tells how good an encoder is; more is better."""


class Line:
    """Weights between a start and an end, as in Wortsman et al. 2022 (arXiv 2109.01903), section 4.

        weights = (1 - share) * start + share * end

    A point on it may rank better than both ends: it keeps what the start knew, and has some of what was learnt. We choose
    the share on validation anchors, where they report results for all. Whole numbers, such as a count of batches, are those
    of the end. Of an adapter that is new the start is zero, which is the encoder without it.

    Args:
        encoder: The encoder before training.
        all_weights: Whether training may change the module; if not, only heads are remembered.
    """

    def __init__(self, encoder: Encoder, *, all_weights: bool) -> None:
        self._all_weights = all_weights
        self._start = {name: value.detach().clone() for name, value in self._weights(encoder).items()}
        self._heads = len(encoder.heads.specs)

    def walk(self, encoder: Encoder, shares: Sequence[float], score: Score) -> dict[float, float]:
        """Leave the encoder at the best of some shares, or at its start or end; of equal ones, at the largest.

        Args:
            encoder: The encoder after training.
            shares: Shares between 0 and 1 that are tried besides both.
            score: Tells how good the encoder is as it stands.

        Returns:
            The score of each share, ascending by share; of 1 alone where there is no line: a projection that was not there
            before has no start.
        """
        if any(spec.kind == "projection" for spec in encoder.heads.specs[self._heads :]):
            return {1.0: score(encoder)}
        end = {name: value.detach().clone() for name, value in self._weights(encoder).items()}
        scores = {}
        for share in (0.0, *sorted(shares), 1.0):
            self._go(encoder, end, share)
            scores[share] = score(encoder)
        self._go(encoder, end, chosen(scores))
        return scores

    def _weights(self, encoder: Encoder) -> dict[str, Tensor]:
        return dict((encoder if self._all_weights else encoder.heads).state_dict())

    @torch.no_grad()
    def _go(self, encoder: Encoder, end: dict[str, Tensor], share: float) -> None:
        for name, place in self._weights(encoder).items():
            start = self._start.get(name)
            if share == 1 or not place.is_floating_point():
                place.copy_(end[name])
            elif share == 0 and start is not None:
                place.copy_(start)
            else:
                place.copy_((torch.zeros_like(place) if start is None else start).lerp(end[name], share))


def chosen(scores: dict[float, float]) -> float:
    """Return the share with the best score; of equal ones the largest."""
    return max(scores, key=lambda share: (scores[share], share))
