"""Which side of a split an anchor is on: its content and a seed alone decide it.

So an anchor keeps its side when data is added, equal contents are never on two sides, and whoever knows a content's
hash knows its side without the rest of the data.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from finetuner.errors import OptionError

Hashes = NDArray[np.uint8]
Side = Literal["training", "validation", "holdout"]

SIDES: tuple[Side, Side, Side] = ("training", "validation", "holdout")
"""The sides by their numbers in what :func:`sides` returns."""


def chosen(hashes: Hashes, ratio: float, seed: int) -> NDArray[np.bool_]:
    """Return which contents a draw takes, bool (A,).

    Args:
        hashes: Content hashes, uint8 (A, 16).
        ratio: Share of the contents that is expected to be taken, 0 to 1. What a smaller ratio takes, a larger one
            takes too.
        seed: Decides which; another seed draws independently.
    """
    # splitmix-like: the hash is uniform already, the seed only has to move it
    salt = np.uint64(seed * 0x9E3779B97F4A7C15 % 2**64)
    halves = hashes.copy().view(np.uint64)  # (A, 2)
    mixed = (halves[:, 0] ^ salt) * np.uint64(0xBF58476D1CE4E5B9) ^ halves[:, 1]
    return mixed < np.uint64(min(int(ratio * 2**64), 2**64 - 1))


def sides(hashes: Hashes, *, validation: float, holdout: float, seed: int) -> NDArray[np.int8]:
    """Return which side each anchor is on, int8 (A,): 0 training, 1 validation, 2 holdout, as in :data:`SIDES`.

    The holdout is drawn first, then the validation of the rest with the next seed, so that another share of
    validation changes no holdout.

    Args:
        hashes: The anchors' content hashes, uint8 (A, 16).
        validation: Share of all anchors that is expected in validation.
        holdout: Share of all anchors that is expected in the holdout.
        seed: Decides which.

    Raises:
        OptionError: If a share is below 0, or both together are everything.
    """
    if not (validation >= 0 and holdout >= 0 and validation + holdout < 1):
        raise OptionError(
            f"validation={validation!r}, holdout={holdout!r}: give shares of 0 or more that leave some to training"
        )
    held_out = chosen(hashes, holdout, seed)
    validating = chosen(hashes, validation / (1 - holdout), seed + 1) & ~held_out
    return (2 * held_out + validating).astype(np.int8)
