"""Export: what comes back is what went out, and what is not whole is told."""

import json
import sys
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuner.documents import Array, Document, labelled
from finetuner.doors import parquet
from finetuner.doors.export import Exported, Format, read_export, write_export
from finetuner.errors import OptionError, SourceError
from finetuner.packing import packed
from finetuner.packs import Feed, Pack

FORMATS: list[Format] = ["parquet", "jsonl"]
AT = datetime(2024, 2, 29, 12, 30, 45, 123456, tzinfo=UTC)


def judged(name: str, label: float | None = None, *, content: bool = True, **tags: Any) -> Document:
    """Return a match, judged or not."""
    return Document(
        text=f"text {name}" if content else None,
        id=name,
        tags=tags if label is None else labelled(tags, label, tags.pop("weight", 1)),
    )


def feed(*anchors: Document, source: str = "client", at: datetime = AT) -> Feed:
    """Return documents as one feed."""
    [pack] = packed(anchors, standalone=True)
    return Feed(source, at, pack)


def feeds() -> list[Feed]:
    """Return feeds with all that match data may have."""
    matches = [judged("b", 1), judged("c", -0.1, weight=2.5, lang="en"), judged("d"), judged("b", -1)]
    alone = Document(text='ä\u2028\n"x"', id="alone", tags={"page": 3})
    known = Document(id="a", matches=[judged("b", 0.5, content=False), judged("e", 1)])
    none = np.array([], np.int64)
    brought = Pack(0, ["f"], ["f"], None, none, np.zeros(1, np.int64), none, np.array([]))
    return [
        feed(Document(text="text a", id="a", matches=matches), alone, alone),
        feed(known, source="rater 2", at=AT + timedelta(microseconds=1)),
        Feed("client", AT, brought),
        feed(Document(id="alone"), Document(id="a", matches=[judged("b", 1, content=False)] * 2)),
    ]


def plain(fed: tuple[str, datetime, Pack]) -> tuple[Any, ...]:
    """Return a feed in a form that can be compared, whatever the rows of its documents are."""
    source, at, pack = fed
    blobs = pack.blobs
    weights = np.ones(len(pack.labels)) if pack.weights is None else pack.weights
    contents = (
        list(pack.ids[: pack.carried]),
        pack.texts and list(pack.texts),
        None if blobs is None else (blobs.dtype, blobs.shape, blobs.tolist()),
    )
    anchors = [pack.ids[row] for row in pack.anchors]
    anchor_tags = list(pack.anchor_tags or [""] * len(anchors))
    matches = [pack.ids[row] for row in pack.matches]
    labels = [None if np.isnan(label) else label for label in pack.labels.tolist()]
    match_tags = list(pack.match_tags or [""] * len(matches))
    judgements = (matches, labels, weights.tolist(), match_tags)
    return (source, at, contents, anchors, anchor_tags, pack.offsets.tolist(), judgements)


@pytest.mark.parametrize("format_", FORMATS)
def test_an_export_comes_back_as_it_was(tmp_path: Path, format_: Format) -> None:
    """Labels, weights, tags, unjudged matches, anchors alone and twice, ids alone, corpora, sources and times."""
    exported = write_export(feeds(), tmp_path / "out", format_)
    assert exported == Exported(feeds=4, documents=7, judgements=11)
    assert [plain(one) for one in read_export(tmp_path / "out")] == [plain(one) for one in feeds()]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_arrays_come_back_bit_by_bit(tmp_path: Path, format_: Format, dtype: type) -> None:
    """Shape and dtype, too, and a text beside each."""
    blobs: Array = np.array([[[1 / 3, 1e-30], [-0.0, 16777217]], [[3, 4], [5, 6]]]).astype(dtype)
    documents = [Document(text=f"t{row}", blob=blob, id=f"{row}") for row, blob in enumerate(blobs)]
    write_export([feed(*documents)], tmp_path / "out", format_)
    [fed] = read_export(tmp_path / "out")
    assert fed.pack.blobs is not None
    assert fed.pack.blobs.dtype == dtype
    assert (fed.pack.blobs.shape, fed.pack.blobs.tobytes()) == ((2, 2, 2), blobs.tobytes())
    assert fed.pack.texts == ["t0", "t1"]


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=3)
TAGS: st.SearchStrategy[dict[str, Any]] = st.sampled_from([{}, {"n": 1}, {"lang": "ü", "list": [1, None]}])
NUMBERS = st.floats(-1e30, 1e30, allow_nan=False)


@st.composite
def drawn_feeds(draw: st.DrawFn) -> list[Feed]:
    """Draw feeds of documents that all have texts, arrays or both, where any may be known by its id alone."""
    kinds = draw(st.sampled_from(["text", "blob", "both"]))
    dtype = draw(st.sampled_from([np.float32, np.int64]))

    def document(name: str, tags: dict[str, Any]) -> Document:
        value = sum(map(ord, name)) / 7
        text = name if kinds != "blob" else None
        blob = np.array([[value], [1]], dtype) if kinds != "text" else None
        is_known = bool(sum(map(ord, name)) % 3 == 0)
        return Document(None if is_known else text, None if is_known else blob, tags, id=name)

    def match() -> Document:
        tags, label = draw(TAGS), draw(st.none() | NUMBERS)
        weight = draw(st.sampled_from([1.0, 0.25]))
        return document(draw(NAMES), tags if label is None else labelled(tags, label, weight))

    def fed() -> Feed:
        anchors = []
        for _ in range(draw(st.integers(1, 3))):
            anchors.append(document(draw(NAMES), draw(TAGS)))
            anchors[-1].matches = [match() for _ in range(draw(st.integers(0, 3)))]
        offset = timezone(timedelta(hours=draw(st.integers(-3, 3))))
        at = draw(st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(offset)))
        return feed(*anchors, source=draw(NAMES), at=at)

    return [fed() for _ in range(draw(st.integers(0, 3)))]


@settings(max_examples=15, deadline=None)
@given(fed=drawn_feeds(), format_=st.sampled_from(FORMATS))
def test_any_feeds_come_back_as_they_were(fed: list[Feed], format_: Format) -> None:
    """Whatever was fed, in both formats."""
    with TemporaryDirectory() as folder:
        write_export(fed, Path(folder, "out"), format_)
        found = list(read_export(Path(folder, "out")))
    assert [plain(one) for one in found] == [plain(one) for one in fed]
    assert all(one.at.tzinfo is UTC for one in found)


def test_the_tables_of_jsonl_can_be_read_by_anybody(tmp_path: Path) -> None:
    """Each line is a row with plain names, values and nulls."""
    write_export(
        [feed(judged("x"), Document(id="a", matches=[judged("b", 1, lang="en")]))], tmp_path / "out", "jsonl"
    )
    documents, rows = (
        [json.loads(line) for line in (tmp_path / "out" / f"{name}.jsonl").read_bytes().splitlines()]
        for name in ("documents", "judgements")
    )
    when = {"feed": 0, "source": "client", "time": "2024-02-29T12:30:45.123456+00:00"}
    assert documents[0] == {**when, "id": "x", "text": "text x", "blob": None}
    of_match = {"match_id": "b", "label": 1.0, "weight": 1.0, "match_tags": '{"lang": "en"}'}
    assert rows == [
        {**when, "anchor_number": 0, "anchor_id": "x", "anchor_tags": None, **dict.fromkeys(of_match)},
        {**when, "anchor_number": 1, "anchor_id": "a", "anchor_tags": None, **of_match},
    ]


def test_the_tables_of_parquet_can_be_read_by_anybody(tmp_path: Path) -> None:
    """Their columns have plain types; a blob is bytes beside its dtype and shape."""
    write_export([feed(Document(blob=np.ones((1, 2), np.float32), id="x"))], tmp_path / "out")
    read = parquet.pyarrow("pyarrow.parquet").read_table
    [row] = read(tmp_path / "out" / "documents.parquet").to_pylist()
    assert (row["blob"], row["dtype"], row["shape"]) == (np.ones(2, np.float32).tobytes(), "float32", [1, 2])
    schema = read(tmp_path / "out" / "judgements.parquet").schema
    assert {field.name: str(field.type) for field in schema} == {
        **dict.fromkeys(["feed", "anchor_number"], "int64"),
        "time": "timestamp[us, tz=UTC]",
        **dict.fromkeys(["source", "anchor_id", "anchor_tags", "match_id", "match_tags"], "string"),
        **dict.fromkeys(["label", "weight"], "double"),
    }


@pytest.mark.parametrize("format_", FORMATS)
def test_an_export_of_nothing_is_an_export(tmp_path: Path, format_: Format) -> None:
    """It is complete, and nothing comes back."""
    assert write_export([], tmp_path / "out", format_) == Exported(0, 0, 0)
    assert list(read_export(tmp_path / "out")) == []


def test_an_export_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    """What is written aside goes away with the error, and the folder does not appear."""

    def broken() -> Iterator[Feed]:
        yield feeds()[0]
        assert [path.name.endswith(".part") for path in tmp_path.iterdir()] == [True]
        raise SourceError("gone")

    with pytest.raises(SourceError, match="gone"):
        write_export(broken(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_export_does_not_replace_anything(tmp_path: Path) -> None:
    """A folder that is there is left alone."""
    with pytest.raises(OptionError, match="this is there already"):
        write_export(feeds(), tmp_path)


def test_an_export_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Where a file stands in the place of a folder, for one."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="this cannot be written: Not a directory"):
        write_export(feeds(), tmp_path / "file" / "out", "jsonl")


@pytest.mark.parametrize(
    ("about", "fault"),
    [
        (None, "there is no export.json"),
        ("{", "this does not describe an export"),
        ("[]", "this does not describe an export"),
        ('{"version": 1, "format": "xml"}', "this does not describe an export"),
        (
            '{"version": 9, "format": "jsonl", "documents": 1, "judgements": 1}',
            "version of the layout is 9; this Finetuner reads 1",
        ),
    ],
)
def test_a_folder_that_is_no_export_is_told(tmp_path: Path, about: str | None, fault: str) -> None:
    """At once, before anything is read: without export.json it is incomplete."""
    write_export(feeds(), tmp_path / "out", "jsonl")
    (tmp_path / "out" / "export.json").unlink()
    if about is not None:
        (tmp_path / "out" / "export.json").write_text(about)
    with pytest.raises(SourceError, match=fault):
        read_export(tmp_path / "out")


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("table", ["documents", "judgements"])
def test_a_table_that_is_missing_or_cut_is_told(tmp_path: Path, format_: Format, table: str) -> None:
    """Nobody takes a part of an export for all of it."""
    write_export(feeds(), tmp_path / "out", format_)
    path = tmp_path / "out" / f"{table}.{format_}"
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) if format_ == "jsonl" else data[:-9])
    with pytest.raises(SourceError, match=str(tmp_path / "out")):
        list(read_export(tmp_path / "out"))
    path.unlink()
    with pytest.raises(SourceError, match=rf"{table}\.{format_}"):
        list(read_export(tmp_path / "out"))


@pytest.mark.parametrize(
    ("table", "change", "fault"),
    [
        ("documents", {"id": None}, "feed 0 is damaged: a document has no id"),
        ("documents", {"text": None}, "feed 0 is damaged: some documents hold"),
        ("documents", {"feed": 5}, "feed 0 is out of order"),
        ("documents", {"feed": "x"}, "feed 'x' is out of order"),
        ("documents", {"blob": [1], "dtype": "object"}, "this is no table of documents: .*dtype object"),
        ("documents", {"blob": [[1], []], "dtype": "int64"}, "this is no table of documents"),
        ("judgements", {"label": "x"}, "feed 0 is damaged"),
        ("judgements", {"time": "now"}, "this is no table of judgements"),
        ("judgements", {"anchor_id": None}, "feed 0 is damaged: a document has no id"),
    ],
)
def test_a_row_that_was_changed_is_told(
    tmp_path: Path, table: str, change: dict[str, Any], fault: str
) -> None:
    """What does not fit together is a SourceError, whatever it is."""
    write_export(feeds(), tmp_path / "out", "jsonl")
    path = tmp_path / "out" / f"{table}.jsonl"
    first, *others = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text(json.dumps({**json.loads(first), **change}) + "\n" + "".join(others), encoding="utf-8")
    with pytest.raises(SourceError, match=fault):
        list(read_export(tmp_path / "out"))


@pytest.mark.parametrize("format_", FORMATS)
def test_memory_does_not_grow_with_the_export(tmp_path: Path, format_: Format) -> None:
    """A hundred feeds of 200 kB are written and read with less than a quarter of them in memory."""

    def large() -> Iterator[Feed]:
        for number in range(100):
            yield feed(Document(text=chr(97 + number % 26) * 200_000, id=f"{number}"))

    with pytest.MonkeyPatch.context() as patch:
        for module in ("export", "export_tables", "parquet"):
            patch.setattr(f"finetuner.doors.{module}.BYTES", 2**18)
        tracemalloc.start()
        try:
            write_export(large(), tmp_path / "out", format_)
            assert sum(len(one.pack.ids) for one in read_export(tmp_path / "out")) == 100
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()


def test_without_pyarrow_it_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing Parquet and reading it are refused at once; JSON Lines need nothing."""
    write_export(feeds(), tmp_path / "out")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(OptionError, match="pip install"):
        write_export(feeds(), tmp_path / "other")
    with pytest.raises(OptionError, match="pip install"):
        read_export(tmp_path / "out")
    write_export(feeds(), tmp_path / "lines", "jsonl")
    assert len(list(read_export(tmp_path / "lines"))) == 4
