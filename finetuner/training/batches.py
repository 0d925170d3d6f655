"""Batches of the sampler as the loop takes them: in tensors, and several to a step."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from finetuner.losses import Relations
from finetuner.samplers import Batch


def as_relations(batch: Batch, device: torch.device) -> Relations:
    """Return what is known of a batch as tensors."""

    def tensor(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(device)

    def perhaps(values: NDArray[Any] | None) -> Tensor | None:
        return None if values is None else tensor(values)

    return Relations(
        tensor(batch.positive),
        tensor(batch.negative),
        perhaps(batch.weight),
        perhaps(batch.score),
        perhaps(batch.groups),
        tensor(batch.anchors),
    )


def in_groups(batches: Iterable[Batch], count: int) -> Iterator[list[Batch]]:
    """Yield the batches in lists of ``count``; the last one may be shorter."""
    rest = iter(batches)
    while group := list(islice(rest, count)):
        yield group
