"""What a cell of a table means: an id, a label, a weight, a content."""

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

import numpy as np

from finetuner.contents import Alike
from finetuner.documents import LARGEST, Array, canonical
from finetuner.doors.portions import Column
from finetuner.doors.roles import Roles
from finetuner.errors import ContentError, LabelError, MatchDataError

Read = TypeVar("Read")
Faults = dict[int, MatchDataError]
"""What is wrong, by row."""


def read_column(column: Column, read: Callable[[Any], Read], faults: Faults, *, instead: Read) -> list[Read]:
    """Return what each value of a column means.

    Args:
        column: The column.
        read: Reads one value; it raises what is wrong with it.
        faults: The faults of the portion, to which those rows are added that are not there.
        instead: Stands where a value is faulty.
    """
    meanings, wrong = [], {}
    for code, value in enumerate(column.values):
        try:
            meanings.append(read(value))
        except MatchDataError as error:
            meanings.append(instead)
            wrong[code] = error
    if wrong:
        for row in np.flatnonzero(np.isin(column.codes, list(wrong))).tolist():
            faults.setdefault(row, wrong[int(column.codes[row])])
    return meanings


def read_id(value: Any, *, what: str) -> str:
    """Return an id; a whole number is one, too.

    Args:
        value: The cell.
        what: Where it is from, as a message names it.

    Raises:
        ContentError: If it is empty or something else.
    """
    if value is None or value == "":
        raise ContentError(f"{what} is empty; it needs an id")
    if isinstance(value, str):
        return _unicode(value, what)
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
    if not whole:
        raise ContentError(f"{what} has {value!r}; an id is text or a whole number")
    return str(int(value))


def label_reader(roles: Roles) -> Callable[[Any], float]:
    """Return what reads the column of labels or scores: NaN from an empty cell, a LabelError from an unfit one."""
    if roles.score_range is not None:
        return partial(_read_score, low=roles.score_range[0], high=roles.score_range[1])
    if roles.labels is not None:
        return partial(_read_mapped, labels=roles.labels)
    return read_label


def read_label(value: Any) -> float:
    """Return a label, NaN for unjudged.

    Raises:
        LabelError: If it is no number, or not finite as float32.
    """
    if value is None or value == "":
        return math.nan
    number = _number(value)
    if not abs(number) <= LARGEST:
        raise LabelError(f"label {value!r} is not a {_wanted(number)}; use 1, -1 or leave it empty")
    return number


def read_weight(value: Any) -> float:
    """Return a weight, 1 for none.

    Raises:
        LabelError: If it is no number above 0, or not finite as float32.
    """
    if value is None or value == "":
        return 1.0
    number = _number(value)
    if not 0 < number <= LARGEST:
        raise LabelError(f"weight {value!r} is not a finite number above 0; leave it empty for 1")
    return number


def _read_mapped(value: Any, labels: Mapping[str, float]) -> float:
    if value is None or value == "":
        return math.nan
    for spelling in _spellings(value):
        if spelling in labels:
            return labels[spelling]
    raise LabelError(
        f"label {value!r} is none of {', '.join(map(repr, labels))}; add it to labels, or leave it empty"
    )


def _read_score(value: Any, low: float, high: float) -> float:
    if value is None or value == "":
        return math.nan
    number = _number(value)
    if not low <= number <= high:
        raise LabelError(
            f"score {value!r} is not a number from {low:g} to {high:g}; leave it empty if there is none"
        )
    return 2 * (number - low) / (high - low) - 1


def _spellings(value: Any) -> list[str]:
    if isinstance(value, bool):
        return [str(value).lower(), str(value)]
    if isinstance(value, float) and value.is_integer():
        return [str(value), str(int(value))]
    return [str(value)]


def _number(value: Any) -> float:
    """Return a cell as a float, NaN if it is no number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _wanted(number: float) -> str:
    return "number" if math.isnan(number) else "finite number"


def _unicode(text: str, what: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ContentError(f"{what} has text that is not Unicode: {error}") from error
    return text


class ContentReader:
    """Reads contents; all of a file are of one kind, and its arrays of one shape and dtype."""

    def __init__(self) -> None:
        self._alike = Alike()
        self._kind: str | None = None

    def read(self, value: Any, *, what: str) -> str | Array:
        """Return a content in its canonical form.

        Args:
            value: Text, or numbers as an array or in nested lists. Whole numbers are features where the first array
                had floating ones: JSON writes 1.0 as 1.
            what: Where it is from, as a message names it.

        Raises:
            ContentError: If it is empty or unfit, or differs in kind, shape or dtype from the first of the file.
        """
        if value is None or (isinstance(value, str) and not value):
            raise ContentError(f"{what} is empty; it needs a text, or numbers")
        content = _unicode(value, what) if isinstance(value, str) else self._array(value, what)
        kind = "a text" if isinstance(content, str) else "an array"
        self._kind = self._kind or kind
        if kind != self._kind:
            raise ContentError(f"{what} has {kind}, the first content is {self._kind}; all must be alike")
        return content

    def _array(self, value: Any, what: str) -> Array:
        if not isinstance(value, list | np.ndarray):
            raise ContentError(
                f"{what} has a {type(value).__name__}; a content is text, or numbers in a list"
            )
        try:
            array = canonical(np.asarray(value), what)
            if self._alike.first is not None and self._alike.first.dtype == np.float32:
                array = array.astype(np.float32, copy=False)
            self._alike.check(array, what)
        except ContentError as error:
            raise ContentError(f"{what}{str(error).removeprefix(f'document {what!r}')}") from error
        except ValueError as error:
            raise ContentError(f"{what}: the list is no array: {error}") from error
        return array
