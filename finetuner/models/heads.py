"""Heads: what stands between the module of an encoder and its embeddings, small enough to train in seconds."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from finetuner.errors import EncoderError

Side = Literal["query", "document"]
"""What a content is embedded as: what is asked with, or what is found."""

ABOUT = "heads.json"
WEIGHTS = "heads.safetensors"


@dataclass(frozen=True)
class HeadSpec:
    """How a head is built.

    Attributes:
        kind: ``adapter`` or ``projection``.
        width: Numbers that come in.
        dim: Numbers that go out; of an adapter as many as come in.
        hidden: Of a projection, width of a layer in between; 0 for none.
        queries_only: Whether documents pass it untouched, so that an index stays valid; for an adapter only.
    """

    kind: Literal["adapter", "projection"]
    width: int
    dim: int
    hidden: int = 0
    queries_only: bool = False


class Adapter(nn.Module):
    """Adds a linear map of the vector to the vector: x + A x + |x| b, with A and b zero at first.

    So training starts exactly at the encoder that is adapted, and the length of x does not matter. With b scaled by
    the length the map turns and shifts directions alike at all lengths. A residual adapter as in Houlsby et al. 2019
    (arXiv 1902.00751), but one linear map behind the encoder instead of bottlenecks within it.

    Args:
        width: Numbers of a vector.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the adapted vectors, float32 (B, D)."""
        turned = nn.functional.linear(vectors, self.linear.weight)
        adapted: Tensor = vectors + turned + vectors.norm(dim=1, keepdim=True) * self.linear.bias
        return adapted


def _projection(spec: HeadSpec) -> nn.Module:
    """Return linear layers whose rows or columns are orthonormal at first, so that distances nearly stay."""
    if not spec.hidden:
        return _orthogonal(spec.width, spec.dim)
    return nn.Sequential(_orthogonal(spec.width, spec.hidden), nn.ReLU(), _orthogonal(spec.hidden, spec.dim))


def _orthogonal(width: int, dim: int) -> nn.Linear:
    layer = nn.Linear(width, dim)
    nn.init.orthogonal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Heads(nn.Module):
    """The heads of an encoder, one after the other; none at first."""

    def __init__(self) -> None:
        super().__init__()
        self.specs: list[HeadSpec] = []
        self.layers = nn.ModuleList()

    def append(self, spec: HeadSpec) -> None:
        """Add a new head behind those that are there; new weights come from torch's random numbers."""
        self.layers.append(Adapter(spec.width) if spec.kind == "adapter" else _projection(spec))
        self.specs.append(spec)

    @property
    def tell_sides_apart(self) -> bool:
        """Whether a query and a document with the same content have different embeddings."""
        return any(spec.queries_only for spec in self.specs)

    def forward(self, vectors: Tensor, side: Side) -> Tensor:
        """Return what the heads make of the module's output, float32 (B, D)."""
        for spec, layer in zip(self.specs, self.layers, strict=True):
            if side == "query" or not spec.queries_only:
                vectors = layer(vectors)
        return vectors

    def save(self, folder: Path) -> None:
        """Write the heads into a folder; without any, nothing."""
        if self.specs:
            save_model(self, str(folder / WEIGHTS))
            told = [asdict(spec) for spec in self.specs]
            (folder / ABOUT).write_text(json.dumps(told, indent=1), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Add the heads that :meth:`save` wrote into a folder, if any.

        Raises:
            EncoderError: If they cannot be read.
        """
        if not (folder / ABOUT).is_file():
            return
        try:
            for told in json.loads((folder / ABOUT).read_text(encoding="utf-8")):
                self.append(HeadSpec(**told))
            load_model(self, str(folder / WEIGHTS))
        except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
            raise EncoderError(f"{folder / ABOUT}: not the heads of an encoder: {error}") from error
