"""Files that end before their end: each is told with file and line, and nothing before the fault is lost."""

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from finetuner.doors import Roles, open_door, portions
from finetuner.doors.lines import LONGEST, read_lines
from finetuner.errors import SourceError
from tests.door_files import judgements, opened, until_fault

PAIRS: dict[str, Any] = {"anchor": "q", "match": "d"}
GOOD = {"csv": b"q,d\na,one\n", "tsv": b"q\td\na\tone\n", "jsonl": b'{"q": "a", "d": "one"}\n'}


@pytest.mark.parametrize(
    ("suffix", "data", "fault"),
    [
        ("csv", b"a,two,3\n", ":3: the row has 3 cells, the header 2"),
        ("csv", b"a\n", ":3: the row has 1 cells, the header 2"),
        ("csv", b"a,\xff\n", ":3: the line is not UTF-8"),
        ("csv", b"a,\0\n", ":3: this is no CSV: it holds NUL bytes"),
        ("csv", b'a,"two\n', ":3: the row is no CSV: unexpected end of data"),
        ("csv", b'a,"two"x\n', ":3: the row is no CSV"),
        ("tsv", b"a\ttwo\t3\n", ":3: the row has 3 cells, the header 2"),
        ("tsv", b"a\t\0\n", ":3: this is no TSV: it holds NUL bytes"),
        ("jsonl", b'{"q": "a", "d"\n', ":2: the line is no JSON"),
        ("jsonl", b'{"q": "a"} {}\n', ":2: the line is no JSON: Extra data"),
        ("jsonl", b"[" * 100_000 + b"\n", ":2: the line is no JSON"),
        ("jsonl", b'{"q": ' + b"1" * 5000 + b"}\n", ":2: the line is no JSON"),
        ("jsonl", b"[1, 2]\n", ":2: the line is a list; each line must be one JSON object"),
        ("jsonl", b'"text"\n', ":2: the line is a str"),
        ("jsonl", b'{"q": "\xff"}\n', ":2: the line is not UTF-8"),
        ("jsonl", b"\0\n", ":2: this is no JSONL: it holds NUL bytes"),
    ],
)
def test_what_was_read_before_a_fault_is_not_lost(
    tmp_path: Path, suffix: str, data: bytes, fault: str
) -> None:
    """The row before it comes in a pack, and then the SourceError, which begins with file:line."""
    path = tmp_path / f"x.{suffix}"
    packs, message = until_fault(opened(path, GOOD[suffix] + data, **PAIRS))
    assert judgements(packs) == [("a", "one", 1)]
    assert message[: len(f"{path}{fault}")] == f"{path}{fault}"


@pytest.mark.parametrize(
    ("suffix", "data", "fault"),
    [
        ("csv", b"", ":1: the header has no column 'd', 'q'; it has nothing"),
        ("csv", b"q,doc\na,b\n", ":1: the header has no column 'd'; it has 'q', 'doc'"),
        ("csv", b"q,d,q\na,b,c\n", ":1: the header has the column 'q' more than once"),
        ("csv", b"q;d\na;b\n", ":1: the header has no column 'd', 'q'; it has 'q;d'"),
        ("csv", b"\xff\xfeq\0,\0d\0\n\0", ":1: this is no CSV: it holds NUL bytes"),
        ("csv", b"\x1f\x8b\x08\x00" * 5, ":1: this is no CSV: it holds NUL bytes"),
        ("csv", b"q,d\ra,b\r", ":1: the row is no CSV: new-line character"),
        ("jsonl", b"", ": the file is empty"),
        (
            "jsonl",
            b'{"q": "a", "doc": "b"}\n{"q": "c"}\n',
            ": none of the first 2 lines has 'd'; the first has 'q', 'doc'",
        ),
        ("jsonl", b"{}\n", ": none of the first 1 lines has 'd', 'q'; the first has nothing"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_has_no_packs(
    tmp_path: Path, suffix: str, data: bytes, fault: str
) -> None:
    """Empty, without a column that a role names, or of another format: the message tells what is there."""
    path = tmp_path / f"x.{suffix}"
    packs, message = until_fault(opened(path, data, **PAIRS))
    assert packs == []
    assert message[: len(f"{path}{fault}")] == f"{path}{fault}"


@pytest.mark.parametrize("roles", [PAIRS, {}, {"content": "q", "class_column": "d"}])
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_missing_file_is_told(tmp_path: Path, suffix: str, roles: dict[str, Any]) -> None:
    """The path and the reason, in whatever way the file would be read."""
    if suffix == "csv" and not roles:
        return
    with pytest.raises(SourceError, match=rf"none\.{suffix}: the file cannot be read: No such file"):
        list(open_door(tmp_path / f"none.{suffix}", Roles(**roles)).packs)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """What cannot be opened is a SourceError, too."""
    with pytest.raises(SourceError, match="the file cannot be read: Is a directory"):
        list(open_door(tmp_path, Roles(**PAIRS, format="csv")).packs)


def test_a_label_that_is_sometimes_missing_in_json_is_unjudged(tmp_path: Path) -> None:
    """Only a key that no line has is taken for a mistake."""
    rows = [{"q": "a", "d": "one"}, {"q": "a", "d": "two", "l": 1}]
    door = opened(tmp_path / "x.jsonl", rows, **PAIRS, label="l")
    assert [label for *_, label in judgements(door.packs)] == [None, 1]


def test_a_line_that_is_too_long_is_told(tmp_path: Path) -> None:
    """The lines before it are read."""
    path = tmp_path / "x.csv"
    path.write_bytes(b"short\n" + b"x" * 11)
    lines = read_lines(path, longest=10)
    assert next(lines) == (1, "short\n")
    with pytest.raises(SourceError, match=r"x\.csv:2: the line is longer than 10 bytes"):
        next(lines)


def test_a_line_without_an_end_is_not_read_into_memory(tmp_path: Path) -> None:
    """Of a line of 4 GiB little more is read than a line may have, which is 64 MiB where nothing else is said."""
    assert LONGEST == 64 * 2**20
    path = tmp_path / "x.csv"
    with path.open("wb") as file:
        file.truncate(2**32)
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match=r"x\.csv:1: the line is longer than 1,048,576 bytes"):
            next(read_lines(path, longest=2**20))
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_portions_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of 10 bytes are parted after 30 where a portion may have 25."""
    monkeypatch.setattr(portions, "BYTES", 25)
    rows = [(number, ["x"], 10) for number in range(7)]
    found = portions.in_portions(rows, ["a"], where="")
    assert [portion.numbers for portion in found] == [[0, 1, 2], [3, 4, 5], [6]]


def test_faults_of_class_labels_come_after_the_contents(tmp_path: Path) -> None:
    """What was read is brought; judgements that half a file would give are not drawn."""
    packs, message = until_fault(
        opened(tmp_path / "x.csv", "t,k\na,1\nb,1\nc\n", content="t", class_column="k")
    )
    assert [(pack.texts, len(pack.anchors)) for pack in packs] == [(["a", "b"], 0)]
    assert "x.csv:4: the row has 1 cells" in message
