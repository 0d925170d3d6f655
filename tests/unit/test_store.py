"""The match store: what it keeps, what it refuses, and what outlives a crash."""

import sqlite3
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from finetuner import packing
from finetuner.documents import Document, labelled
from finetuner.errors import (
    ContentError,
    FinetunerError,
    LabelError,
    MatchDataError,
    OptionError,
    SourceError,
    UnknownCollectionError,
)
from finetuner.matches import MatchSet
from finetuner.store import CollectionInfo, FeedReport, database, schema
from tests.document_store import DocumentStore

POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves this one open
TABLES = [table.name for table in schema.metadata.sorted_tables]


def judged(name: str, label: float | None, **fields: Any) -> Document:
    """Return a match named ``name``, which is also its text unless other content is given."""
    tags = fields.pop("tags", {})
    tags = tags if label is None else labelled(tags, label)
    return Document(**{"text": None if "blob" in fields else name, **fields}, tags=tags, id=name)


def asked(name: str, *matches: Document, **fields: Any) -> Document:
    """Return an anchor named ``name``, which is also its text unless other content is given."""
    return Document(**{"text": None if "blob" in fields else name, **fields}, matches=list(matches), id=name)


def labels_in(store: DocumentStore, collection: str = "c") -> dict[tuple[str, str], float | None]:
    """Return the emitted labels by (anchor, match)."""
    return {
        (anchor.id, match.id): match.tags.get("finetuner", {}).get("label")
        for anchor in store.documents(collection)
        for match in anchor.matches
    }


def rows_of(file: Path) -> dict[str, list[Any]]:
    """Return all rows of all tables, read without the store."""
    with closing(sqlite3.connect(file)) as connection:
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in TABLES}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where the database of the store is."""
    return tmp_path / "data" / "matches.db"


@pytest.fixture
def store(file: Path) -> Iterator[DocumentStore]:
    """Return an empty store."""
    with closing(DocumentStore(f"sqlite:///{file}")) as opened:
        yield opened


def test_documents_come_back_as_they_were_fed(store: DocumentStore) -> None:
    """Ids, contents, tags, labels and the order of anchors and matches are those of the feed."""
    image = np.arange(6, dtype=np.float32).reshape(2, 3)
    first = asked(
        "q2", judged("m9", 1, blob=image, tags={"class": 3}), judged("m1", -1, blob=image + 1), blob=image + 2
    )
    first.tags = {"class": 3, "finetuner": {"split": "train"}}
    store.feed_documents("c", [first, asked("q1", judged("m5", 0.5, blob=image + 3), blob=image + 4)])
    q2, q1 = store.documents("c")
    assert [d.id for d in (q2, *q2.matches, q1, *q1.matches)] == ["q2", "m9", "m1", "q1", "m5"]
    assert q2.tags == first.tags
    assert q2.matches[0].tags == {"class": 3, "finetuner": {"label": 1}}
    assert q2.text is None
    assert isinstance(q2.blob, np.ndarray)
    np.testing.assert_array_equal(image + 2, q2.blob)
    np.testing.assert_array_equal(image, np.asarray(q2.matches[0].blob))


def test_a_match_set_is_the_same_before_and_after(store: DocumentStore) -> None:
    """Training on what was stored is training on what was fed."""
    fed = [asked(f"q{i}", judged(f"a{i}", 1), judged(f"a{i + 1}", -1)) for i in range(5)]
    store.feed_documents("c", fed)
    before, after = MatchSet.from_documents(fed), MatchSet.from_documents(store.documents("c"))
    assert before.contents == after.contents
    assert before.ids == after.ids
    np.testing.assert_array_equal(before.matches, after.matches)
    np.testing.assert_array_equal(before.labels, after.labels)


def test_text_and_array_are_both_kept(store: DocumentStore) -> None:
    """A document with a text and token ids has both when it comes back."""
    store.feed_documents(
        "c", [asked("q", judged("a", 1, text="answer", blob=[2, 3]), text="question", blob=[1, 2])]
    )
    (anchor,) = store.documents("c")
    assert (anchor.text, np.asarray(anchor.blob).tolist()) == ("question", [1, 2])
    assert (anchor.matches[0].text, np.asarray(anchor.matches[0].blob).tolist()) == ("answer", [2, 3])


def test_a_text_that_no_encoding_knows_is_kept(store: DocumentStore) -> None:
    """A lone surrogate, as it comes out of damaged files, goes in and out."""
    store.feed_documents("c", [asked("q", text="broken \ud800")])
    assert [document.text for document in store.documents("c")] == ["broken \ud800"]


def test_emitted_arrays_cannot_be_written_to(store: DocumentStore) -> None:
    """Documents share their arrays, so nobody may change one under the others."""
    store.feed_documents("c", [asked("q", blob=[1.0, 2.0])])
    (anchor,) = store.documents("c")
    assert isinstance(anchor.blob, np.ndarray)
    assert not anchor.blob.flags.writeable


def test_feeding_the_same_again_changes_no_row(store: DocumentStore, file: Path) -> None:
    """A retried feed is reported as known and leaves every table as it was."""
    fed = [asked("q", judged("a", 1, tags={"class": 1}), judged("b", -1), judged("u", None))]
    assert store.feed_documents("c", fed) == FeedReport(documents=1, contents=4, accepted=2)
    before = rows_of(file)
    assert len(before["feeds"]) == 1
    assert store.feed_documents("c", fed) == FeedReport(documents=1, known=2)
    assert rows_of(file) == before


def test_a_later_label_of_the_source_supersedes_and_the_old_row_stays(
    store: DocumentStore, file: Path
) -> None:
    """A source that changes its mind is heard, and what it had said is still on record with its time."""
    store.feed_documents("c", [asked("q", judged("a", 1))], source="anna")
    report = store.feed_documents("c", [asked("q", judged("a", -1))], source="anna")
    assert (report.accepted, report.contradicted, report.known) == (1, 1, 0)
    assert labels_in(store) == {("q", "a"): -1}
    rows = rows_of(file)
    assert [row[5] for row in rows["judgements"]] == [1, -1]
    assert [source for _, _, source, _ in rows["feeds"]] == ["anna", "anna"]
    assert rows["feeds"][0][3] < rows["feeds"][1][3]
    assert store.collections() == [CollectionInfo("c", anchors=1, contents=2, judgements=1, position=2)]


def test_two_sources_may_disagree(store: DocumentStore) -> None:
    """A contradiction is reported, each source's word is kept, and the newest word of all is emitted."""
    store.feed_documents("c", [asked("q", judged("a", 1))], source="anna")
    assert store.feed_documents("c", [asked("q", judged("a", -1))], source="ben").contradicted == 1
    assert store.feed_documents("c", [asked("q", judged("a", 1))], source="anna").known == 1
    assert labels_in(store) == {("q", "a"): -1}
    assert store.collections()[0].judgements == 2


def test_within_a_feed_the_last_label_holds(store: DocumentStore) -> None:
    """A feed that contradicts itself is read in its order and says so."""
    report = store.feed_documents(
        "c", [asked("q", judged("a", 1)), asked("q", judged("a", -1), judged("a", -1))]
    )
    assert (report.accepted, report.contradicted, report.known) == (2, 1, 1)
    assert labels_in(store) == {("q", "a"): -1}


def test_an_unjudged_match_is_kept_and_takes_nothing_back(store: DocumentStore) -> None:
    """A match without a label stays unjudged, and a judged one stays judged when it comes without."""
    store.feed_documents("c", [asked("q", judged("a", 1), judged("u", None))])
    assert store.feed_documents("c", [asked("q", judged("a", None))]) == FeedReport(documents=1)
    assert labels_in(store) == {("q", "a"): 1, ("q", "u"): None}


def test_the_flat_label_is_read_and_the_label_key_written(store: DocumentStore) -> None:
    """The later, flat spelling goes in; what comes out has the one label key."""
    match = Document("a", tags={"finetuner_label": -1, "class": 2}, id="a")
    store.feed_documents("c", [asked("q", match)])
    (anchor,) = store.documents("c")
    assert anchor.matches[0].tags == {"class": 2, "finetuner": {"label": -1}}


def test_matches_are_added_to_an_anchor_that_comes_again(store: DocumentStore) -> None:
    """An anchor gathers its matches over several feeds."""
    store.feed_documents("c", [asked("q", judged("b", 1))])
    store.feed_documents("c", [asked("q", judged("a", -1))])
    assert list(labels_in(store)) == [("q", "b"), ("q", "a")]


def test_the_newest_tags_hold_unless_there_are_none(store: DocumentStore) -> None:
    """Tags can be corrected, and feedback without tags does not wipe them out."""
    fed = [asked("q", judged("a", 1, tags=tags)) for tags in ({"class": 1}, {"class": 2}, {})]
    store.feed_documents("at_once", fed)
    for anchor in fed:
        store.feed_documents("one_by_one", [anchor])
    for collection in ("at_once", "one_by_one"):
        (anchor,) = store.documents(collection)
        assert anchor.matches[0].tags["class"] == 2


def test_numpy_scalars_in_tags_become_numbers(store: DocumentStore) -> None:
    """Tags made with NumPy are kept as plain JSON."""
    store.feed_documents(
        "c", [asked("q", judged("a", 1, tags={"class": np.int64(3), "deep": [np.float32(0.5)]}))]
    )
    (anchor,) = store.documents("c")
    assert anchor.matches[0].tags == {"class": 3, "deep": [0.5], "finetuner": {"label": 1}}


def test_contents_are_kept_once_over_all_collections(store: DocumentStore, file: Path) -> None:
    """The same content under other ids and in another collection takes no more room."""
    assert (
        store.feed_documents(
            "one", [asked("q", judged("a", 1, text="same"), judged("b", 1, text="same"))]
        ).contents
        == 2
    )
    assert store.feed_documents("two", [asked("x", text="q"), asked("y", text="same")]).contents == 0
    assert len(rows_of(file)["contents"]) == 2
    assert [info.contents for info in store.collections()] == [2, 2]


BAD: list[tuple[Document, type[FinetunerError]]] = [
    (Document(id="bad"), ContentError),
    (Document(blob=np.array([np.nan]), id="bad"), ContentError),
    (Document("x", tags={"finetuner": {"label": "yes"}}, id="bad"), LabelError),
    (Document("x", tags={"when": {1, 2}}, id="bad"), ContentError),
    (Document("x", tags={"score": float("nan")}, id="bad"), ContentError),
    (Document("x", id="bad\ud800"), ContentError),
    (Document("other content", id="good"), ContentError),
    (Document(blob=np.ones(2), id="bad"), ContentError),
]


@pytest.mark.parametrize(("match", "error"), BAD)
def test_a_refused_document_is_named_and_nothing_of_its_feed_is_stored(
    store: DocumentStore,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    match: Document,
    error: type[FinetunerError],
) -> None:
    """A fault in the last match undoes what portions before it had written already."""
    monkeypatch.setattr(store, "anchors", 1)
    with pytest.raises(error, match=r"bad|good"):
        store.feed_documents("c", [asked("q", judged("good", 1)), asked("r", judged("fine", 1), match)])
    assert not any(rows_of(file).values())


def test_a_document_without_an_id_is_refused(store: DocumentStore) -> None:
    """Without an id there is nothing by which a judgement could be found again."""
    with pytest.raises(ContentError, match="no id"):
        store.feed_documents("c", [asked("")])


def test_an_id_names_one_content_within_a_collection(store: DocumentStore) -> None:
    """Another content under a known id is refused, within a feed and later; another collection is free."""
    with pytest.raises(ContentError, match="'a' comes twice"):
        store.feed_documents("c", [asked("q", judged("a", 1), judged("a", 1, text="other"))])
    store.feed_documents("c", [asked("q", judged("a", 1))])
    with pytest.raises(ContentError, match="'a': the collection 'c' has that id"):
        store.feed_documents("c", [asked("a", text="other")])
    store.feed_documents("d", [asked("a", text="other")])
    assert labels_in(store) == {("q", "a"): 1}
    assert [anchor.text for anchor in store.documents("d")] == ["other"]


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ({"text": "t"}, {"blob": [1]}),
        ({"blob": [1]}, {"text": "t"}),
        ({"blob": [1]}, {"blob": [1, 2]}),
        ({"blob": [1]}, {"blob": [0.5]}),
        ({"text": "t", "blob": [1]}, {"blob": [1]}),
        ({"text": "t"}, {"text": "t", "blob": [1]}),
    ],
)
def test_a_collection_holds_what_its_first_document_holds(
    store: DocumentStore, first: dict[str, Any], later: dict[str, Any]
) -> None:
    """A document that lacks the kind, shape or dtype of the first is refused by name, in a feed and later."""
    with pytest.raises(ContentError, match=r"'later'(: the .blob is| holds)"):
        store.feed_documents("c", [Document(**first, id="first"), Document(**later, id="later")])
    store.feed_documents("c", [Document(**first, id="first")])
    with pytest.raises(ContentError, match=r"'later'(: the .blob is| holds)"):
        store.feed_documents("c", [Document(**later, id="later")])


@pytest.mark.parametrize("name", ["", "a b", "a/b", "é", "x" * 65, "a\n", 3])
def test_an_unfit_collection_name_is_an_option_error(store: DocumentStore, name: Any) -> None:
    """Names are 1 to 64 safe characters."""
    with pytest.raises(OptionError, match="collection"):
        store.feed_documents(name, [asked("q")])


def test_a_nameless_source_is_an_option_error(store: DocumentStore) -> None:
    """Whoever judges has a name."""
    with pytest.raises(OptionError, match="source"):
        store.feed_documents("c", [asked("q")], source="")


def test_an_empty_feed_makes_no_collection(store: DocumentStore) -> None:
    """Nothing fed, nothing there."""
    assert store.feed_documents("c", []) == FeedReport()
    assert store.collections() == []


def test_an_unknown_collection_is_refused_at_the_call(store: DocumentStore) -> None:
    """The error comes before the first document is asked for, and names what there is."""
    store.feed_documents("beta", [asked("q")])
    store.feed_documents("alpha", [asked("q")])
    with pytest.raises(UnknownCollectionError, match="'gamma'; known are alpha, beta"):
        store.documents("gamma")


@pytest.mark.parametrize(("limit", "expected"), [(0, 0), (1, 1), (2, 2), (3, 3), (9, 5), (None, 5)])
def test_limit_bounds_the_stream(
    store: DocumentStore, monkeypatch: pytest.MonkeyPatch, limit: int | None, expected: int
) -> None:
    """The first so many anchors come, over the borders of pages too."""
    monkeypatch.setattr(store, "anchors", 2)
    store.feed_documents("c", [asked(f"q{i}") for i in range(5)])
    assert [f"q{i}" for i in range(expected)] == [d.id for d in store.documents("c", limit=limit)]


def test_a_negative_limit_is_an_option_error(store: DocumentStore) -> None:
    """A limit is a count."""
    store.feed_documents("c", [asked("q")])
    with pytest.raises(OptionError, match="limit is -1"):
        store.documents("c", limit=-1)


def test_a_stream_is_one_snapshot(store: DocumentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fed while a stream is read is neither waited for nor in it, but in the next one."""
    monkeypatch.setattr(store, "anchors", 1)
    store.feed_documents("c", [asked(f"q{i}", judged("a", 1)) for i in range(3)])
    stream = store.documents("c")
    seen = [next(stream)]
    store.feed_documents("c", [asked("q1", judged("a", -1)), asked("q2", judged("b", 1)), asked("q3")])
    seen += stream
    assert [
        (anchor.id, len(anchor.matches), [m.tags["finetuner"]["label"] for m in anchor.matches])
        for anchor in seen
    ] == [("q0", 1, [1]), ("q1", 1, [1]), ("q2", 1, [1])]
    assert labels_in(store) == {("q0", "a"): 1, ("q1", "a"): -1, ("q2", "a"): 1, ("q2", "b"): 1}
    assert store.collections()[0].anchors == 4


def test_feeding_and_streaming_need_bounded_memory(
    store: DocumentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16 MB of arrays go in and out through a few MB."""
    monkeypatch.setattr(packing, "BYTES", 2**20)

    def images() -> Iterator[Document]:
        for i in range(32):
            image = np.full(2**16, 2 * i, np.float32)
            yield asked(f"q{i}", judged(f"m{i}", 1, blob=image), blob=image + 1)

    tracemalloc.start()
    assert store.feed_documents("c", images()).contents == 64
    feeding = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    assert sum(range(64)) == sum(d.blob[0] for a in store.documents("c") for d in (a, *a.matches))  # type: ignore[index]
    streaming = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert max(feeding, streaming) < 8 * 2**20


def test_more_values_than_one_statement_takes(store: DocumentStore) -> None:
    """An anchor may have more matches than are asked for at once."""
    fed = [asked("q", *(judged(f"m{i}", 1) for i in range(database.ROWS_ASKED + 1)))]
    store.feed_documents("c", fed)
    assert store.feed_documents("c", fed).known == database.ROWS_ASKED + 1
    assert len(labels_in(store)) == database.ROWS_ASKED + 1


def test_four_threads_feed_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Feeds of several threads over shared documents lose and double nothing, and never find the database busy."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0)
    store = DocumentStore(f"sqlite:///{file}")
    reports: list[FeedReport] = []

    def work(worker: int) -> None:
        for i in range(10):
            fed = [asked(f"q{i}", judged("shared", 1), judged(f"m{worker}", -1))]
            reports.append(store.feed_documents("c", fed, source=f"s{worker}"))
            assert all(anchor.matches for anchor in store.documents("c"))

    threads = [Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(reports), sum(report.accepted for report in reports)) == (40, 80)
    assert store.collections() == [CollectionInfo("c", anchors=10, contents=15, judgements=80, position=40)]
    assert len(labels_in(store)) == 50
    store.close()


def test_threads_may_take_turns_at_a_stream(store: DocumentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that one thread began, another one may read on, as event loops with worker threads do."""
    monkeypatch.setattr(store, "anchors", 1)
    store.feed_documents("c", [asked(f"q{i}") for i in range(3)])
    stream = store.documents("c")
    seen = [next(stream)]
    thread = Thread(target=lambda: seen.extend(stream))
    thread.start()
    thread.join()
    assert len(seen) == 3


def test_a_new_store_finds_what_was_fed(store: DocumentStore, file: Path) -> None:
    """Match data outlives the store that took it."""
    store.feed_documents("c", [asked("q", judged("a", 1))])
    store.close()
    with closing(DocumentStore(f"sqlite:///{file}")) as again:
        assert labels_in(again) == {("q", "a"): 1}
        assert again.feed_documents("c", [asked("q", judged("a", 1))]) == FeedReport(documents=1, known=1)


def test_two_stores_share_a_database(store: DocumentStore, file: Path) -> None:
    """What one store has acknowledged, another one that was open before sees."""
    with closing(DocumentStore(f"sqlite:///{file}")) as other:
        store.feed_documents("c", [asked("q", judged("a", 1))])
        assert labels_in(other) == {("q", "a"): 1}


def test_a_new_database_may_be_opened_by_many_at_once(file: Path) -> None:
    """Whoever comes first makes the tables, and the others wait for them rather than trip over them."""
    stores: list[DocumentStore] = []
    threads = [Thread(target=lambda: stores.append(DocumentStore(f"sqlite:///{file}"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for opened in stores:
        opened.close()
    assert len(stores) == 8


def test_acknowledged_means_synced(file: Path) -> None:
    """SQLite is told to sync its log at each commit, and to keep foreign keys."""
    engine = database.open_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        pragmas = ("journal_mode", "synchronous", "foreign_keys")
        settings = [connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() for pragma in pragmas]
    engine.dispose()
    assert settings == ["wal", 2, 1]


def test_a_writer_that_waits_too_long_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed beside another process's endless one ends in an error of ours, with nothing stored."""
    DocumentStore(f"sqlite:///{file}").close()
    monkeypatch.setattr(database, "BUSY_SECONDS", 0)
    with closing(DocumentStore(f"sqlite:///{file}")) as store, closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(MatchDataError, match="locked; nothing of this was stored"):
            store.feed_documents("c", [asked("q")])
        other.rollback()
        assert store.collections() == []


def test_a_file_that_is_no_database_is_a_source_error(tmp_path: Path) -> None:
    """A mistaken path does not end in an error of SQLAlchemy."""
    (tmp_path / "notes.txt").write_text("not a database " * 100)
    with pytest.raises(SourceError, match=r"notes\.txt.*not a database"):
        DocumentStore(f"sqlite:///{tmp_path / 'notes.txt'}")


@pytest.mark.parametrize(
    "url",
    ["matches.db", "mysql://host/name", "sqlite://", "sqlite:///:memory:", "postgresql://host:port/name"],
)
def test_an_unfit_url_is_an_option_error(url: str) -> None:
    """What is no database URL, of another database, or in memory is refused with what is accepted."""
    with pytest.raises(OptionError, match="use sqlite:///PATH or postgresql:"):
        DocumentStore(url)


def test_a_damaged_database_is_a_match_data_error(store: DocumentStore, file: Path) -> None:
    """A damage that is met on the way is an error of ours that names the file."""
    store.feed_documents("c", [asked("q")])
    store.close()
    with file.open("r+b") as damaged:
        damaged.seek(100)
        damaged.write(b"\xff" * (file.stat().st_size - 100))
    with pytest.raises(MatchDataError, match=r"matches\.db: .*malformed"):
        store.documents("c")


def test_a_missing_driver_is_named_and_the_password_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs without the driver is told which one, and logs keep no secrets."""
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(OptionError, match="'psycopg2' is not installed") as caught:
        DocumentStore("postgresql+psycopg2://user:secret@host/name")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("table", schema.metadata.sorted_tables, ids=lambda table: table.name)
def test_tables_are_fit_for_postgresql(table: Any) -> None:
    """The schema needs nothing that only SQLite has."""
    statement = CreateTable(table)
    assert f"CREATE TABLE {table.name}" in str(statement.compile(dialect=POSTGRESQL))
