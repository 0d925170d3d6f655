"""Tables in CSV with a header: rows by column name, and every fault with its line."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from finetuner.doors.lines import LONGEST, read_lines
from finetuner.doors.portions import Portion, in_portions
from finetuner.errors import SourceError


class Row(NamedTuple):
    """One row of a table.

    Attributes:
        line: The line of the file on which the row begins, counted from 1.
        cells: Each column's text, as it stands in the file; it may be empty.
    """

    line: int
    cells: dict[str, str]


def read_table(path: Path, *, required: Sequence[str]) -> Iterator[Row]:
    """Read a UTF-8 CSV file with a header, row by row.

    Empty lines are passed over. Empty cells are not: what they mean is for the caller to say.

    Args:
        path: The file. A byte order mark is accepted.
        required: Columns that must be there, in any order; further columns are read as well.

    Raises:
        SourceError: If the file is missing, not UTF-8 or no CSV, if its header lacks a required column or has a
            name twice, or if a row has another number of cells than the header.
    """
    rows = _read_rows(path, required, delimiter=",")
    _, header = next(rows)
    for line, row in rows:
        yield Row(line, dict(zip(header, row, strict=True)))


def read_columns(path: Path, names: Sequence[str], *, delimiter: str = ",") -> Iterator[Portion]:
    """Read some columns of a UTF-8 CSV file with a header, many rows at a time.

    Args:
        path: The file.
        names: The columns, which must be there.
        delimiter: What parts the cells.

    Raises:
        SourceError: As :func:`read_table` does; what was read before is yielded first.
    """
    rows = _read_rows(path, names, delimiter=delimiter)
    _, header = next(rows)
    places = [header.index(name) for name in names]
    chosen = ((line, [row[place] for place in places], sum(map(len, row))) for line, row in rows)
    yield from in_portions(chosen, names, where=f"{path}:")


def _read_rows(path: Path, required: Sequence[str], *, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line and cells of the header, and then of each row."""
    cells = _cells(path, delimiter)
    line, header = next(cells, (1, []))
    _check_header(f"{path}:{line}", header, required)
    yield line, header
    for line, row in cells:
        if len(row) != len(header):
            raise SourceError(
                f"{path}:{line}: the row has {len(row)} cells, the header {len(header)}; "
                "put cells with a comma, a quote or a line break between double quotes"
            )
        yield line, row


def _check_header(where: str, header: Sequence[str], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in header]
    if missing:
        raise SourceError(
            f"{where}: the header has no column {', '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, header)) or 'nothing'}"
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise SourceError(f"{where}: the header has the column {', '.join(map(repr, twice))} more than once")


def _cells(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which a row begins, and its cells."""
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST))  # by default a cell has 128 KiB at most
    reader = csv.reader((line for _, line in read_lines(path)), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise SourceError(f"{path}:{line}: the row is no CSV: {error}") from error
        if row:
            yield line, row
