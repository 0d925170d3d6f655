"""JSON Lines: an object a line, and every fault with its line."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from finetuner.doors.lines import LONGEST, read_lines
from finetuner.doors.portions import Portion, in_portions
from finetuner.errors import SourceError


class Line(NamedTuple):
    """One line of a file.

    Attributes:
        number: Which one, counted from 1.
        object: What it says.
        size: How many characters it has.
    """

    number: int
    object: dict[str, Any]
    size: int


def read_objects(path: Path, *, longest: int = LONGEST) -> Iterator[Line]:
    """Read a UTF-8 file with a JSON object a line; empty lines are passed over.

    Args:
        path: The file.
        longest: Bytes of a line at most.

    Raises:
        SourceError: If the file is missing or empty, a line is too long, not UTF-8 or no JSON object.
    """
    is_empty = True
    for number, line in read_lines(path, longest=longest):
        is_empty = False
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{path}:{number}: the line is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise SourceError(
                f"{path}:{number}: the line is a {type(found).__name__}; each line must be one JSON object"
            )
        yield Line(number, found, len(line))
    if is_empty:
        raise SourceError(f"{path}: the file is empty; each line must be one JSON object")


def read_columns(path: Path, names: Sequence[str]) -> Iterator[Portion]:
    """Read the values under some keys, many lines at a time; what a line lacks is None.

    Args:
        path: The file.
        names: The keys.

    Raises:
        SourceError: As :func:`read_objects` does, or if no line of the first portion has some key. What was read
            before is yielded first, but for that.
    """
    first: list[str] = []
    missing = dict.fromkeys(names)

    def rows() -> Iterator[tuple[int, list[Any], int]]:
        for line in read_objects(path):
            if missing:
                first[:] = first or line.object
                for name in line.object:
                    missing.pop(name, None)
            yield line.number, [line.object.get(name) for name in names], line.size

    for number, portion in enumerate(in_portions(rows(), names, where=f"{path}:")):
        if number == 0 and missing:
            raise SourceError(
                f"{path}: none of the first {len(portion.numbers):,} lines has {', '.join(map(repr, missing))}; "
                f"the first has {', '.join(map(repr, first)) or 'nothing'}"
            )
        yield portion
