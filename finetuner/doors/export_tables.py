"""The two tables of an export as files: JSON Lines or Parquet."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from finetuner.documents import Array
from finetuner.doors import parquet
from finetuner.doors.export_packs import COLUMNS, Columns
from finetuner.doors.jsonl import Line, read_objects
from finetuner.errors import SourceError
from finetuner.packs import BYTES, MATCHES

_LONGEST = 2**31  # bytes of a line: whatever was written can be read


class TableWriter(Protocol):
    """Writes rows into a new file."""

    def write(self, columns: Columns) -> None:
        """Append rows."""
        ...

    def close(self) -> None:
        """Complete the file."""
        ...


class TableFormat(NamedTuple):
    """How a table is kept.

    Attributes:
        writer: Opens a new file for the table of that name.
        read: Yields the rows of such a file, some at a time; it raises SourceError if they are damaged.
    """

    writer: Callable[[Path, str], TableWriter]
    read: Callable[[Path, str], Iterator[Columns]]


class JsonlWriter:
    """Writes a row as an object a line; a blob is nested lists, and its dtype stands beside it."""

    def __init__(self, path: Path, table: str) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._names = COLUMNS[table]

    def write(self, columns: Columns) -> None:
        """Append rows."""
        for row in zip(*(columns[name] for name in self._names), strict=True):
            line = dict(zip(self._names, row, strict=True))
            line["time"] = line["time"].isoformat()
            if line.get("blob") is not None:
                line.update(blob=line["blob"].tolist(), dtype=line["blob"].dtype.name)
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Complete the file."""
        self._file.close()


def read_jsonl(path: Path, table: str) -> Iterator[Columns]:
    """Yield the rows of a table, up to 8,192 or 32 MiB at a time.

    Raises:
        SourceError: If it is missing or damaged.
    """
    lines: list[Line] = []
    size = 0
    for line in read_objects(path, longest=_LONGEST):
        lines.append(line)
        size += line.size
        if len(lines) >= MATCHES or size >= BYTES:
            yield _columns(path, table, lines)
            lines, size = [], 0
    yield _columns(path, table, lines)


def _columns(path: Path, table: str, lines: list[Line]) -> Columns:
    try:
        columns = {name: [line.object[name] for line in lines] for name in COLUMNS[table]}
        columns["time"] = [datetime.fromisoformat(time) for time in columns["time"]]
        if "blob" in columns:
            columns["blob"] = [
                (
                    None
                    if line.object["blob"] is None
                    else np.array(line.object["blob"], _dtype(line.object["dtype"]))
                )
                for line in lines
            ]
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(
            f"{path}:{lines[0].number} to {lines[-1].number}: this is no table of {table}: {error!r}"
        ) from error
    return columns


class ParquetWriter:
    """Writes rows into row groups; a blob is its bytes, and its dtype and shape stand beside it."""

    def __init__(self, path: Path, table: str) -> None:
        pa = parquet.pyarrow()
        kinds = {
            "feed": pa.int64(),
            "time": pa.timestamp("us", tz="UTC"),
            "anchor_number": pa.int64(),
            "label": pa.float64(),
            "weight": pa.float64(),
            "blob": pa.binary(),
        }
        fields = [(name, kinds.get(name, pa.string())) for name in COLUMNS[table]]
        if table == "documents":
            fields += [("dtype", pa.string()), ("shape", pa.list_(pa.int64()))]
        self._schema = pa.schema(fields)
        self._file = parquet.pyarrow("pyarrow.parquet").ParquetWriter(path, self._schema)

    def write(self, columns: Columns) -> None:
        """Append rows as a row group."""
        if "blob" in columns:
            blobs = columns["blob"]
            columns = {
                **columns,
                "blob": [None if blob is None else blob.tobytes() for blob in blobs],
                "dtype": [None if blob is None else blob.dtype.name for blob in blobs],
                "shape": [None if blob is None else blob.shape for blob in blobs],
            }
        self._file.write_table(parquet.pyarrow().table(dict(columns), self._schema))

    def close(self) -> None:
        """Complete the file."""
        self._file.close()


def read_parquet(path: Path, table: str) -> Iterator[Columns]:
    """Yield the rows of a table, up to 8,192 or about 32 MiB at a time.

    Raises:
        OptionError: If pyarrow is not installed.
        SourceError: If it is missing or damaged.
    """
    names = [*COLUMNS[table], *(("dtype", "shape") if table == "documents" else ())]
    for batch in parquet.read_batches(path, names):
        columns = {name: batch.column(name).to_pylist() for name in names}
        try:
            if "blob" in columns:
                whole = zip(columns["blob"], columns.pop("dtype"), columns.pop("shape"), strict=True)
                columns["blob"] = [
                    None if blob is None else _blob(blob, dtype, shape) for blob, dtype, shape in whole
                ]
        except (TypeError, ValueError) as error:
            raise SourceError(f"{path}: this is no table of {table}: {error!r}") from error
        yield columns


def _blob(data: bytes, dtype: str, shape: list[int]) -> Array:
    return np.frombuffer(data, _dtype(dtype)).reshape(shape)


def _dtype(name: str) -> np.dtype[Any]:
    dtype = np.dtype(name)
    if dtype.kind not in "iuf":
        raise ValueError(f"dtype {name}")
    return dtype


FORMATS = {
    "jsonl": TableFormat(JsonlWriter, read_jsonl),
    "parquet": TableFormat(ParquetWriter, read_parquet),
}
"""The formats by name, which is also the suffix of the files."""
