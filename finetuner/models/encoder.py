"""The encoder: any module that maps a batch of contents to vectors, with L2-normalised output."""

import functools
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn import functional

from finetuner.contents import Contents
from finetuner.documents import ContentKind
from finetuner.errors import EncoderError
from finetuner.models.builtin import BUILTIN
from finetuner.models.transformer import FOLDER_MARK, TransformerModule

Embeddings = NDArray[np.float32]
Features = Tensor | dict[str, Tensor]
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class EncoderSpec:
    """How an encoder is built; it never comes from a request.

    Attributes:
        name: ``mlp``, ``cnn`` or ``bilstm``; the path of a sentence-transformers folder; or any
            ``package.module:factory`` that returns a ``torch.nn.Module``.
        options: Keyword arguments of the factory; of a folder, ``max_seq_length``.
    """

    name: str = "mlp"
    options: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the spec as it comes back from JSON: tuples are lists."""
        spec: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return spec


class Encoder(nn.Module):
    """Maps contents to embeddings, float32 (N, D), each of length 1.

    A module with a method ``tokenize(texts)`` takes texts and is called with what that returns. Every other one
    takes arrays and is called with a tensor (B, ...), float32 or int64.
    """

    def __init__(self, module: nn.Module, spec: EncoderSpec) -> None:
        super().__init__()
        self.module = module
        self.spec = spec

    @property
    def kind(self) -> ContentKind:
        """Which content it takes: ``text`` or ``blob``."""
        return "text" if hasattr(self.module, "tokenize") else "blob"

    @property
    def takes_floats(self) -> bool:
        """Whether it takes arrays of numbers, float32; else of token ids, int64, which it looks up."""
        looks_up = any(isinstance(one, nn.Embedding | nn.EmbeddingBag) for one in self.module.modules())
        return self.kind == "blob" and not looks_up

    @property
    def learning_rate(self) -> float:
        """The step size that suits it: the module's own ``learning_rate``, or 3e-3 for a small new network."""
        return float(getattr(self.module, "learning_rate", 3e-3))

    def prepare(self, contents: Contents) -> Features:
        """Return contents as the module's input.

        Raises:
            EncoderError: If they are texts and it takes arrays, or the other way round.
        """
        given = "blob" if isinstance(contents, np.ndarray) else "text"
        if given != self.kind:
            raise EncoderError(f"encoder {self.spec.name!r} takes .{self.kind} contents, not .{given}")
        if isinstance(contents, np.ndarray):
            return torch.from_numpy(np.array(contents, np.float32 if self.takes_floats else None))
        tokenize = cast(Callable[[list[str]], dict[str, Tensor]], self.module.tokenize)
        return tokenize(contents)

    def forward(self, features: Features) -> Tensor:
        """Return embeddings, float32 (B, D), each of length 1.

        Raises:
            EncoderError: If the module does not take such input.
        """
        try:
            made = self.module(features)
        except (RuntimeError, ValueError, IndexError) as error:
            given = _in_words(features)
            raise EncoderError(f"encoder {self.spec.name!r} does not take {given}: {error}") from error
        if not isinstance(made, Tensor) or made.dim() != 2 or not made.is_floating_point():
            found = f"{made.dtype} {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
            raise EncoderError(
                f"encoder {self.spec.name!r} made {found}; float32 (batch, dimension) is needed"
            )
        return functional.normalize(made, dim=-1)

    def embed(self, contents: Contents, *, batch_size: int = 256) -> Embeddings:
        """Return the embeddings of N contents, float32 (N, D), in evaluation mode and without a graph.

        Raises:
            EncoderError: If there is no content, or the module does not take such contents.
        """
        if not len(contents):
            raise EncoderError(f"encoder {self.spec.name!r} was given no content; at least one is needed")
        self.eval()
        parts = [
            self.embed_batch(contents[at : at + batch_size]) for at in range(0, len(contents), batch_size)
        ]
        return np.concatenate(parts)

    def embed_batch(self, contents: Contents) -> Embeddings:
        """Return the embeddings of one batch, float32 (B, D); the encoder has to be in evaluation mode.

        Raises:
            EncoderError: If the module does not take such contents.
        """
        with torch.inference_mode():
            embeddings = self(self.prepare(contents)).numpy()
        if embeddings.ndim != 2 or embeddings.dtype != np.float32 or not np.isfinite(embeddings).all():
            raise EncoderError(
                f"encoder {self.spec.name!r} made {embeddings.dtype} {embeddings.shape} or a number that is not "
                "finite; float32 (batch, dimension) is needed"
            )
        return cast(Embeddings, embeddings)

    def save(self, folder: Path) -> None:
        """Write the weights into a folder as safetensors; a transformer becomes a whole folder of its own."""
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(self.module, TransformerModule):
            self.module.save_folder(folder)
        else:
            save_model(self.module, str(folder / WEIGHTS))


def _in_words(features: Features) -> str:
    if not isinstance(features, Tensor):
        return "these texts"
    return f"{features.dtype} {tuple(features.shape[1:])}"


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
    return Encoder(module, spec)


def load_encoder(spec: EncoderSpec, folder: Path) -> Encoder:
    """Return the encoder of a spec with the weights that :meth:`Encoder.save` wrote into a folder.

    Raises:
        EncoderError: If the weights are missing or do not fit.
    """
    if (folder / FOLDER_MARK).is_file():
        return Encoder(TransformerModule(folder), spec)
    encoder = build_encoder(spec)
    try:
        load_model(encoder.module, str(folder / WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise EncoderError(
            f"{folder / WEIGHTS}: not the weights of encoder {spec.name!r}: {error}"
        ) from error
    return encoder


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
