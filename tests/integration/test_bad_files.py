"""Files with a fault, brought in through a real Flow: where it is, and what was accepted before, which stays."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from executors.client import FlowClient
from executors.files import import_file
from finetuner.documents import label_of
from finetuner.doors.lines import LONGEST
from finetuner.errors import FinetunerError, LabelError, OptionError, SourceError, UnknownCollectionError
from finetuner.packing import unpacked

ROLES: dict[str, Any] = {"anchor": "question", "match": "answer", "label": "label"}
GOOD = b"question,answer,label\nq,a,1\nq,b,-1\n"
"""A header, and two rows."""


def parquet(rows: int) -> bytes:
    """Return a Parquet file with checksums, and two row groups of so many rows each."""
    columns = {
        "question": ["q"] * 2 * rows,
        "answer": [f"answer {row}" for row in range(2 * rows)],
        "label": [1.0, -1.0] * rows,
    }
    sink = pa.BufferOutputStream()
    plain = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    pq.write_table(pa.table(columns), sink, row_group_size=rows, **plain)
    return bytes(sink.getvalue())


def torn(data: bytes) -> bytes:
    """Return a file of which one byte in the second row group is another."""
    place = data.index(b"answer 150")
    return data[:place] + b"X" + data[place + 1 :]


@dataclass(frozen=True)
class Bad:
    """A file with a fault.

    Attributes:
        name: Of the file.
        data: What is in it.
        kind: The class of the error.
        place: Where the message says that the fault is, behind the path of the file.
        told: What it says about it.
        accepted: How many judgements came in before.
        roles: What its columns are.
    """

    name: str
    data: Callable[[], bytes]
    kind: type[FinetunerError]
    place: str
    told: str
    accepted: int
    roles: dict[str, Any] = field(default_factory=lambda: ROLES)


BAD = {
    "a column that is not there": Bad(
        "bad.csv",
        lambda: GOOD,
        SourceError,
        ":1: ",
        "the header has no column 'reply'; it has 'question', 'answer', 'label'",
        0,
        {**ROLES, "match": "reply"},
    ),
    "a label that is no number": Bad(
        "bad.csv",
        lambda: GOOD + b"r,c,perhaps\nr,d,1\n",
        LabelError,
        ":4: ",
        "'perhaps'",
        0,  # of the portion with the first row that is refused nothing is taken
        {**ROLES, "strict": True},
    ),
    "a cell too many": Bad(
        "bad.csv",
        lambda: GOOD + b"r,c,1,1\nr,d,1\n",
        SourceError,
        ":4: ",
        "the row has 4 cells, the header 3",
        2,
    ),
    "no bytes": Bad("bad.csv", lambda: b"", SourceError, ":1: ", "the header has no column", 0),
    "no bytes as JSON": Bad("bad.jsonl", lambda: b"", SourceError, ": ", "the file is empty", 0),
    "no JSON": Bad(
        "bad.jsonl",
        lambda: b'{"question": "q", "answer": "a", "label": 1}\n{"question": "q",\n',
        SourceError,
        ":2: ",
        "the line is no JSON",
        1,
    ),
    "a line that is too long": Bad(
        "bad.csv",
        lambda: GOOD + b"r," + b"x" * LONGEST + b",1\n",
        SourceError,
        ":4: ",
        "the line is longer than 67,108,864 bytes",
        2,
    ),
    "an image": Bad(
        "bad.csv",
        lambda: GOOD + b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
        SourceError,
        ":4: ",
        "not UTF-8",
        2,
    ),
    "a binary file": Bad(
        "bad.csv",
        lambda: b"PK\x03\x04\x00\x00\n",
        SourceError,
        ":1: ",
        "this is no CSV: it holds NUL bytes",
        0,
    ),
    "another encoding": Bad(
        "bad.csv",
        lambda: GOOD + "r,café,1\n".encode("latin-1"),
        SourceError,
        ":4: ",
        "the line is not UTF-8",
        2,
    ),
    "half of a Parquet file": Bad(
        "bad.parquet",
        lambda: parquet(100)[:2000],
        SourceError,
        ": ",
        "this cannot be read as Parquet: Parquet magic bytes not found in footer",
        0,
    ),
    "a torn row group": Bad(
        "bad.parquet",
        lambda: torn(parquet(100)),
        SourceError,
        ": row group 2 of 2: ",
        "this cannot be read as Parquet: ",
        100,
    ),
}


def judgements(client: FlowClient, collection: str) -> list[tuple[str | None, str | None, float | None]]:
    """Return what a collection says, nothing if there is none."""
    try:
        return [
            (one.text, match.text, label_of(match))
            for one in unpacked(client.packs(collection))
            for match in one.matches
        ]
    except UnknownCollectionError:
        return []


@pytest.mark.parametrize("name", BAD)
def test_a_fault_of_a_file_ends_it_and_keeps_what_came_before(
    client: FlowClient, tmp_path: Path, name: str
) -> None:
    """The error tells the place and how much was accepted before it; exactly that is in the collection."""
    bad, collection = BAD[name], f"bad-{list(BAD).index(name)}"
    path = tmp_path / bad.name
    path.write_bytes(bad.data())
    with pytest.raises(FinetunerError) as raised:
        import_file(client, path, collection=collection, **bad.roles)
    said = str(raised.value)
    assert type(raised.value) is bad.kind
    assert said.startswith(f"{path}{bad.place}")
    assert bad.told in said
    assert f"before that, {bad.accepted} judgements" in said
    assert len(judgements(client, collection)) == bad.accepted


def test_a_mended_file_goes_on(client: FlowClient, tmp_path: Path) -> None:
    """Brought in again without its fault, the file adds what is behind it, and what was accepted is known."""
    path = tmp_path / "rows.csv"
    path.write_bytes(GOOD + b"r,c,1,1\nr,d,1\n")
    with pytest.raises(SourceError):
        import_file(client, path, collection="mended", **ROLES)
    path.write_bytes(GOOD + b"r,c,1\nr,d,1\n")
    report = import_file(client, path, collection="mended", **ROLES)
    assert (report.known, report.accepted) == (2, 2)
    assert judgements(client, "mended") == [("q", "a", 1), ("q", "b", -1), ("r", "c", 1), ("r", "d", 1)]


def test_a_row_that_cannot_be_taken_is_left_out(client: FlowClient, tmp_path: Path) -> None:
    """Unless the reading is strict, a label that is no number refuses its row alone, and tells its line."""
    path = tmp_path / "rows.csv"
    path.write_bytes(GOOD + b"r,c,perhaps\nr,d,1\n")
    report = import_file(client, path, collection="left-out", **ROLES)
    assert (report.accepted, report.refused) == (3, 1)
    [refusal] = report.refusals
    assert refusal.place == f"{path}:4"
    assert "'perhaps'" in refusal.reason


@pytest.mark.parametrize(
    ("name", "roles", "told"),
    [
        ("rows.txt", ROLES, "the suffix '.txt' tells no format"),
        ("rows.csv", {"anchor": "question"}, "judgements need a column for match or match_id"),
        ("rows.csv", {**ROLES, "sneed": 1}, "unknown option 'sneed'"),
        ("rows.csv", {}, "no roles are given, and only JSONL can hold match Documents"),
    ],
)
def test_roles_that_do_not_fit_are_told_before_anything_is_read(
    client: FlowClient, tmp_path: Path, name: str, roles: dict[str, Any], told: str
) -> None:
    """There need not even be a file."""
    with pytest.raises(OptionError, match=told):
        import_file(client, tmp_path / name, collection="never", **roles)
    assert judgements(client, "never") == []


def test_a_file_that_is_not_there_is_told(client: FlowClient, tmp_path: Path) -> None:
    """By its path."""
    with pytest.raises(SourceError, match=r"nowhere\.csv: the file cannot be read: No such file"):
        import_file(client, tmp_path / "nowhere.csv", collection="never", **ROLES)
