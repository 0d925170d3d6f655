"""Losses by the names that options use."""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

from finetuner.errors import OptionError
from finetuner.losses.contrastive import Contrastive
from finetuner.losses.cosent import CoSENT
from finetuner.losses.cosine import CosineRegression
from finetuner.losses.infonce import InfoNCE
from finetuner.losses.loss import Loss
from finetuner.losses.margin_mse import MarginMSE
from finetuner.losses.metric_learning import MetricLearning
from finetuner.losses.metric_learning_options import PREFIX
from finetuner.losses.objective import CosineObjective, Matryoshka, Objective
from finetuner.losses.triplet import Triplet

LOSSES: dict[str, Callable[..., Loss]] = {
    "infonce": InfoNCE,
    "cosine": CosineRegression,
    "contrastive": Contrastive,
    "triplet": Triplet,
    "cosent": CoSENT,
    "margin_mse": MarginMSE,
}
"""Our own losses by name; each takes its fields as keyword arguments."""


def make_objective(
    name: str,
    options: Mapping[str, Any],
    *,
    matryoshka: Sequence[int] | None = None,
    dim: int,
    groups: int | None = None,
) -> Objective:
    """Return what training makes smaller.

    Proxies of classes begin at random, with torch's generator.

    Args:
        name: A name of :data:`LOSSES`, or ``pml:`` and a class of pytorch-metric-learning.
        options: The loss's own parameters.
        matryoshka: Dimensions for which the first numbers of an embedding shall do as well, each from 1 to ``dim``;
            all numbers together count in any case. None for these alone.
        dim: The dimension of the embeddings.
        groups: How many classes the data has, for losses that need them; None if none.

    Raises:
        OptionError: If the loss, one of its options or a dimension is not one that there is.
    """
    if matryoshka is None:
        return _objective(name, options, dim, groups)
    dims = sorted(_checked(matryoshka, dim) | {dim})
    return Matryoshka(lambda one: _objective(name, options, one, groups), dims)


def _objective(name: str, options: Mapping[str, Any], dim: int, groups: int | None) -> Objective:
    if name.startswith(PREFIX):
        return MetricLearning(name.removeprefix(PREFIX), options, dim=dim, groups=groups)
    if name not in LOSSES:
        listed = ", ".join(LOSSES)
        raise OptionError(
            f"there is no loss {name!r}; accepted are {listed}, and {PREFIX!r} with a class of pytorch-metric-learning"
        )
    loss = LOSSES[name]
    if unknown := sorted(set(options) - set(signature(loss).parameters)):
        listed = ", ".join(signature(loss).parameters) or "none"
        raise OptionError(
            f"loss {name!r}: unknown option {', '.join(map(repr, unknown))}; accepted are {listed}"
        )
    return CosineObjective(loss(**options))


def _checked(matryoshka: Sequence[int], dim: int) -> set[int]:
    for one in matryoshka:
        if isinstance(one, bool) or not isinstance(one, int) or not 1 <= one <= dim:
            raise OptionError(f"matryoshka: {one!r} is no dimension; give whole numbers from 1 to {dim}")
    return set(matryoshka)
