"""Files of users brought into the match data service, and collections taken out and brought back."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from executors.client import FlowClient
from executors.documents import MatchDocument
from executors.files import export, import_door, import_export, import_file
from finetuner.documents import Document, label_of, labelled
from finetuner.doors import read_qrels
from finetuner.doors.export import read_export
from finetuner.errors import (
    UnknownCollectionError,
)
from finetuner.packing import unpacked
from finetuner.packs import Feed, Pack
from tests.integration.asking import Judged, feed, feed_packs, judged, listed, snapshot, stream

CSV = "question,answer,useful\nq,a,yes\nq,b,no\nr,c,yes\n"
ROLES: dict[str, Any] = {
    "anchor": "question",
    "match": "answer",
    "label": "useful",
    "labels": {"yes": 1, "no": -1},
}
BY_TEXT: Judged = [("q", "a", 1), ("q", "b", -1), ("r", "c", 1)]


def rows() -> list[dict[str, str]]:
    """Return the rows of the CSV."""
    header, *lines = [line.split(",") for line in CSV.splitlines()]
    return [dict(zip(header, line, strict=True)) for line in lines]


def write_csv(path: Path) -> None:
    """Write the rows as CSV."""
    path.write_text(CSV)


def write_jsonl(path: Path) -> None:
    """Write them as objects."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()))


def write_parquet(path: Path) -> None:
    """Write them in columns."""
    pq.write_table(pa.Table.from_pylist(rows()), path)


def write_documents(path: Path) -> None:
    """Write them as match Documents."""
    documents = [
        {
            "text": name,
            "matches": [
                {"text": match, "tags": {"finetuner": {"label": label}}}
                for one, match, label in BY_TEXT
                if one == name
            ],
        }
        for name in ("q", "r")
    ]
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))


@pytest.mark.parametrize(
    ("name", "write", "roles"),
    [
        ("rows.csv", write_csv, ROLES),
        ("rows.jsonl", write_jsonl, ROLES),
        ("rows.parquet", write_parquet, ROLES),
        ("documents.jsonl", write_documents, {}),
    ],
)
def test_a_file_of_each_format_comes_in(
    client: FlowClient, tmp_path: Path, name: str, write: Callable[[Path], None], roles: dict[str, Any]
) -> None:
    """What it says is in the collection under its source; bringing it in again changes nothing."""
    write(tmp_path / name)
    reports = [
        import_file(client, tmp_path / name, collection=name, source="file", **roles) for _ in range(2)
    ]
    assert [(one.accepted, one.known, one.contents, one.refused) for one in reports] == [
        (3, 0, reports[0].contents, 0),
        (0, 3, 0, 0),
    ]
    emitted = stream(client, "/emit", MatchDocument, collection=name)
    assert [(one.text, match.text, label_of(match)) for one in emitted for match in one.matches] == BY_TEXT
    assert {
        document.tags["source"]
        for document, end in client.frames("/export", {"collection": name})
        if end is None
    } == {"file"}


def test_the_rows_of_a_file_that_are_refused_are_told_with_their_lines(
    client: FlowClient, tmp_path: Path
) -> None:
    """Those that the file cannot mean, and those that the collection cannot take."""
    path = tmp_path / "rows.csv"
    path.write_text("id,question,answer,useful\nx,q,a,yes\nx,q,b,perhaps\ny,r,c,no\n")
    feed(
        client, "refusing", Document("another", id="y", matches=[Document("a", id="a", tags=labelled({}, 1))])
    )
    report = import_file(client, path, collection="refusing", anchor_id="id", **ROLES)
    assert (report.accepted, report.refused) == (1, 2)
    assert {one.place for one in report.refusals} == {"document 'y'", f"{path}:3"}


def test_trec_judgements_come_in(client: FlowClient, tmp_path: Path) -> None:
    """Queries and documents in files of their own, and judgements by their ids."""
    files = {
        "qrels.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n",
        "queries.jsonl": '{"_id": "q1", "text": "who of them?"}\n',
        "corpus.jsonl": '{"_id": "d1", "text": "I am"}\n{"_id": "d2", "text": "you are"}\n{"_id": "d3", "text": "it is"}\n',
    }
    for name, data in files.items():
        (tmp_path / name).write_text(data)
    door = read_qrels(
        tmp_path / "qrels.tsv", corpus=tmp_path / "corpus.jsonl", queries=tmp_path / "queries.jsonl"
    )
    report = import_door(client, door, "trec", "nist")
    assert (report.accepted, report.contents, report.refused) == (2, 4, 0)
    assert judged(client, "trec") == [("q1", "d1", 2), ("q1", "d2", -1)]
    assert listed(client)["trec"]["anchors"] == 1


# taking out and bringing back


@pytest.fixture(scope="module")
def rich(client: FlowClient) -> str:
    """The name of a collection with all that there may be: two sources, weights, tags, unjudged ones, a corpus."""
    blob = np.arange(6, dtype=np.float32).reshape(2, 3)

    def document(name: str, number: int, tags: dict[str, Any], matches: Iterable[Document] = ()) -> Document:
        return Document(name, blob + number, tags, list(matches), name)

    matches = [
        document("a", 1, labelled({"page": 3}, 0.5, 2.0)),
        document("b", 2, labelled({}, -1)),
        document("c", 3, {}),
    ]
    fed = [
        document("q", 0, {"lang": "ü"}, matches),
        document("r", 4, {}, [document("a", 1, labelled({}, 1))]),
    ]
    feed(client, "rich-out", *fed, source="person")
    feed(
        client,
        "rich-out",
        Document(id="q", matches=[Document(id="a", tags=labelled({}, -0.5))]),
        source="rule",
    )
    nothing = np.zeros(0, np.int64)
    corpus = Pack(
        0,
        ["x", "y"],
        ["x", "y"],
        np.stack([blob - 1, blob - 2]),
        nothing,
        np.zeros(1, np.int64),
        nothing,
        np.zeros(0),
    )
    feed_packs(client, "rich-out", [corpus], at="2024-02-29T12:30:45.123456+01:00")
    return "rich-out"


def told(feeds: Iterable[Feed]) -> list[tuple[Any, ...]]:
    """Return a history as who said what when, however it is cut into packs."""
    return [
        (one.source, one.at, anchor.id, anchor.tags, match.id, match.tags)
        for one in feeds
        for anchor in unpacked([one.pack])
        for match in anchor.matches or [Document(id="none")]
    ]


@pytest.mark.parametrize("format_", ["parquet", "jsonl"])
def test_what_is_taken_out_and_brought_back_is_equal(
    client: FlowClient, rich: str, tmp_path: Path, format_: Literal["parquet", "jsonl"]
) -> None:
    """The new collection emits the same bytes, tags included, and has the same history of sources and times."""
    back = f"back-{format_}"
    export(client, rich, tmp_path / "out", format=format_)
    report = import_export(client, tmp_path / "out", collection=back)
    assert (report.accepted, report.refused) == (4, 0)
    assert snapshot(client, back, tags=True)["checksum"] == snapshot(client, rich, tags=True)["checksum"]
    export(client, back, tmp_path / "again", format=format_)
    assert told(read_export(tmp_path / "again")) == told(read_export(tmp_path / "out"))
    assert import_export(client, tmp_path / "out", collection=back).accepted == 0


def test_an_export_of_nothing_leaves_no_folder(client: FlowClient, tmp_path: Path) -> None:
    """The collection is unknown, and nothing is half written."""
    with pytest.raises(UnknownCollectionError, match="'nowhere'"):
        export(client, "nowhere", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
