"""A map from the space of a new version into that of an old one, on disk as safetensors and JSON."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from finetuner.compatibility.stamped import Embeddings, Stamped, normalised
from finetuner.errors import DamagedVersionError, OptionError

Kind = Literal["rotation", "affine", "residual"]
"""What a map is: a rotation; a rotation and a low-rank correction; or these and a small network."""

KINDS: tuple[Kind, ...] = get_args(Kind)
"""All kinds, the simplest first."""

ABOUT = "map.json"
WEIGHTS = "map.safetensors"


class Layers(NamedTuple):
    """A network with one hidden layer of H numbers, which adds relu(x inner + bias) outer to what is linear in x.

    Attributes:
        inner: float32 (D1, H).
        bias: float32 (H,).
        outer: float32 (H, D0).
    """

    inner: Embeddings
    bias: Embeddings
    outer: Embeddings


@dataclass(frozen=True)
class Map:
    """Maps embeddings of one version so that they find their neighbours among documents of another.

    Attributes:
        kind: What it is made of.
        source: The version whose embeddings it takes, D1 numbers each.
        target: The version whose documents are asked with what it makes, D0 numbers each.
        linear: What is linear in it, float32 (D1, D0).
        layers: The network beside that, if it has one.
        shift: By how much the ten nearest documents are closer by cosine in the space of ``source`` than mapped queries
            find them in that of ``target``, on average. Where an index holds documents of both versions, it is added
            to cosines in the old space before the two are ranked together.
    """

    kind: Kind
    source: str
    target: str
    linear: Embeddings
    layers: Layers | None = None
    shift: float = 0.0

    def apply(self, new: Stamped) -> Stamped:
        """Return what to ask documents of the target version with instead of embeddings of the source version.

        Args:
            new: N embeddings of the source version.

        Returns:
            N embeddings, L2-normalised, stamped with the target version: they may be compared with its documents.

        Raises:
            OtherVersionError: If they are of another version.
            OptionError: If they have another dimension.
        """
        vectors = new.of(self.source, where=f"map from {self.source!r} to {self.target!r}")
        if new.dim != len(self.linear):
            raise OptionError(
                f"map from {self.source!r} to {self.target!r}: embeddings have {new.dim} numbers, "
                f"and it takes {len(self.linear)}"
            )
        return Stamped(self.target, normalised(mapped(vectors, self.linear, self.layers)))

    def save(self, folder: Path) -> None:
        """Write the map into a folder, which is made if it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        layers = {} if self.layers is None else self.layers._asdict()
        weights = {"linear": self.linear, **layers}
        save_file({name: np.ascontiguousarray(one) for name, one in weights.items()}, str(folder / WEIGHTS))
        told = {"kind": self.kind, "source": self.source, "target": self.target, "shift": self.shift}
        (folder / ABOUT).write_text(json.dumps(told, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Map":
        """Return the map that :meth:`save` wrote into a folder.

        Raises:
            DamagedVersionError: If it cannot be read, or its files do not fit each other.
        """
        try:
            told = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            weights = load_file(str(folder / WEIGHTS))
            linear = weights.pop("linear")
            layers = Layers(**weights) if weights else None
            made = cls(
                told["kind"], str(told["source"]), str(told["target"]), linear, layers, float(told["shift"])
            )
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise DamagedVersionError(f"{folder}: not a map between two versions: {error}") from error
        if not made._is_sound():
            raise DamagedVersionError(
                f"{folder}: not a map between two versions: kind, shapes or numbers do not fit each other"
            )
        return made

    def _is_sound(self) -> bool:
        weights = [self.linear, *(self.layers or ())]
        if self.kind not in KINDS or (self.kind == "residual") != (self.layers is not None):
            return False
        if any(one.dtype != np.float32 or not np.isfinite(one).all() for one in weights):
            return False
        if self.linear.ndim != 2 or self.layers is None:
            return self.linear.ndim == 2
        (taken, given), hidden = self.linear.shape, self.layers.bias.size
        return [one.shape for one in self.layers] == [(taken, hidden), (hidden,), (hidden, given)]


def mapped(vectors: Embeddings, linear: Embeddings, layers: Layers | None) -> Embeddings:
    """Return what a map makes of vectors before they are normalised, float32 (N, D0)."""
    made: Embeddings = vectors @ linear
    if layers is not None:
        inside = vectors @ layers.inner
        inside += layers.bias
        np.maximum(inside, 0, out=inside)
        made += inside @ layers.outer
    return made
