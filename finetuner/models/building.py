"""How encoders come to be: from a spec, with new weights or with those of a folder."""

import functools
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import nn

from finetuner.errors import EncoderError
from finetuner.models.builtin import BUILTIN
from finetuner.models.encoder import WEIGHTS, WITHIN, Encoder, EncoderSpec
from finetuner.models.heads import Adapter, HeadSpec
from finetuner.models.transformer import FOLDER_MARK, TransformerModule


def build_encoder(spec: EncoderSpec, *, seed: int = 0) -> Encoder:
    """Return a new encoder; new weights are drawn from ``seed``.

    Raises:
        EncoderError: If there is no such factory, or it refuses its options.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        factory = _factory(spec.name)
        try:
            module = factory(**spec.options)
        except (TypeError, ValueError, RuntimeError, IndexError) as error:
            raise EncoderError(
                f"encoder {spec.name!r} refuses its options {dict(spec.options)}: {error}"
            ) from error
    if not isinstance(module, nn.Module):
        raise EncoderError(f"encoder {spec.name!r} returned a {type(module).__name__}, not a torch.nn.Module")
    encoder = Encoder(module, spec)
    if isinstance(module, TransformerModule):
        _add_query_adapters(encoder, module.query_maps)
    return encoder


def _add_query_adapters(encoder: Encoder, maps: Sequence[nn.Linear]) -> None:
    for one in maps:
        encoder.heads.append(HeadSpec("adapter", one.in_features, one.in_features, queries_only=True))
        adapter = encoder.heads.layers[-1]
        assert isinstance(adapter, Adapter)
        with torch.no_grad():
            adapter.linear.weight.copy_(one.weight - torch.eye(one.in_features))
            adapter.linear.bias.copy_(one.bias)


def load_encoder(spec: EncoderSpec, folder: Path) -> Encoder:
    """Return the encoder of a spec with the weights that :meth:`Encoder.save` wrote into a folder.

    Raises:
        EncoderError: If the weights are missing or do not fit.
    """
    transformer = transformer_folder(folder)
    if transformer is not None:
        encoder = Encoder(TransformerModule(transformer), spec)
    else:
        encoder = build_encoder(spec)
        try:
            load_model(encoder.module, str(folder / WEIGHTS))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise EncoderError(
                f"{folder / WEIGHTS}: not the weights of encoder {spec.name!r}: {error}"
            ) from error
    encoder.heads.load(folder)
    return encoder


def transformer_folder(folder: Path) -> Path | None:
    """Return the sentence-transformers folder of an encoder that was written into a folder, None if it has none."""
    for one in (folder, folder / WITHIN):
        if (one / FOLDER_MARK).is_file():
            return one
    return None


def _factory(name: str) -> Callable[..., Any]:
    if Path(name, FOLDER_MARK).is_file():
        return functools.partial(TransformerModule, Path(name))
    return BUILTIN[name] if name in BUILTIN else _import_factory(name)


def _import_factory(name: str) -> Callable[..., Any]:
    accepted = "use mlp, cnn, bilstm, the path of a sentence-transformers folder, or package.module:factory"
    module_name, colon, attribute = name.partition(":")
    if not colon:
        raise EncoderError(f"encoder {name!r} is not known; {accepted}")
    try:
        return cast(Callable[..., Any], getattr(importlib.import_module(module_name), attribute))
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise EncoderError(
            f"encoder {name!r} cannot be imported ({error}; is its folder on PYTHONPATH?); {accepted}"
        ) from error
