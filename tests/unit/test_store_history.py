"""What a store tells of the past, gives to several readers, deletes, and takes over from older versions."""

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from numpy.typing import NDArray
from sqlalchemy import Engine, event

from finetuner.documents import Document, labelled
from finetuner.errors import ChangedDataError, ContentError, OptionError, SourceError, StreamError
from finetuner.packing import packed, unpacked
from finetuner.packs import Feed, Pack, Refusal
from finetuner.store import Deleted, FeedReport
from finetuner.store.database import open_engine
from finetuner.store.schema import metadata
from tests.document_store import DocumentStore
from tests.unit.test_store import asked, judged, labels_in

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where the database of the store is."""
    return tmp_path / "matches.db"


@pytest.fixture
def store(file: Path) -> Iterator[DocumentStore]:
    """Return an empty store."""
    with closing(DocumentStore(f"sqlite:///{file}")) as opened:
        yield opened


def fed(store: DocumentStore, collection: str = "c") -> None:
    """Feed a little of everything: tags, weights, unjudged, two sources, a change of mind, and a lone document."""
    image = np.arange(4, dtype=np.float32)
    matches = [judged("a", 1, tags={"r": 1}, blob=image), judged("b", None, blob=image + 1)]
    store.feed_documents(collection, [asked("q", *matches, blob=image + 2)], source="anna", at=AT)
    again = Document(blob=image, id="a", tags=labelled({}, -1, 0.5))
    store.feed_documents(
        collection, [Document(id="q", tags={"seen": True}, matches=[again])], source="bert", at=AT
    )
    store.feed_documents(
        collection, [asked("r", judged("c", 2, blob=image + 3), blob=image + 4)], source="anna", at=AT
    )
    store.feed_documents(
        collection, [Document(id="q", matches=[judged("a", 2, text=None)])], source="anna", at=AT
    )
    (pack,) = packed([asked("alone", blob=image + 5)])
    nothing = np.zeros(0, np.int64)
    alone = Pack(0, pack.ids, None, pack.blobs, nothing, np.zeros(1, np.int64), nothing, np.zeros(0))
    store.feed(collection, [alone], at=AT)


def emitted(store: DocumentStore, collection: str = "c", **asked_for: object) -> list[str]:
    """Return what is emitted, as comparable texts."""
    return [repr(pack) for pack in store.packs(collection, tags=True, **asked_for)]  # type: ignore[arg-type]


def test_what_held_at_a_position_is_emitted_again_whatever_is_fed_later(store: DocumentStore) -> None:
    """Every position gives bit for bit what it gave when it was the newest."""
    then = {}
    for number in range(1, 6):
        matches = [judged("a", (-1) ** number), judged(f"m{number}", 1, tags={"n": number})]
        store.feed_documents("c", [asked("q", *matches), asked(f"q{number}")])
        assert store.position("c") == number
        then[number] = emitted(store)
    assert {number: emitted(store, position=number) for number in then} == then
    assert len(set(map(str, then.values()))) == 5


def test_a_position_that_is_not_there_is_an_option_error(store: DocumentStore) -> None:
    """A snapshot of the future is refused, with the newest there is."""
    store.feed_documents("c", [asked("q")])
    with pytest.raises(OptionError, match="no position 2; its newest is 1"):
        store.packs("c", position=2)


def test_feeding_nothing_new_makes_no_position(store: DocumentStore) -> None:
    """A repeated feed leaves the position, so snapshots taken before and after it are one."""
    store.feed_documents("c", [asked("q", judged("a", 1))])
    store.feed_documents("c", [asked("q", judged("a", 1))], source="client")
    assert store.position("c") == 1


def test_the_log_fed_to_another_collection_makes_an_equal_one(store: DocumentStore) -> None:
    """Sources, times, superseded and unjudged matches, weights, tags, and documents without a judgement come over."""
    fed(store)
    for (source, at), feeds in itertools.groupby(store.log("c"), key=lambda feed: (feed.source, feed.at)):
        store.feed("copy", (feed.pack for feed in feeds), source=source, at=at)
    assert emitted(store, "copy") == emitted(store)
    assert flat(store.log("copy")) == flat(store.log("c"))
    assert {feed.at for feed in store.log("copy")} == {AT}


def flat(feeds: Iterator[Feed]) -> list[tuple[object, ...]]:
    """Return the lines of a log, however it is parted: documents, anchors with tags, and judgements."""
    lines: list[tuple[object, ...]] = []
    for source, at, pack in feeds:
        ids = list(pack.ids)
        lines += [(source, at, "document", name) for name in ids[: pack.carried]]
        for place, anchor in enumerate(pack.anchors):
            tags = pack.anchor_tags[place] if pack.anchor_tags else ""
            lines.append((source, at, "anchor", ids[anchor], tags))
            for match in range(pack.offsets[place], pack.offsets[place + 1]):
                weight = 1.0 if pack.weights is None else float(pack.weights[match])
                about = (ids[pack.matches[match]], str(pack.labels[match]), weight)
                lines.append(
                    (source, at, ids[anchor], *about, pack.match_tags[match] if pack.match_tags else "")
                )
    return lines


def test_shards_are_disjoint_and_together_everything(store: DocumentStore) -> None:
    """Three readers of three shards read each anchor and each lone document once."""
    fed(store)
    store.feed_documents("c", [asked(f"q{i}", blob=np.full(4, 9 + i, np.float32)) for i in range(20)])
    whole = list(store.packs("c"))
    parts = [list(store.packs("c", shard=(i, 3))) for i in range(3)]
    names = [sorted(anchor.id for anchor in unpacked(packs)) for packs in parts]
    assert all(names)
    assert sorted(itertools.chain(*names)) == sorted(anchor.id for anchor in unpacked(whole))
    assert [[one.ids for one in packs].count(["alone"]) for packs in parts].count(1) == 1


@pytest.mark.parametrize("shard", [(-1, 2), (2, 2), (0, 0)])
def test_a_shard_that_is_not_there_is_an_option_error(store: DocumentStore, shard: tuple[int, int]) -> None:
    """Shards are counted from 0."""
    store.feed_documents("c", [asked("q")])
    with pytest.raises(OptionError, match="counted from 0"):
        store.packs("c", shard=shard)


def test_anchors_are_chosen_by_the_hashes_of_their_contents(store: DocumentStore) -> None:
    """The choice sees one hash of 16 bytes an anchor, in order, and leaves out the others with their matches."""
    store.feed_documents("c", [asked(f"q{i}", judged(f"m{i}", 1)) for i in range(6)])
    seen = []

    def every_second(hashes: NDArray[np.uint8]) -> NDArray[np.bool_]:
        seen.append(hashes.shape)
        return np.arange(len(hashes)) % 2 == 0

    found = [anchor.id for anchor in unpacked(store.packs("c", chosen=every_second, anchors=4))]
    assert found == ["q0", "q2", "q4"]
    assert seen == [(4, 16), (2, 16)]


def test_weights_are_kept_and_a_new_weight_is_a_new_judgement(store: DocumentStore) -> None:
    """The weight is part of what a source says; the newest one is emitted."""
    for weight, accepted in ((0.5, 1), (0.5, 0), (2.0, 1)):
        match = judged("a", None, tags=labelled({}, 1, weight))
        assert store.feed_documents("c", [asked("q", match)]).accepted == accepted
    (anchor,) = store.documents("c")
    assert anchor.matches[0].tags == {"finetuner": {"label": 1, "weight": 2}}


def test_known_documents_are_judged_by_their_ids_alone(store: DocumentStore) -> None:
    """Once a collection knows a document its content need not be sent again."""
    store.feed_documents("c", [asked("q", judged("a", 1)), asked("b")])
    report = store.feed_documents("c", [Document(id="q", matches=[judged("b", -1, text=None)])])
    assert report == FeedReport(documents=1, accepted=1)
    assert labels_in(store) == {("q", "a"): 1, ("q", "b"): -1}


@pytest.mark.parametrize("collection", ["c", "new"])
def test_an_id_without_content_that_nobody_knows_is_refused(store: DocumentStore, collection: str) -> None:
    """The error names the id and what is missing; nothing is stored."""
    store.feed_documents("c", [asked("q")])
    with pytest.raises(ContentError, match=r"'x'.* comes without content"):
        store.feed_documents(collection, [Document(id="x", matches=[judged("y", 1, text=None)])])
    assert [info.name for info in store.collections()] == ["c"]


def test_what_cannot_be_stored_is_left_out_and_told_on_request(store: DocumentStore) -> None:
    """Of a feed that refuses, the rest is stored; each refused document is told with the reason."""
    store.feed_documents("c", [asked("q", judged("a", 1))])
    matches = [judged("a", 1, text="other"), judged("b", 1), judged("ghost", -1, text=None)]
    report = store.feed_documents("c", [asked("q", *matches)], refuse=True)
    assert (report.accepted, report.refused) == (1, 2)
    assert [refusal.place for refusal in report.refusals] == ["document 'a'", "document 'ghost'"]
    assert "another content" in report.refusals[0].reason
    assert labels_in(store) == {("q", "a"): 1, ("q", "b"): 1}


def test_reports_add_up(store: DocumentStore) -> None:
    """Counts are summed; of the refusals the first are kept."""
    one = FeedReport(accepted=2, refused=15, refusals=(Refusal("x", "y"),) * 15)
    assert one + one == FeedReport(accepted=4, refused=30, refusals=(Refusal("x", "y"),) * 20)


def test_sources_that_disagree_are_told(store: DocumentStore) -> None:
    """A pair counts if the newest labels of two sources differ in sign; a change of mind is none."""
    store.feed_documents("c", [asked("q", judged("a", 1), judged("b", 1), judged("d", 1))], source="anna")
    store.feed_documents("c", [asked("q", judged("a", -1), judged("b", -1), judged("d", 2))], source="bert")
    store.feed_documents("c", [asked("q", judged("b", 1))], source="bert")
    assert store.contradictions("c") == (1, [{"anchor": "q", "match": "a"}])


def test_a_deleted_document_is_gone_from_everything(store: DocumentStore, file: Path) -> None:
    """With its judgements as anchor and as match, in the past too, and its content out of the file."""
    secret = "a text that somebody wants to be forgotten"
    store.feed_documents(
        "c",
        [asked("q", judged("s", 1, text=secret), judged("a", 1)), asked("s", judged("a", 1), text=secret)],
    )
    assert secret.encode() in b"".join(one.read_bytes() for one in file.parent.iterdir())
    assert store.delete("c", ["s", "nobody"]) == Deleted(documents=1, anchors=1, judgements=2, contents=1)
    assert labels_in(store) == {("q", "a"): 1}
    assert "'s'" not in str(list(store.log("c")))
    assert secret.encode() not in b"".join(one.read_bytes() for one in file.parent.iterdir())


def test_a_document_that_nothing_refers_to_any_more_is_emitted_alone(store: DocumentStore) -> None:
    """With its only anchor deleted, a match is a document of the corpus; others keep what refers to them."""
    store.feed_documents("c", [asked("q", judged("a", 1), judged("b", 1)), asked("r", judged("b", 1))])
    assert [list(pack.ids) for pack in store.packs("c")] == [["q", "r", "a", "b"]]
    store.delete("c", ["q"])
    assert [list(pack.ids) for pack in store.packs("c")] == [["r", "b"], ["a"]]


def test_a_document_is_alone_until_something_refers_to_it(store: DocumentStore) -> None:
    """At each position a document comes once: alone before it was judged, with its anchor afterwards."""
    fed(store)
    store.feed_documents("c", [Document(id="q", matches=[judged("alone", 1, text=None)])])
    assert [list(pack.ids) for pack in store.packs("c", position=5)][1:] == [["alone"]]
    assert [list(pack.ids)[-1] for pack in store.packs("c")] == ["c"]
    assert sorted(name for pack in store.packs("c") for name in pack.ids) == [
        "a",
        "alone",
        "b",
        "c",
        "q",
        "r",
    ]


def test_a_content_that_somebody_else_holds_outlives_a_deletion(store: DocumentStore) -> None:
    """Contents belong to all collections, and to all ids."""
    store.feed_documents("c", [asked("q", judged("a", 1, text="shared"))])
    store.feed_documents("d", [asked("other", text="shared")])
    assert store.delete("c", ["a"]).contents == 0
    assert [anchor.text for anchor in store.documents("d")] == ["shared"]


def test_a_deleted_collection_is_gone_and_its_name_is_free(store: DocumentStore) -> None:
    """Nothing of it is left, and a new one of that name may hold other kinds of content."""
    fed(store)
    store.feed_documents("d", [asked("q")])
    assert store.delete("c") == Deleted(documents=6, anchors=2, judgements=4, contents=6)
    assert [info.name for info in store.collections()] == ["d"]
    store.feed_documents("c", [asked("q", text="now a text")])
    assert store.position("c") == 1


def test_a_stream_notices_a_deletion(store: DocumentStore) -> None:
    """Rather than half of what was and half of what is, a reader gets an error."""
    store.feed_documents("c", [asked(f"q{i}") for i in range(4)])
    stream = store.packs("c", anchors=2)
    next(stream)
    store.delete("c", ["q3"])
    with pytest.raises(ChangedDataError, match="deleted while it was read"):
        list(stream)


def test_a_pack_that_is_missing_is_noticed(store: DocumentStore) -> None:
    """Rows are numbered through a stream, so the second pack alone is refused and nothing of it is stored."""
    packs = list(packed((asked(f"q{i}") for i in range(4)), anchors=2))
    with pytest.raises(StreamError, match="begins at row 2, and 0 documents came before"):
        store.feed("c", packs[1:])
    assert store.feed("c", packs).contents == 4


OLD = """
CREATE TABLE contents (hash BLOB NOT NULL PRIMARY KEY, dtype VARCHAR(8), shape TEXT, data BLOB NOT NULL);
CREATE TABLE collections (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(64) NOT NULL, has_text BOOLEAN NOT NULL,
    blob_form TEXT, UNIQUE (name));
CREATE TABLE documents (id INTEGER NOT NULL PRIMARY KEY, collection_id INTEGER NOT NULL REFERENCES collections (id),
    name TEXT NOT NULL, text_hash BLOB REFERENCES contents (hash), blob_hash BLOB REFERENCES contents (hash),
    UNIQUE (collection_id, name));
CREATE TABLE anchors (id INTEGER NOT NULL PRIMARY KEY, collection_id INTEGER NOT NULL REFERENCES collections (id),
    document_id INTEGER NOT NULL UNIQUE REFERENCES documents (id), tags TEXT NOT NULL);
CREATE INDEX anchors_in_order ON anchors (collection_id, id);
CREATE TABLE candidates (id INTEGER NOT NULL PRIMARY KEY, anchor_id INTEGER NOT NULL REFERENCES anchors (id),
    document_id INTEGER NOT NULL REFERENCES documents (id), tags TEXT NOT NULL, UNIQUE (anchor_id, document_id));
CREATE TABLE feeds (id INTEGER NOT NULL PRIMARY KEY, collection_id INTEGER NOT NULL REFERENCES collections (id),
    source TEXT NOT NULL, fed_at DATETIME NOT NULL);
CREATE TABLE judgements (id INTEGER NOT NULL PRIMARY KEY, candidate_id INTEGER NOT NULL REFERENCES candidates (id),
    feed_id INTEGER NOT NULL REFERENCES feeds (id), label FLOAT NOT NULL);
CREATE INDEX ix_judgements_candidate_id ON judgements (candidate_id);
INSERT INTO contents VALUES (x'01', NULL, NULL, CAST('asked' AS BLOB)), (x'02', NULL, NULL, CAST('found' AS BLOB)),
    (x'03', NULL, NULL, CAST('other' AS BLOB));
INSERT INTO collections VALUES (3, 'c', 1, NULL), (5, 'unjudged', 1, NULL);
INSERT INTO documents VALUES (10, 3, 'q', x'01', NULL), (11, 3, 'a', x'02', NULL), (12, 5, 'q', x'01', NULL),
    (13, 3, 'b', x'03', NULL);
INSERT INTO anchors VALUES (20, 3, 10, '{"t": 1}'), (21, 5, 12, '');
INSERT INTO candidates VALUES (30, 20, 13, '{"r": 2}'), (31, 20, 11, '');
INSERT INTO feeds VALUES (40, 3, 'anna', '2026-01-02 03:04:05.000000'), (41, 3, 'bert', '2026-01-02 03:04:06.000000');
INSERT INTO judgements VALUES (50, 31, 40, 1.0), (51, 31, 41, -1.0);
"""
"""A database as the first version made them, which did not say its version."""


def test_a_database_of_the_first_version_is_taken_over(file: Path) -> None:
    """Documents, order, tags, labels of both sources with their times, and what is unjudged are all there."""
    with closing(sqlite3.connect(file)) as old:
        old.executescript(OLD)
    with closing(DocumentStore(f"sqlite:///{file}")) as store:
        (anchor,) = store.documents("c")
        assert (anchor.id, anchor.text, anchor.tags) == ("q", "asked", {"t": 1})
        assert [(one.id, one.text, one.tags) for one in anchor.matches] == [
            ("b", "other", {"r": 2}),
            ("a", "found", {"finetuner": {"label": -1}}),
        ]
        assert store.contradictions("c")[0] == 1
        assert [feed.at.second for feed in store.log("c")] == [5, 5, 6]
        assert [anchor.id for anchor in store.documents("unjudged")] == ["q"]
        again = Document(id="q", matches=[judged("a", 1, text=None)])
        assert store.feed_documents("c", [again], source="anna").known == 1


def test_migrated_tables_are_those_of_a_new_database(file: Path) -> None:
    """Whichever way a database came to be, its tables, columns and indexes are the same."""
    with closing(sqlite3.connect(file)) as old:
        old.executescript(OLD)
    engine = open_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_a_database_of_a_later_version_is_refused(store: DocumentStore, file: Path) -> None:
    """What this program does not know it does not touch."""
    store.close()
    with closing(sqlite3.connect(file)) as later:
        later.execute("UPDATE alembic_version SET version_num = '99'")
        later.commit()
    with pytest.raises(SourceError, match="version 99, and this program knows 1, 2"):
        DocumentStore(f"sqlite:///{file}")


def test_a_large_collection_is_searched_by_its_indexes(store: DocumentStore, file: Path) -> None:
    """A thousand documents by name, and the judgements of some anchors, need no walk through the collection."""
    names = ", ".join(f"'{n}'" for n in range(1000))
    with closing(sqlite3.connect(file)) as connection:
        for query, index in (
            (f"SELECT * FROM documents WHERE collection_id = 1 AND name IN ({names})", "name=?"),
            (f"SELECT * FROM anchors WHERE collection_id = 1 AND anchor IN ({names})", "anchor=?"),
            (f"SELECT * FROM judgements WHERE collection_id = 1 AND anchor IN ({names})", "anchor=?"),
        ):
            ((*_, plan),) = connection.execute(f"EXPLAIN QUERY PLAN {query}")
            assert index in plan


def test_known_pairs_are_found_without_a_walk_through_the_collection(
    store: DocumentStore, file: Path
) -> None:
    """Judgements about what was judged before are looked up by their anchors, many at once too."""

    def fed(label: int) -> list[Document]:
        return [asked(f"q{n}", *(judged(f"m{m}", label) for m in range(10))) for n in range(20)]

    store.feed_documents("c", fed(1))
    asked_for: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked_for.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    store.feed_documents("c", fed(-1))
    event.remove(Engine, "before_cursor_execute", note)
    (statement,) = [one for one in asked_for if "FROM judgements JOIN feeds" in one]
    with closing(sqlite3.connect(file)) as connection:
        values = [1] * statement.count("?")
        plans = [plan for *_, plan in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert any("SEARCH judgements USING PRIMARY KEY (collection_id=? AND anchor=?" in plan for plan in plans)
