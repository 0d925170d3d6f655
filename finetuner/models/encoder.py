"""The encoder: any module that maps a batch of contents to vectors, with L2-normalised output."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_model
from torch import Tensor, nn
from torch.nn import functional

from finetuner.contents import Contents
from finetuner.documents import ContentKind
from finetuner.errors import EncoderError
from finetuner.models.heads import Heads, Side
from finetuner.models.transformer import TransformerModule

Embeddings = NDArray[np.float32]
Features = Tensor | dict[str, Tensor]
WEIGHTS = "model.safetensors"
WITHIN = "module"
"""The folder of a transformer that has heads, in that of its encoder."""


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
    takes arrays and is called with a tensor (B, ...), float32 or int64. What it makes goes through the heads, if
    there are any.
    """

    def __init__(self, module: nn.Module, spec: EncoderSpec) -> None:
        super().__init__()
        self.module = module
        self.heads = Heads()
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
        """The step size that suits all of its weights: the module's own ``learning_rate``, or 3e-3 for a small new one."""
        return float(getattr(self.module, "learning_rate", 3e-3))

    @property
    def is_pretrained(self) -> bool:
        """Whether its base has learnt from other data before: the module's own ``is_pretrained``, or not."""
        return bool(getattr(self.module, "is_pretrained", False))

    def fingerprint(self) -> str:
        """Return a hash of all that decides what its module makes of a content, but for the code of the module.

        These are the weights, the module as it prints itself, the options it was built with, and of a transformer
        what it does to texts.
        """
        digest = hashlib.sha256()
        about = [repr(self.module), self.spec.as_dict()["options"], getattr(self.module, "preprocessing", "")]
        digest.update(json.dumps(about).encode())
        for name, value in sorted(self.module.state_dict().items()):
            values = value.detach().cpu().contiguous()
            digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
            digest.update(values.reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def prepare(self, contents: Contents) -> Features:
        """Return contents as the module's input, on its device.

        Raises:
            EncoderError: If they are texts and it takes arrays, or the other way round.
        """
        given = "blob" if isinstance(contents, np.ndarray) else "text"
        if given != self.kind:
            raise EncoderError(f"encoder {self.spec.name!r} takes .{self.kind} contents, not .{given}")
        if isinstance(contents, np.ndarray):
            made: Features = torch.from_numpy(np.array(contents, np.float32 if self.takes_floats else None))
        else:
            made = cast(Callable[[list[str]], Features], self.module.tokenize)(contents)
        if isinstance(made, Tensor):
            return made.to(self.device)
        return {name: value.to(self.device) for name, value in made.items()}

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next((parameter.device for parameter in self.module.parameters()), torch.device("cpu"))

    def forward(self, features: Features, side: Side = "document") -> Tensor:
        """Return embeddings, float32 (B, D), each of length 1.

        Args:
            features: What :meth:`prepare` returned.
            side: What the contents are embedded as.

        Raises:
            EncoderError: If the module does not take such input.
        """
        return self.finish(self.vectors(features), side)

    def vectors(self, features: Features) -> Tensor:
        """Return what the module makes of its input, before heads and normalisation, float (B, D).

        Raises:
            EncoderError: If the module does not take such input.
        """
        try:
            made = self.module(features)
        except (RuntimeError, ValueError, IndexError) as error:
            if is_out_of_memory(error):
                raise
            given = _in_words(features)
            raise EncoderError(f"encoder {self.spec.name!r} does not take {given}: {error}") from error
        if not isinstance(made, Tensor) or made.dim() != 2 or not made.is_floating_point():
            found = f"{made.dtype} {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
            raise EncoderError(
                f"encoder {self.spec.name!r} made {found}; float32 (batch, dimension) is needed"
            )
        return made

    def finish(self, vectors: Tensor, side: Side) -> Tensor:
        """Return the embeddings of what the module made, float32 (B, D), each of length 1."""
        return functional.normalize(self.heads(vectors, side), dim=-1)

    def embed(self, contents: Contents, *, batch_size: int = 256, side: Side = "document") -> Embeddings:
        """Return the embeddings of N contents, float32 (N, D), in evaluation mode and without a graph.

        Args:
            contents: N texts, or an array (N, ...).
            batch_size: Contents in one forward pass at most.
            side: What the contents are embedded as; it matters only if a head is for queries alone.

        Raises:
            EncoderError: If there is no content, or the module does not take such contents.
        """
        return self.finish_all(self.embed_vectors(contents, batch_size=batch_size), side)

    def embed_vectors(self, contents: Contents, *, batch_size: int = 256) -> Embeddings:
        """Return what the module makes of N contents, float32 (N, D), as :meth:`embed` without heads.

        Texts are batched by length, so that little is spent on padding.

        Raises:
            EncoderError: If there is no content, or the module does not take such contents.
        """
        if not len(contents):
            raise EncoderError(f"encoder {self.spec.name!r} was given no content; at least one is needed")
        self.eval()
        if isinstance(contents, np.ndarray):
            starts = range(0, len(contents), batch_size)
            return np.concatenate([self._vectors(contents[at : at + batch_size]) for at in starts])
        order = sorted(range(len(contents)), key=lambda row: -len(contents[row]))
        parts = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
        made = np.concatenate([self._vectors([contents[row] for row in part]) for part in parts])
        vectors = np.empty_like(made)
        vectors[order] = made
        return vectors

    def _vectors(self, contents: Contents) -> Embeddings:
        with torch.inference_mode():
            vectors = self.vectors(self.prepare(contents)).cpu().numpy()
        if vectors.dtype != np.float32 or not np.isfinite(vectors).all():
            raise EncoderError(
                f"encoder {self.spec.name!r} made {vectors.dtype} {vectors.shape} or a number that is not "
                "finite; float32 (batch, dimension) is needed"
            )
        return cast(Embeddings, vectors)

    def finish_all(self, vectors: Embeddings, side: Side) -> Embeddings:
        """Return the embeddings of what the module made of N contents, float32 (N, D), without a graph.

        Raises:
            EncoderError: If an embedding is not finite.
        """
        parts = []
        with torch.inference_mode():
            for at in range(0, len(vectors), 8192):
                part = torch.from_numpy(np.ascontiguousarray(vectors[at : at + 8192])).to(self.device)
                parts.append(self.finish(part, side).cpu().numpy())
        embeddings = np.concatenate(parts)
        if not np.isfinite(embeddings).all():
            raise EncoderError(f"the heads of encoder {self.spec.name!r} made a number that is not finite")
        return cast(Embeddings, embeddings)

    def save(self, folder: Path) -> None:
        """Write the weights into a folder as safetensors.

        A transformer becomes a sentence-transformers folder; with heads, which such a folder cannot tell of, it is
        :data:`WITHIN` the folder, so that nobody takes it for the whole.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(self.module, TransformerModule):
            self.module.save_folder(folder / WITHIN if self.heads.specs else folder)
        else:
            save_model(self.module, str(folder / WEIGHTS))
        self.heads.save(folder)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of torch says that there was no memory left; on the CPU it has no class of its own."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _in_words(features: Features) -> str:
    if not isinstance(features, Tensor):
        return "these texts"
    return f"{features.dtype} {tuple(features.shape[1:])}"
