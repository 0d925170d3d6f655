"""Parquet: the same as other tables, and faults with their row group."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.doors import Door, Roles, open_door, parquet
from finetuner.errors import OptionError, SourceError
from finetuner.packs import MATCHES
from tests.door_files import judgements, opened, reasons, until_fault, weights

PAIRS: dict[str, Any] = {"anchor": "q", "match": "d"}
arrow, arrow_parquet = parquet.pyarrow(), parquet.pyarrow("pyarrow.parquet")


def written(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    """Write columns as a Parquet file."""
    arrow_parquet.write_table(arrow.table(columns), path, **options)
    return path


def door(path: Path, columns: dict[str, Any], **roles: Any) -> Door:
    """Write a file and open it."""
    return open_door(written(path, columns), Roles(**roles))


def test_a_table_says_the_same_in_parquet_and_csv(tmp_path: Path) -> None:
    """Judgements, weights and ids of documents are equal, also where cells are empty."""
    columns = {"q": ["a", "a", "b"], "d": ["x", "y", "x"], "l": [1.0, None, -1.0], "w": [None, 2.0, 3.0]}
    roles = {**PAIRS, "label": "l", "weight": "w"}
    lines = [
        "q,d,l,w",
        *(
            ",".join("" if one is None else str(one) for one in row)
            for row in zip(*columns.values(), strict=True)
        ),
    ]
    packs = list(door(tmp_path / "x.parquet", columns, **roles).packs)
    others = list(opened(tmp_path / "x.csv", "\n".join(lines), **roles).packs)
    assert judgements(packs) == judgements(others)
    assert weights(packs) == weights(others)
    assert [pack.ids for pack in packs] == [pack.ids for pack in others]


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view"])
def test_every_type_of_text_is_read(tmp_path: Path, kind: str) -> None:
    """An empty cell is empty in each of them, and refuses its row."""
    column = arrow.array(["a", None, "b"], getattr(arrow, kind)())
    found = door(tmp_path / "x.parquet", {"q": column, "d": column}, **PAIRS)
    assert judgements(found.packs) == [("a", "a", 1), ("b", "b", 1)]
    assert (
        reasons(found) == [("row 2", "column 'd' is empty; it needs a text, or numbers")]
        or found.refused == 1
    )


def test_dictionaries_are_read_as_what_they_name(tmp_path: Path) -> None:
    """A categorical column of pandas is text, and empty where it is empty."""
    column = arrow.array(["a", None, "a"]).dictionary_encode()
    found = door(tmp_path / "x.parquet", {"q": column, "d": ["x", "y", "z"]}, **PAIRS)
    assert judgements(found.packs) == [("a", "x", 1), ("a", "z", 1)]


@pytest.mark.parametrize("kind", ["int8", "uint16", "int64", "float32", "float64"])
def test_every_type_of_number_is_a_label(tmp_path: Path, kind: str) -> None:
    """Null is unjudged."""
    labels = arrow.array([1, 0, None], getattr(arrow, kind)())
    columns = {"q": ["a"] * 3, "d": ["x", "y", "z"], "l": labels}
    assert [
        one for *_, one in judgements(door(tmp_path / "x.parquet", columns, **PAIRS, label="l").packs)
    ] == [1, 0, None]


def test_a_label_of_nan_is_refused(tmp_path: Path) -> None:
    """NaN is not null: it may be a mistake of a program, so its row is told."""
    columns = {"q": ["a", "a"], "d": ["x", "y"], "l": np.array([1, np.nan])}
    [(place, reason)] = reasons(door(tmp_path / "x.parquet", columns, **PAIRS, label="l"))
    assert (place, reason) == ("row 2", "label nan is not a number; use 1, -1 or leave it empty")


@pytest.mark.parametrize("kind", ["list_", "large_list", "fixed"])
def test_lists_of_lists_are_arrays(tmp_path: Path, kind: str) -> None:
    """An image of 2 x 3 is one array of that shape, float32, however its lists are kept."""
    images = np.arange(24, dtype=np.float64).reshape(4, 2, 3)
    make = {"list_": arrow.list_, "large_list": arrow.large_list, "fixed": lambda of: arrow.list_(of, 3)}[
        kind
    ]
    column = arrow.array(images.tolist(), arrow.list_(make(arrow.float64())))
    [pack] = door(tmp_path / "x.parquet", {"q": column, "d": column.take([1, 1, 2, 3])}, **PAIRS).packs
    assert pack.blobs is not None
    assert pack.blobs.dtype == np.float32
    assert np.array_equal(pack.blobs[pack.matches], images[[1, 1, 2, 3]])
    assert np.array_equal(pack.blobs[pack.anchors], images)


def test_lists_of_whole_numbers_are_token_ids(tmp_path: Path) -> None:
    """They are int64, of whatever width they are kept."""
    column = arrow.array([[1, 2], [3, 4]], arrow.list_(arrow.int16()))
    [pack] = door(tmp_path / "x.parquet", {"q": column, "d": column}, **PAIRS).packs
    assert pack.blobs is not None
    assert pack.blobs.dtype == np.int64
    assert len(pack.ids) == 2


@pytest.mark.parametrize("unfit", [None, [1.0], [1.0, 2.0, 3.0], [1.0, None], [1.0, np.nan], []], ids=str)
def test_an_unfit_array_refuses_its_row(tmp_path: Path, unfit: Any) -> None:
    """Beside it, arrays are read as if it were not there."""
    column = arrow.array([[0.0, 1.0], unfit, [2.0, 3.0]], arrow.list_(arrow.float32()))
    found = door(
        tmp_path / "x.parquet",
        {"q": ["a", "b", "c"], "i": ["a", "b", "c"], "d": column},
        anchor_id="i",
        match="d",
    )
    packs = list(found.packs)
    assert packs[0].blobs is not None
    assert packs[0].blobs.tolist() == [[0, 1], [2, 3]]
    assert [one.place for one in found.refusals] == [f"{tmp_path / 'x.parquet'}: row 2"]


def test_rows_are_numbered_through_the_file(tmp_path: Path) -> None:
    """A refusal in a later row group tells the row of the file."""
    columns = {"q": ["a"] * 500, "d": ["x"] * 499 + [""]}
    written(tmp_path / "x.parquet", columns, row_group_size=100)
    assert reasons(open_door(tmp_path / "x.parquet", Roles(**PAIRS)))[0][0] == "row 500"


def test_small_row_groups_are_not_small_packs(tmp_path: Path) -> None:
    """Row groups of 10 rows are gathered into packs as large as others."""
    columns = {"q": [f"q{number // 7}" for number in range(9000)], "d": ["x"] * 9000}
    written(tmp_path / "x.parquet", columns, row_group_size=500)
    packs = list(open_door(tmp_path / "x.parquet", Roles(**PAIRS)).packs)
    assert [len(pack.matches) for pack in packs] == [MATCHES - MATCHES % 7, 9000 - MATCHES + MATCHES % 7]


def test_large_contents_are_read_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of 1 KiB are not read 8,192 at a time where a portion may have 32 KiB: the first rows tell."""
    monkeypatch.setattr(parquet, "BYTES", 2**15)
    path = written(tmp_path / "x.parquet", {"d": ["x" * 2**10] * 200})
    sizes = [len(portion.numbers) for portion in parquet.read_columns(path, ["d"])]
    assert (max(sizes) <= 32, sum(sizes)) == (True, 200)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ([b"a"], "binary"),
        ([{"a": 1}], "struct<a: int64>"),
        ([["a"]], "list<element: string>"),
        (np.array(["2024-01-01"], "datetime64[ms]"), "timestamp[ms]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_column_of_another_type_is_named(tmp_path: Path, column: Any, kind: str) -> None:
    """The message tells the column, its type, and what can be read."""
    packs, fault = until_fault(door(tmp_path / "x.parquet", {"q": ["a"], "d": column}, **PAIRS))
    assert packs == []
    assert f"the column 'd' is of type {kind}; text, numbers, and lists of numbers can be read" in fault


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    """A misspelt role is told beside the spellings to choose from."""
    _, fault = until_fault(door(tmp_path / "x.parquet", {"q": ["a"], "doc": ["x"]}, **PAIRS))
    assert fault == f"{tmp_path / 'x.parquet'}: there is no column 'd'; there are 'q', 'doc'"


@pytest.mark.parametrize("data", [b"", b"PAR1", b"q,d\na,b\n" * 10])
def test_a_file_that_is_no_parquet_is_told(tmp_path: Path, data: bytes) -> None:
    """Nothing, a beginning, or another format."""
    path = tmp_path / "x.parquet"
    path.write_bytes(data)
    _, fault = until_fault(open_door(path, Roles(**PAIRS)))
    assert fault.startswith(f"{path}: this cannot be read as Parquet: ")


def test_a_truncated_file_is_told(tmp_path: Path) -> None:
    """A file whose end is missing has no footer, and so no readable row."""
    path = written(tmp_path / "x.parquet", {"q": ["a"] * 100, "d": ["b"] * 100})
    path.write_bytes(path.read_bytes()[:-50])
    assert until_fault(open_door(path, Roles(**PAIRS)))[0] == []


def test_damage_ends_the_reading_after_the_row_groups_before_it(tmp_path: Path) -> None:
    """Pages of the second row group that are no longer what was written are found by their checksums."""
    columns = {"q": [f"anchor {number}" for number in range(3000)], "d": ["x"] * 3000}
    path = written(
        tmp_path / "x.parquet", columns, row_group_size=1000, write_page_checksum=True, compression="none"
    )
    group = arrow_parquet.read_metadata(path).row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = group.dictionary_page_offset
    data[start:] = data[start:].replace(b"anchor 1500", b"anchor 0000", 1)
    path.write_bytes(data)
    packs, fault = until_fault(open_door(path, Roles(**PAIRS)))
    assert [anchor for anchor, *_ in judgements(packs)] == columns["q"][:1000]
    assert fault.startswith(f"{path}: row group 2 of 3: this cannot be read as Parquet")


def test_without_pyarrow_it_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The door does not open, while other formats need no pyarrow."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(OptionError, match=r"pip install finetuner\[tables\]"):
        open_door(tmp_path / "x.parquet", Roles(**PAIRS))
    assert len(judgements(opened(tmp_path / "x.csv", "q,d\na,b\n", **PAIRS).packs)) == 1


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """The path and the reason."""
    with pytest.raises(
        SourceError, match=r"none\.parquet: this cannot be read as Parquet: .*[Nn]o such file"
    ):
        list(open_door(tmp_path / "none.parquet", Roles(**PAIRS)).packs)
