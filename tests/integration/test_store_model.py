"""Whatever is done to a store, in whichever order: it holds what a naive model of it holds."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, count, groupby
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from finetuner.doors.export import Format, read_export, write_export
from finetuner.errors import ChangedDataError, ContentError, UnknownCollectionError
from finetuner.packing import packed
from finetuner.packs import Feed, Pack
from finetuner.store import MatchStore
from tests.model_packs import corpus, documents_of, names_in, read
from tests.store_model import Anchor, Emission, Match, Model

SETTINGS = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    phases=[Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
BEGIN = datetime(2024, 2, 29, 12, tzinfo=UTC)
COPY = "Copy"
Databases = Callable[[], AbstractContextManager[str]]

NAMES = "pqrst"

# few of everything, so that much is said about the same and several documents hold the same text
collections = st.sampled_from(["a", "a", "b"])
sources = st.sampled_from(["anna", "ben"])
names = st.sampled_from(NAMES)
texts = st.sampled_from(["one", "two", "three"])
tags = st.sampled_from(["", '{"class": 1}', '{"class": 2}'])
labels = st.sampled_from([None, 1.0, 1.0, -1.0, -1.0, 0.5])
matches = st.builds(Match, st.sampled_from("prst"), labels, st.sampled_from([1.0, 1.0, 1.0, 2.0]), tags)
anchors = st.builds(Anchor, st.sampled_from("pq"), tags, st.lists(matches, max_size=3).map(tuple))


fed = st.lists(anchors, min_size=1, max_size=3)


@dataclass
class Reading:
    """A stream of a collection that somebody has begun to read.

    Attributes:
        name: The collection.
        packs: What is left of it.
        expected: What all of it holds.
        is_cut: Whether something was deleted since.
    """

    name: str
    packs: Iterator[Pack]
    expected: Emission
    is_cut: bool = False


class StoreMachine(RuleBasedStateMachine):
    """Does to a store and to the model the same."""

    def __init__(self, databases: Databases) -> None:
        super().__init__()
        self._open = ExitStack()
        self._url = self._open.enter_context(databases())
        self._store = MatchStore(self._url)
        self._model = Model()
        self._clock = count()
        self._touched: str | None = None
        self._readings: list[Reading] = []

    def teardown(self) -> None:
        """Leave nothing behind."""
        self._store.close()
        self._open.close()

    def _begin(self, collection: str) -> datetime:
        """Say which collection the next deed is about, and return the time of the deed."""
        self._touched = collection
        return BEGIN + timedelta(seconds=next(self._clock))

    @rule(
        collection=collections,
        source=sources,
        anchors=fed,
        drawn=st.fixed_dictionaries(dict.fromkeys(NAMES, texts)),
        way=st.sampled_from(["whole", "bare", "ahead"]),
        per_pack=st.integers(1, 3),
        standalone=st.booleans(),
    )
    def feed(
        self,
        collection: str,
        source: str,
        anchors: list[Anchor],
        drawn: dict[str, str],
        way: str,
        per_pack: int,
        standalone: bool,
    ) -> None:
        """Feed anchors whose documents are known or new.

        All documents come whole, or the known ones bare, without content, or all of them bare after a pack of those
        that are new.
        """
        known = self._known(collection)
        new = {name: drawn[name] for name in names_in(anchors) if name not in known}
        ahead = [corpus(new)] if way == "ahead" and new else []
        contents = {name: text if way == "whole" else None for name, text in known.items()}
        contents |= dict.fromkeys(new) if ahead else new
        packs = packed(
            documents_of(anchors, contents), anchors=per_pack, standalone=standalone or bool(ahead)
        )
        at = self._begin(collection)
        report = self._store.feed(collection, chain(ahead, packs), source=source, at=at)
        expected = self._model.feed(collection, new, anchors, source=source, at=at, per_pack=per_pack)
        assert report == expected

    @rule(
        collection=collections,
        source=sources,
        anchors=fed,
        contents=st.fixed_dictionaries(dict.fromkeys(NAMES, st.none() | texts)),
        refuse=st.booleans(),
    )
    def feed_anything(
        self,
        collection: str,
        source: str,
        anchors: list[Anchor],
        contents: dict[str, str | None],
        refuse: bool,
    ) -> None:
        """Feed documents some of which are unknown and come without content, or are known with another one."""
        if collection not in self._model.collections:
            return
        known = self._known(collection)
        mine = {name: contents[name] for name in names_in(anchors)}
        wrong = {name for name, text in mine.items() if text not in (known.get(name, text), None)}
        wrong |= {name for name, text in mine.items() if text is None and name not in known}
        at = self._begin(collection)
        packs = packed(documents_of(anchors, contents))
        if wrong and not refuse:
            with pytest.raises(ContentError):
                self._store.feed(collection, packs, source=source)
            return
        report = self._store.feed(collection, packs, source=source, at=at, refuse=refuse)
        assert {one.place for one in report.refusals} == {f"document {name!r}" for name in wrong}
        new = {name: text for name, text in mine.items() if text and name not in known}
        left = [
            anchor._replace(matches=tuple(match for match in anchor.matches if match.name not in wrong))
            for anchor in anchors
            if anchor.name not in wrong
        ]
        expected = self._model.feed(collection, new, left, source=source, at=at)
        told = (report.contents, report.accepted, report.known, report.contradicted)
        assert told == (expected.contents, expected.accepted, expected.known, expected.contradicted)

    @rule(collection=collections, drawn=st.dictionaries(names, texts, min_size=1))
    def feed_corpus(self, collection: str, drawn: dict[str, str]) -> None:
        """Feed documents alone."""
        contents = {
            **drawn,
            **{name: text for name, text in self._known(collection).items() if name in drawn},
        }
        at = self._begin(collection)
        report = self._store.feed(collection, [corpus(contents)], source="corpus", at=at)
        assert report == self._model.feed(collection, contents, [], source="corpus", at=at)

    @rule(collection=collections, gone=st.lists(names, min_size=1, max_size=2))
    def delete_documents(self, collection: str, gone: list[str]) -> None:
        """Delete documents, of which some may not be there."""
        self._begin(collection)
        if collection in self._model.collections:
            self._delete(collection, gone)

    @rule(collection=collections)
    def delete_collection(self, collection: str) -> None:
        """Delete everything."""
        if collection in self._model.collections:
            self._delete(collection, None)
        with pytest.raises(UnknownCollectionError):
            self._store.position(collection)

    @precondition(lambda self: self._model.collections.keys() - {COPY})
    @rule(data=st.data(), format_=st.sampled_from(["parquet", "jsonl", None]))
    def copy(self, data: st.DataObject, format_: Format | None) -> None:
        """Feed the log of a collection into another one, directly or by way of exported files."""
        name = data.draw(st.sampled_from(sorted(self._model.collections.keys() - {COPY})))
        if COPY in self._model.collections:
            self._delete(COPY, None)
        with tempfile.TemporaryDirectory() as folder:
            feeds: Iterable[Feed] = self._store.log(name)
            if format_ is not None:
                write_export(feeds, Path(folder, "export"), format_)
                feeds = read_export(Path(folder, "export"))
            for (source, at), parts in groupby(feeds, key=lambda feed: feed[:2]):
                self._store.feed(COPY, (part[2] for part in parts), source=source, at=at)
        self._model.copy(name, COPY)
        self._begin(COPY)

    @rule()
    def restart(self) -> None:
        """Close the store and open it again."""
        self._store.close()
        self._store = MatchStore(self._url)

    @rule(collection=st.sampled_from(["a", "b", COPY]))
    def begin_reading(self, collection: str) -> None:
        """Read the first pack of a stream, and leave the rest for later."""
        if self._known(collection):
            expected = self._model.collections[collection].emitted()
            packs = self._store.packs(collection, tags=True, anchors=1)
            self._readings.append(Reading(collection, chain([next(packs)], packs), expected))

    @precondition(lambda self: self._readings)
    @rule()
    def finish_reading(self) -> None:
        """Read the rest: what held at the beginning, whatever was fed meanwhile, or an error if some is gone."""
        reading = self._readings.pop(0)
        if reading.is_cut:
            with pytest.raises(ChangedDataError):
                read(reading.packs)
        else:
            assert read(reading.packs) == reading.expected

    @invariant()
    def is_the_same(self) -> None:
        """Compare what is told of all collections, and what is to be read of the one that was touched."""
        assert self._store.collections() == self._model.infos()
        collection = self._model.collections.get(self._touched or "")
        if collection is not None and self._touched:
            assert self._store.position(self._touched) == collection.position
            number, examples = self._store.contradictions(self._touched)
            told = {(one["anchor"], one["match"]) for one in examples}
            assert (number, told) == (len(examples), collection.contradictions())
            # an older position too: what held then, but for what was deleted since
            for position in (collection.position, next(self._clock) % (collection.position + 1)):
                self._check(self._touched, position)

    def _check(self, name: str, position: int) -> None:
        standalone = next(self._clock) % 3 == 0
        packs = self._store.packs(name, position=position, tags=True, anchors=2, standalone=standalone)
        assert read(packs) == self._model.collections[name].emitted(position)

    def _delete(self, name: str, gone: list[str] | None) -> None:
        told = self._store.delete(name, gone)
        assert told == self._model.delete(name, gone)
        for reading in self._readings:
            reading.is_cut |= reading.name == name and (gone is None or told.documents > 0)

    def _known(self, name: str) -> dict[str, str]:
        collection = self._model.collections.get(name)
        return {} if collection is None else {one: text for one, (_, text) in collection.came.items()}


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Databases:
    """Return what makes an empty database of each kind."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql_server").database

    @contextmanager
    def database() -> Iterator[str]:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            yield f"sqlite:///{folder}/matches.db"

    return database


def test_a_store_does_what_the_model_does(databases: Databases) -> None:
    """After each of hundreds of random deeds both hold the same, report the same, and remember the same."""

    class OnDatabases(StoreMachine):
        def __init__(self) -> None:
            super().__init__(databases)

    run_state_machine_as_test(OnDatabases, settings=SETTINGS)
