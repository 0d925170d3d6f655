"""The match data service: what is fed, deleted, brought in from files, taken out, and emitted in parts."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from docarray import DocList

from executors.client import FlowClient
from executors.documents import MatchDocument, PackDocument, pack_to_wire
from executors.files import export, import_door, import_export, import_file
from finetuner.checksums import DocumentChecksum
from finetuner.documents import Document, label_of, labelled
from finetuner.doors import read_qrels
from finetuner.doors.export import read_export
from finetuner.errors import (
    ContentError,
    FinetunerError,
    LabelError,
    MatchDataError,
    OptionError,
    UnknownCollectionError,
)
from finetuner.packing import packed, unpacked
from finetuner.packs import Feed, Pack
from tests.integration.asking import stream, tune, wired
from tests.two_classes import match_documents

Judged = list[tuple[str, str, float | None]]
"""Anchor, match and label, by ids."""


def anchor(name: str, judged: dict[str, float | None], *, by_id: bool = False, **tags: Any) -> Document:
    """Return an anchor whose documents have their ids as texts, or, by id, no content."""

    def document(one: str, tags: dict[str, Any], matches: Iterable[Document] = ()) -> Document:
        return Document(None if by_id else one, tags=tags, id=one, matches=list(matches))

    found = [document(one, {} if label is None else labelled({}, label)) for one, label in judged.items()]
    return document(name, tags, found)


def feed(client: FlowClient, collection: str, *anchors: Document, **parameters: Any) -> dict[str, Any]:
    """Feed anchors, and return the report."""
    tags: dict[str, Any] = client.post("/feed", wired(anchors), collection=collection, **parameters)[0].tags
    return tags


def feed_packs(
    client: FlowClient, collection: str, packs: Iterable[Pack], **parameters: Any
) -> dict[str, Any]:
    """Feed packs, and return the report."""
    documents = DocList[PackDocument](map(pack_to_wire, packs))
    tags: dict[str, Any] = client.post("/feed_packs", documents, collection=collection, **parameters)[0].tags
    return tags


def judged(client: FlowClient, collection: str, **parameters: Any) -> Judged:
    """Return what a collection says."""
    return [
        (one.id, match.id, label_of(match))
        for one in unpacked(client.packs(collection, **parameters))
        for match in one.matches
    ]


def snapshot(client: FlowClient, collection: str, **parameters: Any) -> dict[str, Any]:
    """Read a collection, and return what exactly came."""
    packs = client.packs(collection, **parameters)
    for _ in packs:
        pass
    return packs.snapshot


def listed(client: FlowClient) -> dict[str, dict[str, Any]]:
    """Return what each collection holds."""
    return {report.id: report.tags for report in client.post("/collections")}


# feeding


def test_documents_that_are_known_are_fed_by_their_ids(client: FlowClient) -> None:
    """A judgement needs no contents again, neither that of its anchor nor that of its match."""
    feed(client, "known", anchor("q", {"a": 1, "b": -1}), anchor("r", {"c": 1}))
    report = feed(client, "known", anchor("q", {"c": 1, "a": 0.5}, by_id=True), source="other")
    assert (report["accepted"], report["contents"], report["contradicted"]) == (2, 0, 1)
    assert judged(client, "known") == [("q", "a", 0.5), ("q", "b", -1), ("q", "c", 1), ("r", "c", 1)]
    emitted = stream(client, "/emit", MatchDocument, collection="known")
    assert [match.text for match in emitted[0].matches] == ["a", "b", "c"]


def test_a_feed_with_an_unknown_id_stores_nothing(client: FlowClient) -> None:
    """The document is named, and what was good in the same request is not there either."""
    with pytest.raises(ContentError, match="document 'nobody': comes without content"):
        feed(client, "unknown-id", anchor("q", {"a": 1}), anchor("nobody", {"a": 1}, by_id=True))
    assert "unknown-id" not in listed(client)


def test_packs_leave_out_documents_that_cannot_be_stored(client: FlowClient) -> None:
    """An id that nobody knows, and one that is another content's, are told, and the rest of the pack is stored."""
    feed(client, "partly", anchor("q", {"a": 1}))
    other = Document("other content", id="a", tags=labelled({}, 1))
    stray = Document(id="nobody", tags=labelled({}, 1))
    fed = Document("r", id="r", matches=[other, stray, *anchor("", {"b": 1}).matches])
    report = feed_packs(client, "partly", packed([fed]))
    assert (report["accepted"], report["refused"]) == (1, 2)
    assert [one["place"] for one in report["refusals"]] == ["document 'a'", "document 'nobody'"]
    assert judged(client, "partly") == [("q", "a", 1), ("r", "b", 1)]


def test_packs_of_one_stream_may_be_fed_together(client: FlowClient) -> None:
    """Later packs refer to the documents of those before them."""
    documents = [anchor(f"stream q{number}", {"stream m": 1, f"stream m{number}": -1}) for number in range(5)]
    report = feed_packs(client, "together", packed(documents, anchors=2))
    assert (report["documents"], report["accepted"], report["contents"]) == (5, 10, 11)
    assert listed(client)["together"]["position"] == 1


GOOD = next(packed([anchor("q", {"a": 1, "b": -1})]))
UNFIT: dict[str, tuple[dict[str, Any], type[FinetunerError], str]] = {
    "no JSON": ({"ids": "[oops"}, ContentError, "a pack cannot be read"),
    "a row out of range": ({"matches": np.array([1, 7])}, ContentError, "a row is out of range"),
    "an infinite label": ({"labels": np.array([1, np.inf])}, LabelError, "label inf is not a finite number"),
    "a weight of 0": ({"weights": np.array([1.0, 0])}, LabelError, r"weight 0\.0 is not a finite number"),
    "an empty text": ({"texts": '["q", "", "b"]'}, ContentError, r"document 'a' has no \.text"),
    "another shape": ({"texts": None, "blobs": np.ones((3, 2))}, ContentError, r"holds \.blob"),
    "a pack is missing": ({"start": 9, "anchors": np.array([9])}, MatchDataError, "begins at row 9"),
}


@pytest.mark.parametrize(("column", "kind", "told"), UNFIT.values(), ids=UNFIT)
def test_an_unfit_pack_is_refused_with_those_before_it(
    client: FlowClient, column: dict[str, Any], kind: type[FinetunerError], told: str
) -> None:
    """A request is stored as a whole or not at all, and the error says what is wrong with the pack."""
    good, bad = pack_to_wire(GOOD), pack_to_wire(GOOD)
    for name, value in column.items():
        setattr(bad, name, value)
    with pytest.raises(kind, match=told):
        client.post("/feed_packs", DocList[PackDocument]([good, bad]), collection="unfit")
    assert "unfit" not in listed(client)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"at": "2026-11-24T08:00:00"}, "say the time zone"),
        ({"at": "yesterday"}, "'at' is 'yesterday'"),
        ({"source": ""}, "source ''"),
        ({"collection": "covid_qa"}, "'covid_qa' is made from a data set"),
        ({"sneed": 1}, "unknown option 'sneed'; accepted are at, collection, source"),
    ],
)
def test_an_unfit_parameter_of_packs_is_refused(
    client: FlowClient, parameters: dict[str, Any], told: str
) -> None:
    """It is told with what is accepted."""
    with pytest.raises(OptionError, match=told):
        feed_packs(client, **{"collection": "unfit", "packs": [GOOD], **parameters})
    assert "unfit" not in listed(client)


def test_no_pack_is_refused(client: FlowClient) -> None:
    """A request without packs is a mistake of its client."""
    with pytest.raises(MatchDataError, match="/feed_packs: no document was given"):
        client.post("/feed_packs", collection="unfit")


# deleting


def test_a_deleted_document_is_gone_with_all_that_was_said_about_it(client: FlowClient) -> None:
    """Nothing emits it, as an anchor or as a match, nor exports it, and nothing else is gone."""
    only_here = Document("only here", id="a", matches=anchor("", {"b": 1}).matches)
    feed(client, "less", anchor("q", {"b": -1}), only_here, anchor("r", {"c": 1}))
    feed(client, "less", anchor("q", {"a": 1}, by_id=True))
    deleted = client.post("/delete", collection="less", ids=["a", "nobody"])[0].tags
    assert deleted == {"documents": 1, "anchors": 1, "judgements": 2, "contents": 1}
    assert judged(client, "less") == [("q", "b", -1), ("r", "c", 1)]
    exported = [json.loads(document.ids) for document, _ in client.frames("/export", {"collection": "less"})]
    assert {name for names in exported for name in names} == {"b", "c", "q", "r"}


def test_a_deleted_collection_leaves_its_name_to_another(client: FlowClient) -> None:
    """It is unknown, and the next one of its name may hold other contents."""
    feed(client, "gone", anchor("q", {"a": 1}))
    assert client.post("/delete", collection="gone")[0].tags["documents"] == 2
    with pytest.raises(UnknownCollectionError, match="'gone'"):
        judged(client, "gone")
    feed(client, "gone", *match_documents(8))
    assert listed(client)["gone"]["position"] == 1


# lint


@pytest.fixture(scope="module")
def linted(client: FlowClient) -> dict[str, Any]:
    """The report about a collection with an anchor that matches itself, and two sources that disagree."""
    feed(client, "odd", anchor("q", {"q": 1, "a": 1, "b": -1}), anchor("r", {"a": -1}))
    feed(client, "odd", anchor("q", {"a": -1}), source="other")
    tags: dict[str, Any] = client.post("/lint", collection="odd", holdout=0, validation=0)[0].tags
    return tags


def test_lint_tells_what_is_doubtful_as_data(linted: dict[str, Any]) -> None:
    """Each finding has its count and the ids of examples, and sources that disagree are among them."""
    found = {one["name"]: (one["count"], one["examples"]) for one in linted["findings"]}
    assert found["contradictions"] == (1, [{"anchor": "q", "match": "a"}])
    assert found["self_matches"] == (1, [{"anchor": "q", "match": "q"}])
    assert (linted["counts"]["anchors"], linted["counts"]["negative"]) == (2, 3)


def test_lint_tells_the_same_as_a_table(linted: dict[str, Any]) -> None:
    """A person reads a row for each finding."""
    assert linted["table"].startswith("2 anchors, 4 documents, 4 contents\n")
    for one in linted["findings"]:
        [row] = [
            line
            for line in linted["table"].splitlines()
            if line.startswith(one["severity"] + " ") and one["name"].replace("_", " ") in line
        ]
        assert f" {one['count']:.0f} " in row


# files

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
    feed(client, "refusing", Document("another", id="y", matches=anchor("", {"a": 1}).matches))
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


# parts


@pytest.fixture(scope="module")
def many(client: FlowClient) -> str:
    """The name of a collection of 300 anchors to learn from, and of documents that nothing refers to."""
    feed(client, "many", *match_documents(300))
    lonely = [Document(blob=np.full(6, 100 + number, np.float32), id=f"x{number}") for number in range(50)]
    [pack] = packed(lonely)
    nothing = np.zeros(0, np.int64)
    feed_packs(
        client,
        "many",
        [Pack(0, pack.ids, None, pack.blobs, nothing, np.zeros(1, np.int64), nothing, np.zeros(0))],
    )
    return "many"


def anchors(client: FlowClient, collection: str, **parameters: Any) -> list[str]:
    """Return the ids of the anchors of a part."""
    return [one.id for one in unpacked(client.packs(collection, **parameters))]


def lonely(client: FlowClient, collection: str, **parameters: Any) -> list[str]:
    """Return the ids of documents in packs without anchors."""
    return [
        name for pack in client.packs(collection, **parameters) if not len(pack.anchors) for name in pack.ids
    ]


def test_shards_are_disjoint_and_complete(client: FlowClient, many: str) -> None:
    """Each judgement and each document that nothing refers to is in one of three shards."""
    shards = [{"shards": 3, "shard": shard} for shard in range(3)]
    for read in (judged, lonely):
        parts = [read(client, many, **shard) for shard in shards]
        assert min(map(len, parts)) > 0
        assert sorted(one for part in parts for one in part) == sorted(read(client, many))


def test_the_splits_are_those_of_a_run(client: FlowClient, many: str) -> None:
    """As many anchors are on each side, and the base ranks on the holdout exactly as the run has found."""
    shares: dict[str, Any] = {"validation": 0.2, "holdout": 0.3}
    run = client.post("/fit", collection=many, seed=7, epochs=1, promote="never", **shares)[0].id
    events = {report.tags["event"]: report.tags for report in stream(client, "/progress", run=run)}
    split = {"split_seed": 7, **shares}
    parts = {
        side: anchors(client, many, split=side, **split) for side in ("training", "validation", "holdout")
    }
    assert {side: len(part) for side, part in parts.items()} == {
        side: events["split"][side] for side in parts
    }
    assert sorted(name for part in parts.values() for name in part) == sorted(anchors(client, many))
    [report] = client.post("/evaluate", collection=many, emit={"split": "holdout", **split}, version="base")
    assert report.tags["metrics"]["v0"] == events["evaluated"]["metrics"]["v0"]


# snapshots


@dataclass(frozen=True)
class Snapped:
    """A run, and what was told of its data.

    Attributes:
        collection: Where the data came from.
        run: The id of the run.
        data: What ``/runs`` tells of it.
        version: What ``/models`` tells of the version that it made.
    """

    collection: str
    run: str
    data: dict[str, Any]
    version: dict[str, Any]


@pytest.fixture(scope="module")
def snapped(client: FlowClient) -> Snapped:
    """A run on the first 50 anchors of a collection, to which more is fed afterwards."""
    documents = match_documents(70)
    feed(client, "snapped", *documents[:60])
    last = tune(
        client, collection="snapped", emit={"num_total": 50}, run="snapped", epochs=1, promote="never"
    )
    feed(
        client,
        "snapped",
        *documents[60:],
        Document(id="d0", matches=[Document(id="d1", tags=labelled({}, 0.25))]),
    )
    [version] = [one.tags for one in client.post("/models") if one.id == last["version"]]
    return Snapped("snapped", "snapped", client.post("/runs", run="snapped")[0].tags["data"], version)


def test_a_run_tells_what_exactly_it_learnt_from(snapped: Snapped) -> None:
    """Collection, position, checksum and parameters are in the run and in the version that came of it."""
    assert snapped.data["collection"] == snapped.collection
    assert (snapped.data["position"], len(snapped.data["checksum"])) == (1, 64)
    assert snapped.data["parameters"] == {"position": 1, "kind": "blob", "num_total": 50}
    assert snapped.version["data"] == snapped.data


def test_a_snapshot_can_be_read_again(client: FlowClient, snapped: Snapped) -> None:
    """Whatever was fed since, the parameters of a snapshot give the same to the last bit, and the newest is other."""
    again = snapshot(client, snapped.collection, **snapped.data["parameters"])
    assert again == snapped.data
    newest = {name: value for name, value in snapped.data["parameters"].items() if name != "position"}
    assert snapshot(client, snapped.collection, **newest)["checksum"] != snapped.data["checksum"]


def test_a_snapshot_of_a_made_collection_can_be_made_again(client: FlowClient) -> None:
    """Its parameters, the seed among them, are all that it takes."""
    first = snapshot(client, "fashion_mnist", num_total=5, seed=3)
    assert (first["position"], first["parameters"]) == (0, {"num_total": 5, "seed": 3})
    assert snapshot(client, "fashion_mnist", **first["parameters"]) == first


def test_documents_of_a_request_have_a_checksum(client: FlowClient) -> None:
    """A run that got its data with the request tells the checksum of what came, and no collection."""
    documents, checksum = match_documents(30), DocumentChecksum()
    for document in documents:
        checksum.add(document)
    last = tune(client, wired(documents), epochs=1, promote="never")
    [version] = [one.tags for one in client.post("/models") if one.id == last["version"]]
    assert version["data"] == {"collection": None, "checksum": checksum.hexdigest()}


def test_a_snapshot_does_not_outlive_a_deletion(client: FlowClient) -> None:
    """What was deleted is gone from the past too, so that the checksum tells it."""
    feed(client, "shrinking", *match_documents(20))
    before = snapshot(client, "shrinking")
    client.post("/delete", collection="shrinking", ids=["d0"])
    after = snapshot(client, "shrinking", **before["parameters"])
    assert after["position"] == before["position"]
    assert after["checksum"] != before["checksum"]
