"""Parquet: columns of a file, some rows at a time. Nothing else imports pyarrow, which is optional and slow to load."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from finetuner.documents import Array
from finetuner.doors.portions import Column, Portion
from finetuner.errors import OptionError, SourceError
from finetuner.packs import BYTES, MATCHES

_FIRST = 64  # rows by which the size of the others is estimated


def pyarrow(module: str = "pyarrow") -> ModuleType:
    """Return pyarrow, or a module of it.

    Raises:
        OptionError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise OptionError(
            f"Parquet needs pyarrow, which is not installed ({error}); pip install finetuner[tables], or use CSV or JSONL"
        ) from error


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file as a ``pyarrow.parquet.ParquetFile``.

    Raises:
        OptionError: If pyarrow is not installed.
        SourceError: If the file is missing, or not a complete Parquet file.
    """
    with told_as(f"{path}"):
        file = pyarrow("pyarrow.parquet").ParquetFile(path, page_checksum_verification=True)
    with file:
        yield file


@contextmanager
def told_as(where: str) -> Iterator[None]:
    """Raise what pyarrow raises as a SourceError that begins with a place."""
    try:
        yield
    except (pyarrow().ArrowException, OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise SourceError(f"{where}: this cannot be read as Parquet: {reason}") from error


def read_columns(path: Path, names: Sequence[str]) -> Iterator[Portion]:
    """Read some columns of a Parquet file, many rows at a time.

    Args:
        path: The file.
        names: The columns: text, numbers, or lists (of lists) of numbers.

    Raises:
        OptionError: If pyarrow is not installed.
        SourceError: If the file is missing or damaged, or lacks a column. What was read before is yielded first.
    """
    number = 1
    for batch in read_batches(path, names, accepts=_is_readable):
        columns = {name: _column(batch.column(name)) for name in names}
        yield Portion(f"{path}: row ", range(number, number + batch.num_rows), columns)
        number += batch.num_rows


def read_batches(
    path: Path, names: Sequence[str], *, accepts: Callable[[Any], bool] = lambda _: True
) -> Iterator[Any]:
    """Yield some columns of a Parquet file as record batches of up to 8,192 rows or about 32 MiB.

    Args:
        path: The file.
        names: The columns.
        accepts: Whether a type of a column is accepted.

    Raises:
        OptionError: If pyarrow is not installed.
        SourceError: If the file is missing or damaged, or a column is missing or of another type.
    """
    with opened(path) as file:
        _check_schema(path, file.schema_arrow, names, accepts)
        for group in range(file.num_row_groups):
            yield from _batches(file, group, names, f"{path}: row group {group + 1} of {file.num_row_groups}")


def _batches(file: Any, group: int, names: Sequence[str], where: str) -> Iterator[Any]:
    with told_as(where):
        size = MATCHES
        if file.metadata.row_group(group).num_rows > _FIRST:
            first = next(file.iter_batches(_FIRST, row_groups=[group], columns=list(names)))
            size = int(np.clip(BYTES * _FIRST // max(first.nbytes, 1), 1, MATCHES))
        batches = file.iter_batches(size, row_groups=[group], columns=list(names))
    while True:
        with told_as(where):
            batch = next(batches, None)
            if batch is not None:
                batch.validate(full=True)
        if batch is None:
            return
        yield batch


def _check_schema(path: Path, schema: Any, names: Sequence[str], accepts: Callable[[Any], bool]) -> None:
    missing = [name for name in names if name not in schema.names]
    if missing:
        raise SourceError(
            f"{path}: there is no column {', '.join(map(repr, missing))}; there are "
            f"{', '.join(map(repr, schema.names)) or 'none'}"
        )
    for name in names:
        if schema.names.count(name) > 1:
            raise SourceError(f"{path}: the column {name!r} is there more than once")
        kind = schema.field(name).type
        if not accepts(kind):
            raise SourceError(
                f"{path}: the column {name!r} is of type {kind}; text, numbers, and lists of numbers can be read"
            )


def _is_readable(kind: Any) -> bool:
    types = pyarrow().types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if _is_list(kind):
        while _is_list(kind):
            kind = kind.value_type
        return bool(types.is_integer(kind) or types.is_floating(kind))
    tests = (
        types.is_string,
        types.is_large_string,
        types.is_string_view,
        types.is_integer,
        types.is_floating,
        types.is_decimal,
        types.is_boolean,
        types.is_null,
    )
    return any(test(kind) for test in tests)


def _is_list(kind: Any) -> bool:
    types = pyarrow().types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _column(column: Any) -> Column:
    types = pyarrow().types
    if _is_list(column.type):
        return Column(_arrays(column), np.arange(len(column)))
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    column = column.dictionary_encode(null_encoding="encode")
    return Column(column.dictionary.to_pylist(), column.indices.to_numpy().astype(np.int64))


def _arrays(column: Any) -> Sequence[Array | list[Any] | None]:
    """Return each row as an array if all have one shape, else as nested lists; a row may be None."""
    if column.null_count:
        arrays = iter(_arrays(column.drop_null()))
        return [next(arrays) if is_there else None for is_there in column.is_valid().to_pylist()]
    shape, flat = [len(column)], column
    while _is_list(flat.type):
        lengths = pyarrow("pyarrow.compute").list_value_length(flat).unique().to_pylist()
        flat = flat.flatten()
        if len(lengths) != 1 or flat.null_count:
            return list(column.to_pylist())
        shape += lengths
    return list(flat.to_numpy().reshape(shape))
