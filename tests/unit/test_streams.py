"""What the Executors share: streams that tell how they ended, request parameters, documents on the wire."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docarray import DocList

from executors.documents import (
    ContentDocument,
    DocumentArray,
    MatchDocument,
    PackDocument,
    PackFrame,
    Report,
    StreamRequest,
    embedded,
    named,
    pack_from_wire,
    pack_to_wire,
    to_wire,
)
from executors.match_data import MatchDataExecutor
from executors.parameters import given, parse
from executors.streams import Frames, check_end, framed, typed
from finetuner import errors
from finetuner.checksums import DocumentChecksum
from finetuner.documents import Document, label_of, labelled
from finetuner.errors import (
    ContentError,
    FinetunerError,
    OptionError,
    StreamError,
    UnknownCollectionError,
    UnknownRunError,
)
from finetuner.matches import MatchSet
from finetuner.packing import packed
from finetuner.reports.options import JudgeOptions


async def stream(count: int, error: Exception | None = None) -> AsyncIterator[Report]:
    """Yield some reports, and then break off with an error if one is given."""
    for at in range(count):
        yield Report(id=str(at), tags={"finetuner": {"model": "v1"}})
    if error is not None:
        raise error


async def gathered(documents: AsyncIterator[Report]) -> list[Report]:
    """Return all documents of a stream."""
    return [document async for document in documents]


def sent(count: int, error: Exception | None = None) -> list[Report]:
    """Return the frames of a stream."""
    return asyncio.run(gathered(framed(stream(count, error), Report)))


def received(frames: list[Report]) -> list[str]:
    """Return the ids that a client gets from frames, up to the last one."""
    return list(receive(frames))


def receive(frames: list[Report]) -> Iterator[str]:
    """Yield the ids of documents as a client gets them."""
    followed = Frames("/emit")
    for frame in frames:
        if followed.end(frame) is not None:
            return
        yield frame.id
    raise followed.cut()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_stream_ends_with_its_number_of_documents(count: int) -> None:
    """The last frame counts those before it, and the client gets these and no more."""
    frames = sent(count)
    assert len(frames) == count + 1
    assert frames[-1].tags == {"finetuner": {"end": {"documents": count, "error": None}}}
    assert received(frames) == [str(at) for at in range(count)]


def test_an_error_travels_in_its_own_class() -> None:
    """What came before it arrives; then the client raises what the service raised."""
    frames = sent(2, UnknownRunError("there is no run 'r1'"))
    assert len(frames) == 3
    arrived: list[str] = []
    with pytest.raises(UnknownRunError, match="there is no run 'r1'"):
        arrived.extend(receive(frames))
    assert arrived == ["0", "1"]


def test_other_errors_are_not_framed() -> None:
    """A fault of the program ends the stream as such, without a last frame that would call it an answer."""
    with pytest.raises(ZeroDivisionError):
        sent(1, ZeroDivisionError())


@pytest.mark.parametrize("kept", [0, 2])
def test_a_stream_without_its_last_frame_was_cut(kept: int) -> None:
    """A connection that closes early is never taken for the end."""
    with pytest.raises(StreamError, match=f"/emit: the stream was cut after {kept} documents"):
        received(sent(3)[:kept])


def test_a_stream_that_lost_a_document_is_an_error() -> None:
    """The count of the last frame has to be what came."""
    frames = sent(3)
    del frames[1]
    with pytest.raises(StreamError, match="/emit: 2 documents came, 3 were sent"):
        received(frames)


def test_what_there_is_to_say_of_the_whole_is_in_the_last_frame() -> None:
    """It is asked for when all documents are through, and the client gets it with their number."""
    told: dict[str, Any] = {}

    async def documents() -> AsyncIterator[Report]:
        yield Report(id="0")
        told["position"] = 3

    [_, last] = asyncio.run(gathered(framed(documents(), Report, end=lambda: told)))
    followed = Frames("/emit")
    followed.end(Report(id="0"))
    assert followed.end(last) == {"documents": 1, "error": None, "position": 3}


def test_another_checksum_than_that_of_what_came_is_an_error() -> None:
    """A stream whose documents changed on the way is not taken for complete, nor one that tells no checksum."""
    checksum = DocumentChecksum()
    checksum.add(Document(id="a", text="who?"))
    check_end(checksum, {"checksum": checksum.hexdigest()}, what="/emit")
    for end in ({"checksum": DocumentChecksum().hexdigest()}, {}):
        with pytest.raises(StreamError, match="/emit: what came has another checksum"):
            check_end(checksum, end, what="/emit")


def test_a_user_may_keep_other_things_under_our_key() -> None:
    """A document whose ``tags['finetuner']`` is no mapping is a document like any other."""
    frames = [Report(id="mine", tags={"finetuner": "mine"}), *sent(0)]
    frames[-1].tags["finetuner"]["end"]["documents"] = 1.0  # jina makes floats of all numbers
    assert received(frames) == ["mine"]


def test_every_error_of_the_tree_has_its_class_on_the_other_side() -> None:
    """Whatever is raised on purpose can be caught by its class, in as much detail as here."""
    ours = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, FinetunerError)]
    assert len(ours) > 15
    for kind in ours:
        error = typed(kind.__name__, "why")
        assert (type(error), str(error)) == (kind, "why")


def test_an_unknown_class_is_told_in_the_message() -> None:
    """An error that is not ours is still one that ``except FinetunerError`` catches."""
    error = typed("KeyError", "'x'")
    assert (type(error), str(error)) == (FinetunerError, "KeyError: 'x'")
    assert not isinstance(typed("object", "x"), UnknownCollectionError)


def test_jinas_own_parameter_is_not_the_clients() -> None:
    """What jina adds on the way is no unknown option; what the client adds is."""
    assert given({"version": "v1", "__results__": {"x": 1}}) == {"version": "v1"}
    assert parse(JudgeOptions, {"version": "v1", "__results__": {}}, where="/evaluate").version == "v1"
    with pytest.raises(OptionError, match=r"unknown option .verison.; accepted are .*version"):
        parse(JudgeOptions, {"verison": "v1"}, where="/evaluate")


def test_documents_go_over_the_wire_and_back_as_they_were() -> None:
    """Ids, contents, tags and labels of an anchor and its matches survive the protobuf message."""
    match = Document(id="m", blob=np.ones((2, 2), np.float32), tags=labelled({"class": 3}, -0.5))
    anchor = Document(id="a", text="who?", tags={"n": 1}, matches=[match])
    message = DocList[MatchDocument]([to_wire(anchor)]).to_protobuf()
    arrived = DocList[MatchDocument].from_protobuf(message)[0]
    assert (arrived.id, arrived.text, arrived.blob, dict(arrived.tags)) == ("a", "who?", None, {"n": 1})
    assert (arrived.matches[0].id, arrived.matches[0].tags["class"]) == ("m", 3)
    assert label_of(arrived.matches[0]) == -0.5
    assert np.array_equal(np.asarray(arrived.matches[0].blob), np.ones((2, 2)))


def test_documents_of_the_wire_are_match_data_as_they_are() -> None:
    """Nothing has to be translated before a match set is built."""
    match = Document(id="m", text="I", tags=labelled({}, 1))
    matches = MatchSet.from_documents([to_wire(Document(id="a", text="who?", matches=[match]))])
    assert (matches.contents, matches.ids, matches.labels.tolist()) == (["who?", "I"], ["a", "m"], [1])


def test_embeddings_are_stamped_with_their_version() -> None:
    """Each document gets its own row; other tags stay, and a stamp of before is replaced."""
    tags: list[dict[str, Any]] = [{"x": 1}, {"finetuner": {"label": 1, "model": "v0"}}, {"finetuner": "mine"}]
    documents = DocList[ContentDocument](ContentDocument(text="a", tags=one) for one in tags)
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    answered = embedded(documents, rows, "v7")
    assert [np.asarray(one.embedding).tolist() for one in answered] == rows.tolist()
    assert [dict(one.tags) for one in answered] == [
        {"x": 1, "finetuner": {"model": "v7"}},
        {"finetuner": {"label": 1, "model": "v7"}},
        {"finetuner": {"model": "v7"}},
    ]


def test_a_document_without_a_name_is_named_by_its_content() -> None:
    """The same content has the same name next time, as an anchor and as a match; given names stay."""
    first, again = (
        next(named([MatchDocument(id=None, text="a", matches=DocList[ContentDocument]([ContentDocument(id=None, text="b")]))]))
        for _ in range(2)
    )  # fmt: skip
    assert first.id == again.id != first.matches[0].id == again.matches[0].id
    assert len(str(first.id)) == 32
    assert next(named([ContentDocument(id="mine", text="a")])).id == "mine"


def test_a_document_with_neither_name_nor_content_is_refused() -> None:
    """There is nothing to name it by."""
    with pytest.raises(ContentError, match="has no content"):
        list(named([ContentDocument(id=None)]))


def test_docarrays_older_name_is_offered() -> None:
    """``DocumentArray`` is what older code calls a list of documents."""
    assert DocumentArray is DocList


def test_an_unknown_argument_of_an_executor_is_refused() -> None:
    """A typo in uses_with is an error that tells what is accepted, not an Executor with the default."""
    with pytest.raises(errors.OptionError, match="unknown argument 'urll'; accepted are url"):
        MatchDataExecutor(urll="sqlite:///x.db")


def test_a_frame_is_the_message_of_its_pack() -> None:
    """A pack that was made into its message arrives as any other, tags included, and is not made again."""
    (pack,) = packed([Document(id="a", blob=np.ones((2, 3), np.float32))])
    frame, plain = PackFrame.of(pack, {"n": 1}), pack_to_wire(pack, {"n": 1})
    assert frame.to_protobuf() is frame.to_protobuf()
    arrived = PackDocument.from_protobuf(frame.to_protobuf())
    assert arrived.tags == {"n": 1}
    assert repr(pack_from_wire(arrived)) == repr(pack)
    plain.id = arrived.id
    assert frame.nbytes == plain.to_protobuf().ByteSize() > pack.nbytes


def test_what_is_in_memory_is_sent_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second reader of a collection gets the very messages of the first, and waits for no thread."""
    executor = MatchDataExecutor(url=f"sqlite:///{tmp_path / 'matches.db'}", workspace=str(tmp_path))

    async def read() -> list[Any]:
        return [frame async for frame in executor.pack(StreamRequest())]

    try:
        anchors = DocList[MatchDocument](MatchDocument(id=str(number), text="x") for number in range(300))
        asyncio.run(executor.feed(anchors, {}))
        first = asyncio.run(read())
        monkeypatch.delattr("executors.match_data.asyncio.to_thread")
        again = asyncio.run(read())
    finally:
        executor.close()
    assert len(first) > 1
    assert [id(frame) for frame in again[:-1]] == [id(frame) for frame in first[:-1]]
    assert again[-1].tags == first[-1].tags


NUMBER, TABLE = np.array(1.0), np.array([[1.0]])


@pytest.mark.parametrize(
    "fault",
    [
        *(
            {name: given}
            for name in ("anchors", "offsets", "matches", "labels")
            for given in (NUMBER, TABLE, None)
        ),
        {"weights": NUMBER},
        {"weights": TABLE},
        {"blobs": NUMBER},
    ],
)
def test_what_is_no_column_is_a_typed_error(fault: dict[str, Any]) -> None:
    """A single number, a table, and nothing where a column is needed."""
    columns = {"anchors": [0], "offsets": [0, 1], "matches": [1], "labels": [1.0], "weights": [1.0]}
    wire = {"ids": '["a", "b"]', **{name: np.array(one) for name, one in columns.items()}}
    pack_from_wire(PackDocument(**wire))
    with pytest.raises(ContentError):
        pack_from_wire(PackDocument(**{**wire, **fault}))
