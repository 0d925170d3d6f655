"""Tables in CSV with a header: rows by column name, and every fault with its line."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

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
    cells = _cells(path)
    line, header = next(cells, (1, []))
    _check_header(f"{path}:{line}", header, required)
    for line, row in cells:
        if len(row) != len(header):
            raise SourceError(
                f"{path}:{line}: the row has {len(row)} cells, the header {len(header)}; "
                "put cells with a comma, a quote or a line break between double quotes"
            )
        yield Row(line, dict(zip(header, row, strict=True)))


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


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which a row begins, and its cells."""
    reader = csv.reader(_lines(path), strict=True)
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


def _lines(path: Path) -> Iterator[str]:
    # decoded line by line, and not by the file object in blocks: so a fault is named with its line
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path}:{number}: the line is not UTF-8: {error.reason}; save the file as UTF-8"
        ) from error
    except OSError as error:
        raise SourceError(f"{path}: the file cannot be read: {error.strerror}") from error
