"""Vectors of contents, each embedded once, for all processes that name the same folder."""

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finetuner.contents import Contents
from finetuner.errors import EncoderError
from finetuner.features.eviction import make_room, put_away, shelves, sweep
from finetuner.features.shelf import RECORD, GoneError, Keys, Rows, Shelf, UnfitError, Vectors

PORTION = 2048
"""Contents that are embedded and appended at once, at most."""

PORTION_BYTES = 64 * 2**20
"""Bytes of the arrays in a portion, unless a single one has more."""

ATTEMPTS = 10
"""How often a folder may be deleted under a call before that gives up."""

Embed = Callable[[Contents], Vectors]


class FeatureRows:
    """Vectors of N contents, memory-mapped float32 (N, D); they stay readable whatever becomes of the files.

    Args:
        mapped: All rows of the encoder, (R, D).
        index: For each content its row, (N,).
        shelf: Where they are: it is not evicted as long as somebody has them.
    """

    def __init__(self, mapped: Vectors, index: Rows, shelf: Shelf) -> None:
        self._mapped = mapped
        self._index = index
        self._shelf = shelf

    @property
    def shape(self) -> tuple[int, int]:
        """How many contents, and the dimension of their vectors."""
        return len(self._index), self._mapped.shape[1]

    def take(self, rows: Rows) -> Vectors:
        """Return the vectors of some contents, a new float32 array (n, D)."""
        picked = self._index[rows]
        if len(picked) and (picked == np.arange(picked[0], picked[0] + len(picked))).all():
            return self._mapped[picked[0] : picked[-1] + 1].copy()
        return np.take(self._mapped, picked, axis=0)


class FeatureCache:
    """Vectors by the hash of the content and the fingerprint of what embedded it, in one folder on a local disk.

    Processes and threads may share it. Whoever is killed loses the portion that it was embedding. A vector whose
    checksum does not agree is embedded again; a wrong one is never returned.

    Vectors tell about contents, and stay here when those are deleted elsewhere, until they are evicted or
    :meth:`clear` takes them away.

    Args:
        folder: Where they are kept; made when it is needed.
        most_bytes: Room for all of them. Where the next portion does not fit, everything of the encoder that was not
            used for longest is deleted, and so on; but never what is in use, by whichever process. An encoder in use
            takes the room that it needs, and goes when another one needs it.
    """

    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes

    def features(
        self, fingerprint: str, contents: Contents, hashes: NDArray[np.uint8], embed: Embed
    ) -> FeatureRows:
        """Return the vectors of contents; those that are not there are embedded, portion by portion, and kept.

        If others embed the same at that time, the first goes through it from the start and the others from the end;
        what two of them embed is kept once.

        Args:
            fingerprint: Of all that a vector depends on beside the content: weights, preprocessing, precision.
            contents: N contents.
            hashes: Their hashes, uint8 (N, 16); of contents with the same hash one is embedded.
            embed: Makes float32 (n, D) of n contents. If the last bits of a vector depend on what else is embedded at
                once, they depend on the portions: these are the same whenever the same contents are missing.

        Raises:
            EncoderError: If there is no content; or ``embed`` makes anything but float32 (n, D), another D than
                before, or a number that is not finite.
            OSError: If a file cannot be written or read; a full disk ends up here. What was kept before is kept.
        """
        if not len(contents):
            raise EncoderError("features: no content was given; at least one is needed")
        keys = np.ascontiguousarray(hashes).view("S16")[:, 0]
        for _ in range(ATTEMPTS):
            try:
                shelf = Shelf(self._folder, fingerprint)
                mapped, index = shelf.find(keys)
                if (index < 0).any():
                    self._fill(shelf, contents, _Missing(keys, index), embed)
                    mapped, index = shelf.find(keys)
            except UnfitError:
                put_away(shelf.folder, shelf.handle)
            except GoneError:
                continue
            else:
                if (index >= 0).all():
                    return FeatureRows(mapped, index, shelf)
        raise OSError(
            errno.EIO, f"vectors were lost {ATTEMPTS} times while they were made", str(self._folder)
        )

    def clear(self) -> None:
        """Delete everything. Calls at work begin anew; what :class:`FeatureRows` somebody has stay readable.

        Raises:
            OSError: If a file cannot be deleted.
        """
        for folder in shelves(self._folder):
            put_away(folder)
        sweep(self._folder)

    def _fill(self, shelf: Shelf, contents: Contents, missing: "_Missing", embed: Embed) -> None:
        with shelf.filling() as first:
            portions = missing.portions(_size(contents))
            for portion in portions if first else portions[::-1]:
                rows = portion[missing.lacks[portion]]
                if len(rows):
                    vectors = _fit(embed(_picked(contents, rows)), len(rows), shelf.dim)
                    self._append(shelf, rows, vectors, missing)

    def _append(self, shelf: Shelf, rows: Rows, vectors: Vectors, missing: "_Missing") -> None:
        needed = vectors.nbytes + len(rows) * RECORD.itemsize
        make_room(self._folder, needed, most_bytes=self._most_bytes)
        with shelf.appending():
            missing.strike(shelf.news())
            kept = missing.lacks[rows]
            if kept.any():
                shelf.append(missing.keys[rows[kept]], vectors[kept])


class _Missing:
    """The contents that lack a vector; of equal ones the first.

    Args:
        keys: The hashes of all N contents.
        index: Their rows, -1 for none.

    Attributes:
        keys: The hashes of all N contents.
        lacks: Which contents these are, bool (N,).
    """

    def __init__(self, keys: Keys, index: Rows) -> None:
        lacking = np.flatnonzero(index < 0)
        self.keys = keys
        self._sorted, first = np.unique(keys[lacking], return_index=True)
        self._places = lacking[first]
        self.lacks = np.zeros(len(keys), bool)
        self.lacks[self._places] = True

    def portions(self, size: int) -> list[Rows]:
        """Return where they are, in order, so many at a time."""
        places = np.sort(self._places)
        return [places[at : at + size] for at in range(0, len(places), size)]

    def strike(self, keys: Keys) -> None:
        """Take note that the contents with these hashes have a vector now."""
        at = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        self.lacks[self._places[at[self._sorted[at] == keys]]] = False


def _size(contents: Contents) -> int:
    """Return how many contents a portion has."""
    if not isinstance(contents, np.ndarray):
        return PORTION
    each = contents.nbytes // len(contents)
    return max(1, min(PORTION, PORTION_BYTES // max(1, each)))


def _picked(contents: Contents, rows: Rows) -> Contents:
    if isinstance(contents, np.ndarray):
        return contents[rows]
    return [contents[row] for row in rows.tolist()]


def _fit(vectors: Vectors, count: int, dim: int | None) -> Vectors:
    """Return an encoder's vectors, contiguous; EncoderError if they are not fit to be kept."""
    wanted = f"float32 ({count}, {dim or 'dimension'}), each number finite, is needed"
    if not isinstance(vectors, np.ndarray):
        raise EncoderError(f"the encoder made a {type(vectors).__name__} of {count} contents; {wanted}")
    alike = vectors.ndim == 2 and len(vectors) == count and vectors.shape[1] == (dim or vectors.shape[1]) > 0
    if not alike or vectors.dtype != np.float32 or not np.isfinite(vectors).all():
        raise EncoderError(
            f"the encoder made {vectors.dtype} {vectors.shape} of {count} contents, or a number that is not "
            f"finite; {wanted}"
        )
    return np.ascontiguousarray(vectors)
