"""Which map: each kind is fitted to some contents and judged by others, and the simplest that is good enough wins."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finetuner.compatibility.judging import Judge
from finetuner.compatibility.linear import Matrix, corrected, rotation
from finetuner.compatibility.maps import KINDS, Kind, Layers, Map
from finetuner.compatibility.residual import train
from finetuner.compatibility.stamped import Embeddings, Stamped
from finetuner.errors import OptionError

FEWEST = 16
"""Contents below which no map is fitted."""

TOLERANCE = 0.002
"""By how much less than the best map a simpler one may keep."""

RIDGES = (0.01, 0.1, 1.0)
"""Ridges of an affine map of which the best one is taken."""

_MOST = 20_000
_HELD_OUT = 0.25
_MOST_HELD_OUT = 1_000
_START = 0.1  # ridge of the map that a network is trained beside


@dataclass(frozen=True)
class Figures:
    """How the choice went.

    Attributes:
        contents: How many the map was fitted to in the end.
        held_out: How many of these judged the kinds before.
        neighbours: How many documents each of them looked for.
        kept: For each kind how near to a held-out content those are that it finds: 1 if they are as near in the new
            space as the nearest ones, 0 if they are as near as any. Beside the kinds ``old``, where contents ask as they
            are in the old space; and, where the dimensions are equal, ``unmapped``, where they ask as in the new.
        ridge: That of ``affine`` which kept most; None if it was not tried.
    """

    contents: int
    held_out: int
    neighbours: int
    kept: dict[str, float]
    ridge: float | None


@dataclass(frozen=True)
class Fitted:
    """A map and how it was chosen."""

    map: Map
    figures: Figures


@dataclass(frozen=True)
class _Judged:
    """A kind with the ridge that suits it best: what that keeps, and its shift."""

    ridge: float
    kept: float
    shift: float


def fit_map(old: Stamped, new: Stamped, *, seed: int, kinds: Sequence[Kind] = KINDS) -> Fitted:
    """Return the simplest map that keeps as much as the best one, or at most :data:`TOLERANCE` less.

    Each kind is fitted to three quarters of the contents and judged by the others, a thousand at most. The one that is
    chosen is fitted once more to all. Of more than 20,000 contents that many are drawn. Contents that the new version
    was not trained on tell most: those that it was trained on are nearer to each other than queries will be.

    Args:
        old: Embeddings of N contents by the version whose documents shall be asked.
        new: Embeddings of the same contents, in the same order, by the version that shall ask.
        seed: Decides what is drawn and held out, and first weights and batches of a network.
        kinds: Which are tried.

    Raises:
        OptionError: If there are too few contents, not as many old as new ones, both are of the same version, or there
            is no kind or an unknown one.
    """
    tried = _checked(old, new, kinds)
    order = np.random.default_rng(seed).permutation(len(old))[:_MOST]
    held_out, rest = np.split(order, [min(_MOST_HELD_OUT, int(len(order) * _HELD_OUT))])
    judge = Judge(old.vectors[held_out], new.vectors[held_out])
    best = _judged(judge, tried, old.vectors[rest], new.vectors[rest], seed)
    most = max(one.kept for one in best.values())
    kind = next(kind for kind, one in best.items() if one.kept >= most - TOLERANCE)
    linear, layers = _weights(kind, old.vectors[order], new.vectors[order], best[kind].ridge, seed)
    figures = Figures(
        contents=len(order),
        held_out=len(held_out),
        neighbours=judge.neighbours,
        kept=judge.references() | {name: one.kept for name, one in best.items()},
        ridge=best["affine"].ridge if "affine" in best else None,
    )
    return Fitted(Map(kind, new.version, old.version, linear, layers, best[kind].shift), figures)


def _judged(
    judge: Judge, kinds: Sequence[Kind], old: Embeddings, new: Embeddings, seed: int
) -> dict[Kind, _Judged]:
    """Return how each kind does, until one is so good that no other could be chosen."""
    best: dict[Kind, _Judged] = {}
    for kind in kinds:
        some = [
            _Judged(ridge, *judge.judge(*_weights(kind, old, new, ridge, seed)))
            for ridge in (RIDGES if kind == "affine" else (_START,))
        ]
        best[kind] = max(some, key=lambda one: one.kept)
        if best[kind].kept >= 1 - TOLERANCE:
            break
    return best


def _weights(
    kind: Kind, old: Embeddings, new: Embeddings, ridge: float, seed: int
) -> tuple[Embeddings, Layers | None]:
    """Return the linear map and the network of a kind, fitted to contents."""
    if kind == "rotation":
        return _single(rotation(old, new)), None
    linear = _single(corrected(old, new, ridge=ridge))
    return (linear, None) if kind == "affine" else train(old, new, linear, seed=seed)


def _single(matrix: Matrix) -> Embeddings:
    return np.ascontiguousarray(matrix, dtype=np.float32)


def _checked(old: Stamped, new: Stamped, kinds: Sequence[Kind]) -> list[Kind]:
    """Return the kinds, the simplest first."""
    if len(old) != len(new) or len(old) < FEWEST:
        raise OptionError(
            f"fit_map: {len(old)} old and {len(new)} new embeddings; give both of the same contents, at least {FEWEST}"
        )
    if old.version == new.version:
        raise OptionError(
            f"fit_map: both embeddings are of version {old.version!r}; give those of two versions"
        )
    if not kinds or not set(kinds) <= set(KINDS):
        raise OptionError(f"fit_map: kinds is {list(kinds)!r}; give at least one of {', '.join(KINDS)}")
    return [kind for kind in KINDS if kind in kinds]
