"""Rows of a file, many at a time, in columns: what the readers of all formats give.

A column names each of its distinct values once, so that what is done to a value is done once for all its rows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from finetuner.errors import SourceError
from finetuner.packs import BYTES, MATCHES


class Column(NamedTuple):
    """A column of R rows.

    Attributes:
        values: The K values that occur, as the format gives them: text, numbers, lists, arrays, None.
        codes: Which of them each row has, int64 (R,).
    """

    values: Sequence[Any]
    codes: NDArray[np.int64]


@dataclass(frozen=True)
class Portion:
    """Rows of a file.

    Attributes:
        where: What stands before the number of a row where a place is told, such as ``clicks.csv:``.
        numbers: The number of each row, or of its line, in the file; R.
        columns: The columns by name.
    """

    where: str
    numbers: Sequence[int]
    columns: Mapping[str, Column]

    def place(self, row: int) -> str:
        """Return how to tell where a row is."""
        return f"{self.where}{self.numbers[row]}"


def coded(cells: Sequence[Any]) -> Column:
    """Return cells as a column; 1, 1.0 and True are three values."""
    code_of: dict[Any, int] = {}
    try:
        keys = (cell if cell.__class__ is str else (cell.__class__, cell) for cell in cells)
        codes = [code_of.setdefault(key, len(code_of)) for key in keys]
    except TypeError:  # lists are not hashable
        return Column(cells, np.arange(len(cells)))
    return Column([key if key.__class__ is str else key[1] for key in code_of], np.array(codes, np.int64))


def in_portions(
    rows: Iterable[tuple[int, Sequence[Any], int]], names: Sequence[str], *, where: str
) -> Iterator[Portion]:
    """Yield rows as portions.

    Args:
        rows: The number of each row, its cells in the order of the names, and how many bytes it has.
        names: The columns.
        where: See :class:`Portion`.

    Raises:
        SourceError: As the rows do; what was read before is yielded first.
    """
    numbers: list[int] = []
    cells: list[Sequence[Any]] = []
    size = 0

    def portion() -> Portion:
        columns = zip(names, zip(*cells, strict=True), strict=True)
        return Portion(where, numbers.copy(), {name: coded(column) for name, column in columns})

    try:
        for number, row, length in rows:
            numbers.append(number)
            cells.append(row)
            size += length
            if len(cells) >= MATCHES or size >= BYTES:
                yield portion()
                numbers.clear()
                cells.clear()
                size = 0
    except SourceError:
        if cells:
            yield portion()
        raise
    if cells:
        yield portion()
