"""Columns that grow while a stream is read, in a few bytes a row: numbers, names, and keys that are numbered."""

from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
Rows = NDArray[np.int64]
Scalar = TypeVar("Scalar", bound=np.generic)


class Column(Generic[Scalar]):
    """An array that grows at its end; the room for it doubles, so that growing costs little.

    Args:
        dtype: Of its values.
        width: Values in a row; None for one, without a second dimension.
        fill: What new rows hold.
    """

    def __init__(self, dtype: type[Scalar], *, width: int | None = None, fill: int = 0) -> None:
        self._fill = fill
        self._length = 0
        self._room: NDArray[Scalar] = np.empty((0,) if width is None else (0, width), dtype)

    @property
    def values(self) -> NDArray[Scalar]:
        """The rows, as a view that writes through; growing again leaves it behind."""
        return self._room[: self._length]

    def lengthen(self, length: int) -> None:
        """Fill up with new rows, to ``length`` in all."""
        if length > len(self._room):
            room = np.empty((max(length, 2 * len(self._room)), *self._room.shape[1:]), self._room.dtype)
            room[: self._length] = self.values
            self._room = room
        self._room[self._length : length] = self._fill
        self._length = max(length, self._length)

    def extend(self, values: NDArray[Scalar] | NDArray[np.int64]) -> None:
        """Append rows."""
        before = self._length
        self.lengthen(before + len(values))
        self._room[before : self._length] = values

    def cut(self, length: int) -> None:
        """Forget what is beyond the first rows."""
        self._length = min(length, self._length)


class Names:
    """Texts by number, in as many bytes as they have in UTF-8 and 8 more."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = Column(np.int64)

    def extend(self, names: Sequence[str]) -> None:
        """Append names."""
        encoded = [name.encode("utf-8", "surrogatepass") for name in names]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        self._ends.extend(len(self._bytes) + np.cumsum(lengths))
        self._bytes += b"".join(encoded)

    def __getitem__(self, number: int) -> str:
        """Return the name of that number."""
        start = int(self._ends.values[number - 1]) if number else 0
        return self._bytes[start : int(self._ends.values[number])].decode("utf-8", "surrogatepass")


class Numbered:
    """Numbers 64-bit keys in the order in which they first come, in 12 bytes a key.

    The keys lie in sorted runs of which each is at least twice as long as the next, so that there are few to look
    into, and a key is moved only as often as its run at least doubles.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[Keys, NDArray[np.int32]]] = []
        self._length = 0

    def __len__(self) -> int:
        """Return how many keys there are."""
        return self._length

    def add(self, keys: Keys) -> tuple[Rows, Rows]:
        """Number keys, new ones with the next numbers.

        Returns:
            The number of each key, int64 (K,), and where in ``keys`` the new ones first are, by number.
        """
        distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        numbers = self._find(distinct)
        new = np.flatnonzero(numbers < 0)
        by_place = new[np.argsort(first[new])]
        numbers[by_place] = np.arange(self._length, self._length + len(new))
        self._length += len(new)
        self._insert(distinct[new], numbers[new].astype(np.int32))
        return numbers[inverse], first[by_place]

    def _find(self, keys: Keys) -> Rows:
        numbers = np.full(len(keys), -1, np.int64)
        for run, its_numbers in self._runs:
            place = np.minimum(np.searchsorted(run, keys), len(run) - 1)
            there = run[place] == keys
            numbers[there] = its_numbers[place[there]]
        return numbers

    def _insert(self, keys: Keys, numbers: NDArray[np.int32]) -> None:
        if not len(keys):
            return
        while self._runs and len(self._runs[-1][0]) < 2 * len(keys):
            longer, its_numbers = self._runs.pop()
            keys, numbers = np.concatenate([longer, keys]), np.concatenate([its_numbers, numbers])
            order = np.argsort(keys, kind="stable")  # two sorted runs: they are merged, not sorted
            keys, numbers = keys[order], numbers[order]
        self._runs.append((keys, numbers))
