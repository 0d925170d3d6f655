"""Maps in closed form: a rotation, and a rotation with a low-rank correction.

What a query is mapped for is to find the documents that it finds in its own space. So the correction is not fitted to
where the old version put the same content, which at best would rank as the old version does. It is a regression the
other way round, of the documents: of what the old version made of them, o, a linear map estimates what the new one
makes, n = o A + c. A query x of the new version then has with a document the cosine x . n = x A' . o + x . c, where
the last term is the same for all documents. So x A' asks for o what x asks for the estimate of n.
"""

import numpy as np
from numpy.typing import NDArray

from finetuner.compatibility.stamped import Embeddings

Matrix = NDArray[np.float64]

_EXPLAINED = 0.9
"""Share of the correction's variance that its low rank has to hold."""


def rotation(old: Embeddings, new: Embeddings) -> Matrix:
    """Return the map with orthonormal rows or columns that puts embeddings nearest to their old ones, (D1, D0).

    The orthogonal Procrustes problem (Schoenemann 1966): U V' of the singular value decomposition of new' old. Where
    the dimensions differ, the smaller one decides how many directions are kept.

    Args:
        old: float32 (N, D0).
        new: Of the same contents, float32 (N, D1).
    """
    left, _, right = np.linalg.svd(new.T.astype(np.float64) @ old, full_matrices=False)
    turn: Matrix = left @ right
    return turn


def corrected(old: Embeddings, new: Embeddings, *, ridge: float) -> Matrix:
    """Return the rotation with a low-rank correction, (D1, D0).

    A is the rotation back, and a ridge regression of what that leaves: so little data corrects little, and no data
    nothing. Of the correction the directions are kept that hold most of its variance over the documents.

    Args:
        old: float32 (N, D0).
        new: Of the same contents, float32 (N, D1).
        ridge: Weight of the correction's size, as a multiple of the documents' mean variance; above 0.
    """
    back = rotation(old, new).T
    centred = old - old.mean(axis=0, dtype=np.float64)
    left_over = new - new.mean(axis=0, dtype=np.float64) - centred @ back
    covariance = centred.T @ centred
    variance = np.trace(covariance) / len(covariance)
    if not variance > 0:
        return back.T
    penalty = ridge * variance * np.eye(len(covariance))
    correction = np.linalg.solve(covariance + penalty, centred.T @ left_over)
    return (back + _low_rank(correction, covariance)).T


def _low_rank(correction: Matrix, covariance: Matrix) -> Matrix:
    """Return the correction in as few directions as hold most of its variance."""
    variances, directions = np.linalg.eigh(correction.T @ covariance @ correction)  # ascending
    held = np.cumsum(variances[::-1])
    rank = int(np.searchsorted(held, _EXPLAINED * held[-1])) + 1
    kept = directions[:, ::-1][:, :rank]
    reduced: Matrix = correction @ kept @ kept.T
    return reduced
