"""What cannot be used is refused with a typed error that names it, and the service goes on."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from docarray import DocList

from demo.flow import RunningFlow
from executors.client import FlowClient
from executors.documents import ContentDocument
from finetuner.documents import Document, labelled
from finetuner.errors import (
    ContentError,
    FinetunerError,
    LabelError,
    MatchDataError,
    OptionError,
    UnknownCollectionError,
    UnknownRunError,
    UnknownVersionError,
)
from tests.integration.asking import contents, encode, http, stream, wired
from tests.two_classes import match_documents, points

GOOD = np.arange(6, dtype=np.float32)
NAN = np.where(GOOD == 2, np.nan, GOOD).astype(np.float32)
CONTENTS: dict[str, tuple[dict[str, Any], str]] = {
    "no content": ({"blob": None}, "(has no |comes without content)"),
    "empty array": ({"blob": np.zeros(0, np.float32)}, "is empty"),
    "other shape": ({"blob": np.ones(5, np.float32)}, r"float32 \(5,\)"),
    "no numbers": ({"blob": np.ones(6, np.complex64)}, "complex64"),
    "NaN": ({"blob": NAN}, "NaN or infinite"),
    "infinite": ({"blob": np.where(GOOD == 2, np.inf, GOOD).astype(np.float32)}, "NaN or infinite"),
    "text only": ({"blob": None, "text": "a question"}, r"\.text"),
}
LABELS: dict[str, Any] = {"string": "yes", "NaN": float("nan"), "true": True, "too large": 1e39, "list": [1]}
TAKE_MATCHES = ["/feed", "/fit", "/evaluate"]


@pytest.fixture(autouse=True, scope="module")
def _nothing_has_happened(client: FlowClient) -> Iterator[None]:
    """After all of these tests both Executors answer, and nothing was stored, started or promoted."""
    told = [client.post(endpoint).to_json() for endpoint in ("/collections", "/runs", "/models")]
    yield
    assert encode(client, points(2))[0].shape == (2, 4)
    assert told == [client.post(endpoint).to_json() for endpoint in ("/collections", "/runs", "/models")]


def refused(kind: type[FinetunerError], match: str) -> Any:
    """Return a context in which an error of exactly that class, with that in its message, has to come."""
    return pytest.raises(kind, match=match, check=lambda error: type(error) is kind)


def anchor(match: dict[str, Any]) -> list[Document]:
    """Return an anchor with one match that is good and one that is ``bad``."""
    good = Document(id="good", blob=GOOD, tags=labelled({}, 1))
    bad = Document(**{"id": "bad", "blob": -GOOD, "tags": labelled({}, -1), **match})
    return [Document(id="anchor", blob=GOOD + 1, matches=[good, bad])]


@pytest.mark.parametrize(("content", "told"), CONTENTS.values(), ids=CONTENTS)
def test_encode_refuses_a_content(client: FlowClient, content: dict[str, Any], told: str) -> None:
    """A document whose content is unfit is named, also among good ones."""
    documents = DocList[ContentDocument](
        [ContentDocument(id="good", blob=GOOD), ContentDocument(id="bad", **content)]
    )
    with refused(ContentError, f"document 'bad'.*{told}"):
        client.post("/encode", documents, answer=ContentDocument)


@pytest.mark.parametrize("endpoint", TAKE_MATCHES)
@pytest.mark.parametrize(("content", "told"), CONTENTS.values(), ids=CONTENTS)
def test_match_data_with_an_unfit_content_is_refused(
    client: FlowClient, endpoint: str, content: dict[str, Any], told: str
) -> None:
    """A match whose content is unfit is named, wherever match data is taken."""
    with refused(ContentError, f"document 'bad'.*{told}"):
        client.post(endpoint, wired(anchor(content)))


@pytest.mark.parametrize("endpoint", TAKE_MATCHES)
@pytest.mark.parametrize("label", LABELS.values(), ids=LABELS)
def test_match_data_with_an_unfit_label_is_refused(client: FlowClient, endpoint: str, label: Any) -> None:
    """A match whose label is no finite number is named, wherever match data is taken."""
    with refused(LabelError, "match 'bad': label .* is not a finite number"):
        client.post(endpoint, wired(anchor({"tags": labelled({}, label)})))


@pytest.mark.parametrize("endpoint", [*TAKE_MATCHES, "/encode"])
def test_no_document_is_refused(client: FlowClient, endpoint: str) -> None:
    """An endpoint that needs documents tells so if none came."""
    kind = {"/feed": MatchDataError, "/encode": ContentError}.get(endpoint, OptionError)
    with refused(kind, "at least one is needed|give either documents or"):
        client.post(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        *TAKE_MATCHES,
        "/encode",
        "/delete",
        "/matches",
        "/lint",
        "/collections",
        "/runs",
        "/cancel",
        "/resume",
        "/models",
        "/promote",
        "/rollback",
    ],
)
def test_an_unknown_option_is_refused(client: FlowClient, endpoint: str) -> None:
    """A misspelt parameter is named instead of ignored, at every endpoint."""
    documents = wired(match_documents(8)) if endpoint in TAKE_MATCHES else contents(points(2))
    with refused(OptionError, "unknown option 'sneed'"):
        client.post(endpoint, documents, sneed=1)


@pytest.mark.parametrize("endpoint", ["/emit", "/pack", "/export", "/progress"])
def test_a_stream_refuses_an_unknown_option(client: FlowClient, endpoint: str) -> None:
    """Nor is one ignored that a stream is asked with."""
    with refused(OptionError, "unknown option 'sneed'"):
        stream(client, endpoint, sneed=1)


@pytest.mark.parametrize(
    ("endpoint", "options", "kind", "told"),
    [
        ("/fit", {"epochs": 0}, OptionError, "'epochs' is 0"),
        ("/fit", {"epochs": 1.5}, OptionError, "'epochs' is 1.5: 1.5 is not a whole number"),
        ("/fit", {"epochs": "many"}, OptionError, "'epochs' is 'many'"),
        ("/fit", {"loss": "magic"}, OptionError, "there is no loss 'magic'; accepted are infonce"),
        ("/fit", {"promote": "maybe"}, OptionError, "'promote' is 'maybe': .*'if_better'"),
        ("/fit", {"run": "../up"}, OptionError, r"run '\.\./up'"),
        ("/fit", {"run": ""}, OptionError, "run ''"),
        ("/fit", {"parent": "v99"}, UnknownVersionError, "'v99'; known are v0"),
        ("/fit", {"collection": "both"}, OptionError, "either documents or the name of a collection"),
        ("/evaluate", {"collection": "both"}, OptionError, "either documents or the name of a collection"),
        ("/evaluate", {"version": "v99"}, UnknownVersionError, "'v99'; known are v0"),
        ("/feed", {"collection": "fashion_mnist"}, OptionError, "'fashion_mnist' is made from a data set"),
        ("/feed", {"collection": "a/b"}, OptionError, "collection 'a/b'"),
        ("/feed", {"source": ""}, OptionError, "source ''"),
    ],
)
def test_an_option_beside_documents_is_refused(
    client: FlowClient, endpoint: str, options: dict[str, Any], kind: type[FinetunerError], told: str
) -> None:
    """An unfit option is named with what was given, and the good documents beside it are not used."""
    with refused(kind, told):
        client.post(endpoint, wired(match_documents(8)), **options)


@pytest.mark.parametrize(
    ("endpoint", "options", "kind", "told"),
    [
        ("/evaluate", {"collection": "nope"}, UnknownCollectionError, "'nope'"),
        ("/matches", {"collection": "nope"}, UnknownCollectionError, "'nope'"),
        ("/matches", {"num_total": -1}, OptionError, "'num_total' is -1"),
        ("/matches", {"collection": "covid_qa", "num_neg": 0.5}, OptionError, "'num_neg' is 0.5"),
        ("/lint", {"collection": "nope"}, UnknownCollectionError, "'nope'"),
        ("/lint", {"holdout": 0.9}, OptionError, "'holdout' is 0.9"),
        ("/delete", {"collection": "nope"}, UnknownCollectionError, "'nope'"),
        ("/delete", {"collection": "covid_qa"}, UnknownCollectionError, "'covid_qa'"),
        ("/delete", {}, OptionError, "'collection' is missing"),
        ("/promote", {"version": "v99"}, UnknownVersionError, "'v99'; known are v0"),
        ("/promote", {"version": "../versions/v0"}, UnknownVersionError, r"'\.\./versions/v0'"),
        ("/promote", {}, OptionError, "'version' is missing"),
        ("/runs", {"run": "nope"}, UnknownRunError, "'nope'"),
        ("/cancel", {"run": "nope"}, UnknownRunError, "'nope'"),
        ("/cancel", {}, OptionError, "'run' is missing"),
        ("/resume", {"run": "nope"}, UnknownRunError, "'nope'"),
        ("/resume", {}, OptionError, "'run' is missing"),
    ],
)
def test_an_unknown_name_is_refused(
    client: FlowClient, endpoint: str, options: dict[str, Any], kind: type[FinetunerError], told: str
) -> None:
    """A name that nothing has, or an unfit option, is told back."""
    with refused(kind, told):
        client.post(endpoint, **options)


@pytest.mark.parametrize(
    ("endpoint", "options", "kind", "told"),
    [
        ("/emit", {"collection": "nope"}, UnknownCollectionError, "'nope'"),
        ("/emit", {"num_total": 1.5}, OptionError, "'num_total' is 1.5: 1.5 is not a whole number"),
        ("/emit", {"collection": "fashion_mnist", "num_neg": -1}, OptionError, "'num_neg' is -1"),
        ("/emit", {"shards": 2, "shard": 2}, OptionError, "shard 2 of 2: they are counted from 0"),
        ("/emit", {"split": "test"}, OptionError, "'split' is 'test': .*'holdout'"),
        ("/emit", {"cursor": "there"}, OptionError, "cursor 'there' is none"),
        ("/emit", {"collection": "covid_qa", "position": 1}, OptionError, "has no positions"),
        ("/pack", {"kind": "sound"}, OptionError, "'kind' is 'sound'"),
        ("/export", {"collection": "nope"}, UnknownCollectionError, "'nope'"),
        (
            "/pack",
            {"collection": "covid_qa", "kind": "text", "num_neg": 0.5},
            OptionError,
            "'num_neg' is 0.5",
        ),
        ("/progress", {"run": "nope"}, UnknownRunError, "'nope'"),
        ("/progress", {}, OptionError, "'run' is missing"),
    ],
)
def test_a_stream_refuses_an_unknown_name(
    client: FlowClient, endpoint: str, options: dict[str, Any], kind: type[FinetunerError], told: str
) -> None:
    """The error of a stream comes in its own class too."""
    with refused(kind, told):
        stream(client, endpoint, **options)


@pytest.mark.parametrize("blob", ["pixels", [[1], [1, 2]]], ids=["a string", "ragged"])
def test_http_refuses_json_that_is_no_document(flow: RunningFlow, blob: Any) -> None:
    """A blob that is no array never reaches the service, and the answer tells where it stands."""
    status, answer = http(flow, "/encode", {"data": [{"id": "bad", "tags": {}, "blob": blob}]})
    assert (status, answer["detail"][0]["loc"]) == (422, ["body", "data", 0, "blob"])


@pytest.mark.parametrize(
    ("endpoint", "body", "status", "kind", "told"),
    [
        ("/encode", {"data": [{"id": "bad", "text": "?"}]}, 400, "ContentError", "document 'bad'"),
        ("/fit", {"data": [], "parameters": {"sneed": 1}}, 400, "OptionError", "unknown option 'sneed'"),
        ("/promote", {"data": [], "parameters": {"version": "v99"}}, 404, "UnknownVersionError", "'v99'"),
        ("/runs", {"data": [], "parameters": {"run": "nope"}}, 404, "UnknownRunError", "'nope'"),
        (
            "/matches",
            {"data": [], "parameters": {"collection": "nope"}},
            404,
            "UnknownCollectionError",
            "'nope'",
        ),
    ],
)
def test_http_tells_class_and_message(
    flow: RunningFlow, endpoint: str, body: dict[str, Any], status: int, kind: str, told: str
) -> None:
    """Over HTTP the error has a status, and comes as JSON with its class and the message that names the fault."""
    code, answer = http(flow, endpoint, body)
    assert (code, answer["error"]["type"]) == (status, kind)
    assert told in answer["error"]["message"]
