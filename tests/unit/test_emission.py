"""Emission: streams that can be cut in parts, taken up again, and that say what they were."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.checksums import PackChecksum
from finetuner.documents import Document, labelled
from finetuner.emission import Cursor, Emitter, FrameCache
from finetuner.emission.stream import Summed
from finetuner.errors import ChangedDataError, OptionError, UnknownCollectionError
from finetuner.matches import MatchSet
from finetuner.packing import packed, unpacked
from finetuner.packs import Pack
from tests.document_store import DocumentStore

MADE = {"collection": "fashion_mnist", "num_total": 30, "num_pos": 1, "num_neg": 1}


def fed(number: int) -> Document:
    """Return an anchor with two matches."""
    matches = [
        Document(f"m{n}", id=f"m{n}", tags=labelled({}, 1 - 2 * (n % 2))) for n in (number, number + 1)
    ]
    return Document(f"q{number}", id=f"q{number}", tags={"n": number}, matches=matches)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a store with 600 anchors: enough for three packs, and for many portions of documents."""
    folder = tmp_path_factory.mktemp("full")
    with closing(DocumentStore(f"sqlite:///{folder / 'matches.db'}")) as opened:
        opened.feed_documents("default", map(fed, range(600)))
    return folder


@pytest.fixture(scope="module")
def full(folder: Path) -> Iterator[DocumentStore]:
    """Return that store; no test changes it."""
    with closing(DocumentStore(f"sqlite:///{folder / 'matches.db'}")) as opened:
        yield opened


@pytest.fixture
def store(tmp_path: Path, folder: Path) -> Iterator[DocumentStore]:
    """Return a store like that, to be changed."""
    shutil.copytree(folder, tmp_path / "copy")
    with closing(DocumentStore(f"sqlite:///{tmp_path / 'copy' / 'matches.db'}")) as opened:
        yield opened


def packs_of(store: DocumentStore, **parameters: Any) -> list[Pack]:
    """Return the packs of a stream."""
    return [pack for pack, _ in Emitter(store).packs(parameters)]


def names(packs: list[Pack]) -> list[str]:
    """Return the ids of anchors."""
    return [anchor.id for anchor in unpacked(packs)]


def said(item: Any) -> Any:
    """Return all that a pack or a Document holds as what can be compared: bytes for an array, a list for a dataclass."""
    if isinstance(item, np.ndarray):
        return item.dtype, item.shape, item.tobytes()
    if is_dataclass(item):
        return [said(getattr(item, one.name)) for one in fields(item)]
    if isinstance(item, list | tuple):
        return [said(one) for one in item]
    return item


def as_it_is(pack: Pack, cursor: Cursor) -> Pack:
    """Return what is sent of a pack where nothing is made of it."""
    return pack


@pytest.mark.parametrize("parameters", [{}, MADE, {"shards": 3, "shard": 1, "split": "training"}])
def test_a_stream_that_is_taken_up_again_gives_each_frame_once(
    full: DocumentStore, parameters: dict[str, Any]
) -> None:
    """From each of its cursors a stream goes on with the next frame, and ends as the whole stream does."""
    for emit in (Emitter(full).packs, Emitter(full).documents):
        whole = emit(parameters)
        frames = [(said(item), str(cursor)) for item, cursor in whole]
        for place in {0, len(frames) // 2, len(frames) - 1}:
            rest = emit({**parameters, "cursor": frames[place][1]})
            assert [(said(item), str(cursor)) for item, cursor in rest] == frames[place + 1 :]
            assert rest.end() == whole.end()


def test_a_cursor_keeps_its_position(store: DocumentStore) -> None:
    """What was fed after a stream broke off is not in the rest of it."""
    whole = Emitter(store).packs({})
    frames = list(whole)
    store.feed_documents("default", [fed(1000)])
    rest = Emitter(store).packs({"cursor": str(frames[0][1])})
    assert [repr(pack) for pack, _ in rest] == [repr(pack) for pack, _ in frames[1:]]
    assert rest.end() == whole.end()
    assert whole.end()["position"] == 1


@pytest.mark.parametrize("what", ["packs", "documents"])
def test_a_cursor_from_before_a_deletion_is_refused(store: DocumentStore, what: str) -> None:
    """Its frames are no longer what comes before; a reader that went on would mix two states."""
    emit = getattr(Emitter(store), what)
    frames = list(emit({}))
    store.delete("default", ["q0"])
    with pytest.raises(ChangedDataError, match="no longer what was sent"):
        list(emit({"cursor": str(frames[0][1])}))


def test_a_cursor_for_other_parameters_is_refused(full: DocumentStore) -> None:
    """A cursor of one shard does not go on with another."""
    frames = list(Emitter(full).packs({"shards": 2, "shard": 0}))
    with pytest.raises(ChangedDataError):
        list(Emitter(full).packs({"shards": 2, "shard": 1, "cursor": str(frames[0][1])}))


@pytest.mark.parametrize("cursor", ["", "17", "17-", "17-3", "17-3-", "a-3-ff", "-1-3-ff"])
def test_what_is_no_cursor_is_an_option_error(cursor: str) -> None:
    """A cursor has a position, a number of frames and a checksum."""
    with pytest.raises(OptionError, match="is none"):
        Cursor.parse(cursor)


def test_a_cursor_beyond_the_end_is_refused(full: DocumentStore) -> None:
    """Of a stream that has become shorter nothing is left to go on with."""
    with pytest.raises(ChangedDataError):
        list(Emitter(full).packs({"cursor": "1-99-ffffffff"}))


def test_sides_are_those_of_a_run_and_together_everything(full: DocumentStore) -> None:
    """The three sides of a split are what a match set of all is split into, with the same seed and shares."""
    whole = MatchSet.from_documents(full.documents("default"))
    rest, holdout = whole.split(0.2, seed=5)
    training, validation = rest.split(0.1 / 0.8, seed=6)
    for side, expected in (("training", training), ("validation", validation), ("holdout", holdout)):
        packs = packs_of(full, split=side, holdout=0.2, split_seed=5)
        assert names(packs) == [whole.ids[row] for row in expected.anchors]


@pytest.mark.parametrize("parameters", [{}, MADE])
def test_shards_are_everything_once(full: DocumentStore, parameters: dict[str, Any]) -> None:
    """Made or stored, shards are disjoint and complete."""
    parts = [names(packs_of(full, **parameters, shards=3, shard=shard)) for shard in range(3)]
    assert sorted(name for part in parts for name in part) == sorted(names(packs_of(full, **parameters)))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_end_sums_up_what_came(full: DocumentStore) -> None:
    """The checksum of the end is that of the packs, so that a reader can tell."""
    emission, checksum = Emitter(full).packs({}), PackChecksum()
    for pack, _ in emission:
        checksum.add(pack)
    assert emission.end() == {"checksum": checksum.hexdigest(), "position": 1, "frames": 3}


def test_a_position_is_emitted_as_it_was(store: DocumentStore) -> None:
    """A snapshot is a position and a checksum."""
    before = Emitter(store).packs({})
    list(before)
    store.feed_documents("default", [fed(1000)])
    again = Emitter(store).packs({"position": 1})
    list(again)
    assert again.end() == before.end()


def test_tags_are_sent_if_they_are_asked_for(full: DocumentStore) -> None:
    """A tuner needs none, an export by packs does."""
    assert packs_of(full)[0].anchor_tags is None
    assert (packs_of(full, tags=True)[0].anchor_tags or [""])[0] == '{"n": 0}'


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"shards": 2, "shard": 2}, "shard 2 of 2"),
        ({"validation": 0.5, "holdout": 0.5}, "leave some to training"),
        ({"split": "test"}, "split"),
        ({"position": 7}, "no position 7"),
        ({"sharts": 2}, "unknown option 'sharts'"),
        ({**MADE, "position": 1}, "has no positions"),
        ({"kind": "blob"}, "holds no .blob"),
    ],
)
def test_unfit_parameters_are_told_at_the_call(
    full: DocumentStore, parameters: dict[str, Any], message: str
) -> None:
    """Before the first frame, with what is accepted."""
    with pytest.raises(OptionError, match=message):
        Emitter(full).packs(parameters)


def test_an_unknown_collection_is_told_at_the_call(full: DocumentStore) -> None:
    """Not as an empty stream."""
    with pytest.raises(UnknownCollectionError, match="'nowhere'"):
        Emitter(full).packs({"collection": "nowhere"})


@pytest.mark.parametrize("parameters", [{}, MADE])
def test_collections_are_linted_made_or_stored(full: DocumentStore, parameters: dict[str, Any]) -> None:
    """The report counts what the stream holds, and what sources disagree about where there are any."""
    report = Emitter(full).lint(parameters).as_dict()
    assert report["counts"]["anchors"] == len(names(packs_of(full, **parameters)))


def test_sources_that_disagree_are_in_the_report(store: DocumentStore) -> None:
    """The store knows them, a stream does not."""
    match = Document(id="m0", tags=labelled({}, -1))
    store.feed_documents("default", [Document(id="q0", matches=[match])], source="another")
    found = {finding["name"]: finding["count"] for finding in Emitter(store).lint({}).as_dict()["findings"]}
    assert found["contradictions"] == 1


def test_what_was_read_is_kept_for_the_next_reader(
    store: DocumentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second stream of the same data asks the store for no pack, and is the same; other parameters are other data."""
    emitter, cache = Emitter(store), FrameCache(as_it_is)
    first = emitter.frames({}, cache)
    assert not first.is_in_memory
    frames = [repr(frame) for frame in first]
    monkeypatch.setattr(store, "packs", lambda *_, **__: iter(()))
    again = emitter.frames({}, cache)
    assert again.is_in_memory
    assert ([repr(frame) for frame in again], again.end()) == (frames, first.end())
    assert list(emitter.frames({"shards": 2}, cache)) == []


@pytest.mark.parametrize("parameters", [{}, MADE])
def test_a_frame_is_made_once_of_a_pack_and_the_cursor_behind_it(
    full: DocumentStore, parameters: dict[str, Any]
) -> None:
    """Made or stored, a stream of frames is that of the packs; who goes on gets those that were kept."""

    class Frame(str):
        nbytes = 1

    made = []

    def frame(pack: Pack, cursor: Cursor) -> Frame:
        made.append(str(cursor))
        return Frame(repr((pack, cursor)))

    cache, packs = FrameCache(frame), Emitter(full).packs(parameters)
    expected = [repr(one) for one in packs]
    whole = Emitter(full).frames(parameters, cache)
    frames = list(whole)
    assert ([str(one) for one, _ in frames], whole.end()) == (expected, packs.end())
    rest = Emitter(full).frames({**parameters, "cursor": str(frames[0][1])}, cache)
    assert list(rest) == frames[1:]
    assert len(made) == len(frames) * (1 if rest.is_in_memory else 2)
    assert rest.is_in_memory == (parameters == {})


def test_nothing_is_kept_beyond_a_deletion_or_a_feed(store: DocumentStore) -> None:
    """A reader after either gets what holds then, and so does one of a collection that was made anew."""
    emitter, cache = Emitter(store), FrameCache(as_it_is)

    def count(**parameters: Any) -> int:
        return len(names([pack for pack, _ in emitter.frames(parameters, cache)]))

    before = count()
    store.feed_documents("default", [fed(1000)])
    assert count() == before + 1
    store.delete("default", ["q0"])
    assert count() == before
    store.delete("default")
    store.feed_documents("default", [fed(0)])
    assert count(position=1) == 1


def test_a_report_is_about_all_of_a_collection(full: DocumentStore) -> None:
    """What would leave something out, or what a report has no use for, is refused."""
    for name, value in (("cursor", "1-1-ffffffff"), ("shards", 2), ("split", "training"), ("tags", True)):
        with pytest.raises(OptionError, match=f"unknown option '{name}'"):
            Emitter(full).lint({name: value})


def test_what_was_deleted_can_be_forgotten(full: DocumentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deletion must not leave contents in memory for the next reader."""
    emitter, cache = Emitter(full), FrameCache(as_it_is)
    assert list(emitter.frames({}, cache))
    cache.clear()
    monkeypatch.setattr(full, "packs", lambda *_, **__: iter(()))
    assert list(emitter.frames({}, cache)) == []


def test_a_cache_keeps_no_more_than_its_limit() -> None:
    """Large streams pass through it, and of small ones those go that nobody has read for longest."""
    (pack,) = packed([fed(0)])
    cache = FrameCache(as_it_is, limit=2 * pack.nbytes)

    def read(key: str, count: int) -> int:
        return len(list(cache.stream(key, Summed([pack] * count, PackChecksum(), 1))))

    assert [read(key, count) for key, count in (("a", 1), ("b", 1), ("large", 3))] == [1, 1, 3]
    assert read("a", 0) == 1  # read once more, so that b is the one that nobody has read for longest
    assert read("c", 1) == 1
    assert {key: read(key, 0) for key in ("a", "c", "large", "b")} == {"a": 1, "c": 1, "large": 0, "b": 0}
