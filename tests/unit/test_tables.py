"""The table reader: rows by column name, and every fault with its line."""

from pathlib import Path

import pytest

from finetuner.doors.tables import Row, read_table
from finetuner.errors import SourceError


def _written(folder: Path, data: bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(data)
    return path


def test_rows_come_by_column_name_with_the_line_on_which_they_begin(tmp_path: Path) -> None:
    """Quoted commas, quotes and line breaks are text; the line counts those breaks and empty lines."""
    data = 'a,b\n"1, ""one""\r\nmore",2\n\n,über\n'
    read = list(read_table(_written(tmp_path, data.encode()), required=["b", "a"]))
    assert read == [Row(2, {"a": '1, "one"\r\nmore', "b": "2"}), Row(5, {"a": "", "b": "über"})]


def test_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    """A file saved by a spreadsheet program has its first column under its name."""
    (row,) = read_table(_written(tmp_path, b"\xef\xbb\xbfa,b\r\n1,2\r\n"), required=["a"])
    assert row.cells == {"a": "1", "b": "2"}


def test_rows_are_read_while_they_are_asked_for(tmp_path: Path) -> None:
    """A fault further down does not keep the rows before it from being read."""
    rows = read_table(_written(tmp_path, b"a,b\n1,2\n3\n"), required=["a"])
    assert next(rows) == Row(2, {"a": "1", "b": "2"})
    with pytest.raises(SourceError):
        next(rows)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", ":1: the header has no column 'a', 'b'; it has nothing"),
        (b"b,c\n1,2\n", ":1: the header has no column 'a'; it has 'b', 'c'"),
        (b"\na,b,a\n", ":2: the header has the column 'a' more than once"),
        (b"a,b\n1,2\n3,4,5\n", ":3: the row has 3 cells, the header 2"),
        (b'a,b\n"1\n1",2\n3\n', ":4: the row has 1 cells, the header 2"),
        (b"a,b\n1,2\n\n3,\xff\n", ":4: the line is not UTF-8"),
        (b'a,b\n1,2\n3,"4\n5\n', ":3: the row is no CSV: unexpected end of data"),
        (b'a,b\n"1"x,2\n', ":2: the row is no CSV"),
    ],
    ids=["empty", "column", "twice", "long", "short", "encoding", "quote", "after-quote"],
)
def test_fault_is_named_with_file_and_line(tmp_path: Path, data: bytes, fault: str) -> None:
    """Each kind of fault is a SourceError that begins with file:line."""
    path = _written(tmp_path, data)
    with pytest.raises(SourceError) as raised:
        list(read_table(path, required=["a", "b"]))
    assert str(raised.value).startswith(f"{path}{fault}")


def test_missing_file_is_a_source_error(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(SourceError, match=r"none\.csv: the file cannot be read: No such file"):
        next(read_table(tmp_path / "none.csv", required=[]))
