"""The match data service: what is fed by ids and in packs, what is deleted, and what lint tells."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from docarray import DocList

from executors.client import FlowClient
from executors.documents import MatchDocument, PackDocument, pack_to_wire
from finetuner.documents import Document, labelled
from finetuner.errors import (
    ContentError,
    FinetunerError,
    LabelError,
    MatchDataError,
    OptionError,
    UnknownCollectionError,
)
from finetuner.packing import packed
from tests.integration.asking import feed, feed_packs, judged, listed, stream
from tests.two_classes import match_documents


def anchor(name: str, judged: dict[str, float | None], *, by_id: bool = False, **tags: Any) -> Document:
    """Return an anchor whose documents have their ids as texts, or, by id, no content."""

    def document(one: str, tags: dict[str, Any], matches: Iterable[Document] = ()) -> Document:
        return Document(None if by_id else one, tags=tags, id=one, matches=list(matches))

    found = [document(one, {} if label is None else labelled({}, label)) for one, label in judged.items()]
    return document(name, tags, found)


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
    """It is unknown, and of the next one of its name, which may hold other contents, nothing else is read."""
    feed(client, "gone", anchor("q", {"a": 1}))
    assert judged(client, "gone") == [("q", "a", 1)]
    assert client.post("/delete", collection="gone")[0].tags["documents"] == 2
    with pytest.raises(UnknownCollectionError, match="'gone'"):
        judged(client, "gone")
    feed(client, "gone", *match_documents(8))
    assert listed(client)["gone"]["position"] == 1
    assert {name for name, *_ in judged(client, "gone")} == {f"d{number}" for number in range(8)}


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
