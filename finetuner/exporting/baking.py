"""Heads as plain layers: what other programs know are matrices, ReLU and division by the length, and no adapters."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from finetuner.errors import EncoderError
from finetuner.models import Heads, HeadSpec
from finetuner.models.heads import Adapter


class Dense(NamedTuple):
    """Maps x to W x + b, then perhaps through ReLU.

    Attributes:
        weight: W, float32 (out, in).
        bias: b, float32 (out,).
        relu: Whether ReLU follows.
    """

    weight: Tensor
    bias: Tensor
    relu: bool = False


class Normalize(NamedTuple):
    """Divides a vector by its length."""


Layer = Dense | Normalize


class Baked(NamedTuple):
    """Heads as layers, up to and with the division by the length.

    Attributes:
        both: What queries and documents go through.
        query: What queries go through then; empty if sides do not differ.
        document: What documents go through then; empty if sides do not differ.
    """

    both: list[Layer]
    query: list[Layer]
    document: list[Layer]


Head = tuple[HeadSpec, nn.Module]


def bake(heads: Heads, *, of_length_1: bool) -> Baked:
    """Return the layers that make of a module's output what heads and the division by the length make of it.

    Args:
        heads: The heads.
        of_length_1: Whether what the module makes is of length 1 already.

    Raises:
        EncoderError: If an adapter looks at the length of a vector on which a head behind it depends.
    """
    every = list(zip(heads.specs, heads.layers, strict=True))
    first = next((at for at, (spec, _) in enumerate(every) if spec.queries_only), len(every))
    shared, rest = every[:first], every[first:]
    both = list(_baked(shared, rest, of_length_1))
    if not rest:
        return Baked(both if of_length_1 and not shared else [*both, Normalize()], [], [])
    of_length_1 = of_length_1 and not shared
    documents = [(spec, layer) for spec, layer in rest if not spec.queries_only]
    query, document = (list(_baked(some, [], of_length_1)) for some in (rest, documents))
    return Baked(both, [*query, Normalize()], [*document, Normalize()])


def _baked(heads: Sequence[Head], behind: Sequence[Head], of_length_1: bool) -> Iterator[Layer]:
    for at, (_, layer) in enumerate(heads):
        if isinstance(layer, Adapter):
            if not of_length_1 and layer.linear.bias.any():
                if not all(_scales(later) for _, later in [*heads[at + 1 :], *behind]):
                    raise EncoderError(
                        "heads: an adapter behind a module or head whose vectors are not of length 1, with a "
                        "projection behind it, is no layer that others know; export as onnx"
                    )
                yield Normalize()
            weight = (
                torch.eye(len(layer.linear.weight), device=layer.linear.weight.device) + layer.linear.weight
            )
            yield Dense(weight.detach(), layer.linear.bias.detach())
        else:
            *inner, outer = (one for one in layer.modules() if isinstance(one, nn.Linear))
            for one in inner:
                yield Dense(one.weight.detach(), one.bias.detach(), relu=True)
            yield Dense(outer.weight.detach(), outer.bias.detach())
        of_length_1 = False


def _scales(head: nn.Module) -> bool:
    """Return whether a head makes of ten times a vector ten times the result."""
    biases = [one.bias for one in head.modules() if isinstance(one, nn.Linear)]
    return isinstance(head, Adapter) or not any(bool(bias.any()) for bias in biases)
