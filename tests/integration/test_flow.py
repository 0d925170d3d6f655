"""The endpoints of a real Flow, each asked as a client asks it."""

import time
from typing import Any

import numpy as np
import pytest
from docarray import BaseDoc, DocList
from docarray.typing import NdArray
from jina import Client

from demo.flow import RunningFlow
from executors.client import FlowClient
from executors.documents import ContentDocument, MatchDocument, Report
from finetuner.documents import Document, labelled
from finetuner.training.run_folder import RunFolder
from tests.integration.asking import (
    LONG,
    children,
    contents,
    encode,
    first_epoch,
    pod,
    stream,
    wired,
    without_cursor,
)
from tests.two_classes import match_documents, points

RICH = [
    Document(
        id=f"anchor-{number}",
        blob=np.full((2, 3), number, np.float32),
        text=f"anchor {number}",
        tags={"class": number, "nested": {"list": [1, "two", None], "ünï": True}},
        matches=[
            Document(id="shared", blob=np.ones((2, 3), np.float32), text="shared", tags=labelled({}, 0.5)),
            Document(
                id="wrong", blob=np.zeros((2, 3), np.float32), text="wrong", tags=labelled({"a": 1}, -1)
            ),
            Document(id="unjudged", blob=np.eye(2, 3, dtype=np.float32), text="unjudged"),
        ],
    )
    for number in (2, 3)
]


def plain(document: Any) -> dict[str, Any]:
    """Return all that a document tells but its place in a stream, in types that compare."""
    blob = None if document.blob is None else np.asarray(document.blob)
    return {
        "id": document.id,
        "text": document.text,
        "blob": None if blob is None else (blob.dtype.str, blob.shape, blob.tobytes()),
        "tags": without_cursor(document.tags),
        "matches": [plain(match) for match in getattr(document, "matches", ())],
    }


@pytest.fixture(scope="session")
def rich(client: FlowClient) -> Report:
    """The report of feeding the rich documents for the first time."""
    return client.post("/feed", wired(RICH), collection="rich")[0]


# match data


def test_emit_streams_exactly_what_was_fed(client: FlowClient, rich: Report) -> None:
    """Ids, texts, arrays, tags and labels come back from the stream as they went in, in their order."""
    emitted = stream(client, "/emit", MatchDocument, collection="rich")
    assert [plain(document) for document in emitted] == [plain(document) for document in RICH]


def test_matches_answers_exactly_what_was_fed(client: FlowClient, rich: Report) -> None:
    """Ids, texts, arrays, tags and labels come back in one answer as they went in, in their order."""
    answered = client.post("/matches", answer=MatchDocument, collection="rich")
    assert [plain(document) for document in answered] == [plain(document) for document in RICH]


def test_feeding_again_changes_nothing(client: FlowClient, rich: Report) -> None:
    """The same documents once more bring no content and no judgement, and are emitted as before."""
    before = stream(client, "/emit", MatchDocument, collection="rich")
    again = client.post("/feed", wired(RICH), collection="rich")[0].tags
    assert (rich.tags["accepted"], again["accepted"], again["known"], again["contents"]) == (4, 0, 4, 0)
    assert [plain(one) for one in stream(client, "/emit", MatchDocument, collection="rich")] == [
        plain(one) for one in before
    ]


def test_collections_tells_what_was_fed_and_what_can_be_made(client: FlowClient, rich: Report) -> None:
    """A collection that was fed is listed with what it holds, a made one with the options of its generator."""
    listed = {report.id: report.tags for report in client.post("/collections")}
    assert listed["rich"]["anchors"] == 2
    assert listed["rich"]["judgements"] == 4
    assert "num_neg" in listed["fashion_mnist"]["options"]


def test_a_made_collection_is_emitted_with_the_options_of_the_request(client: FlowClient) -> None:
    """A stream's parameters reach the generator, whose match Documents carry what was asked for."""
    [only] = stream(
        client, "/emit", MatchDocument, collection="fashion_mnist", num_total=1, num_pos=2, num_neg=1
    )
    assert np.asarray(only.blob).shape == (28, 28)
    assert [match.tags["finetuner"]["label"] for match in only.matches] == [1, 1, -1]


def test_a_client_may_have_document_classes_of_its_own(client: FlowClient, flow: RunningFlow) -> None:
    """Classes with other names and the same fields are fed, emitted and encoded by a plain Jina client."""

    class Candidate(BaseDoc):
        blob: NdArray | None = None
        tags: dict[str, Any] = {}  # noqa: RUF012
        embedding: NdArray | None = None

    class Anchor(Candidate):
        matches: DocList[Candidate] = DocList[Candidate]()

    match = Candidate(id="m", blob=np.ones(6, np.float32), tags={"finetuner": {"label": 1}})
    anchor = Anchor(id="a", blob=np.zeros(6, np.float32), matches=DocList[Candidate]([match]))
    plainly = Client(host=f"grpc://127.0.0.1:{flow.ports[0]}")
    collection = {"collection": "own"}
    plainly.post("/feed", DocList[Anchor]([anchor]), parameters=collection, return_type=DocList[Report])
    [emitted] = plainly.post("/matches", parameters=collection, return_type=DocList[Anchor])
    [encoded] = plainly.post("/encode", DocList[Candidate]([match]), return_type=DocList[Candidate])
    assert (emitted.id, emitted.matches[0].id, emitted.matches[0].blob.tolist()) == ("a", "m", [1.0] * 6)
    assert encoded.embedding.shape == (4,)


# runs


def test_fit_learns_from_the_documents_of_the_request(client: FlowClient) -> None:
    """Documents that come with the request are all trained on, also if they are more than fit one request of Jina."""
    documents = wired(match_documents(130))
    run = client.post("/fit", documents, epochs=1, promote="never")[0].id
    split = next(one.tags for one in stream(client, "/progress", run=run) if one.tags["event"] == "split")
    assert split["training"] + split["validation"] + split["holdout"] == 130


def test_fit_pulls_a_collection_from_the_data_executor(client: FlowClient, two: str) -> None:
    """A run that is given the name of a collection learns from all that was fed to it."""
    run = client.post("/fit", collection=two, epochs=1, promote="never")[0].id
    events = {report.tags["event"]: report.tags for report in stream(client, "/progress", run=run)}
    assert events["split"]["judgements"] == 360
    assert events["succeeded"]["promoted"] is False


def test_a_run_whose_collection_cannot_be_pulled_fails(client: FlowClient) -> None:
    """The run ends at once, and its reason is the data Executor's error by class and message."""
    run = client.post("/fit", collection="nope")[0].id
    last = stream(client, "/progress", run=run)[-1].tags
    assert last["event"] == "failed"
    assert last["reason"].startswith("UnknownCollectionError: there is no collection 'nope'")


def test_progress_ends_with_the_state_that_runs_tells(client: FlowClient, two: str) -> None:
    """The stream goes from queued over its data and every epoch to a final state, the run's state from then on."""
    run = client.post("/fit", collection=two, epochs=3, patience=3, promote="never")[0].id
    events = [report.tags["event"] for report in stream(client, "/progress", run=run)]
    training = ["split", "recipe", *["epoch"] * 3, "evaluated", "maps"]
    assert [event for event in events if event != "progress"] == [
        "queued",
        "data",
        "running",
        *training,
        "succeeded",
    ]
    assert client.post("/runs", run=run)[0].tags["state"] == "succeeded"


def test_the_same_run_twice_starts_once(client: FlowClient, two: str) -> None:
    """Asking again with a run's name, at once or when it is through, returns that run, and makes no second version."""
    asked: dict[str, Any] = {"collection": two, "run": "once", "epochs": 1, "promote": "never"}
    told = [client.post("/fit", **asked)[0].tags, client.post("/fit", **asked)[0].tags]
    stream(client, "/progress", run="once")
    told.append(client.post("/fit", **asked)[0].tags)
    assert told[2]["state"] == "succeeded"
    assert len({tags["queued"] for tags in told}) == 1
    assert [report.tags["run"] for report in client.post("/models")].count("once") == 1


def test_runs_are_listed_from_the_oldest_to_the_newest(client: FlowClient, two: str) -> None:
    """The newest run is the last one of the list."""
    for run in ("older", "newer"):
        client.post("/fit", collection=two, run=run)
    listed = [report.id for report in client.post("/runs")][-2:]
    for run in ("older", "newer"):
        client.post("/cancel", run=run)
    assert listed == ["older", "newer"]


def test_cancel_ends_a_training_at_once(client: FlowClient, flow: RunningFlow, two: str) -> None:
    """Two seconds after the cancellation the run is cancelled for everybody, and its process is gone."""
    run = client.post("/fit", collection=two, **LONG)[0].id
    first_epoch(client, run)
    began = time.monotonic()
    client.post("/cancel", run=run)
    last = stream(client, "/progress", run=run)[-1].tags["event"]
    while children(pod(flow, "finetuner")) and time.monotonic() < began + 5:
        time.sleep(0.01)
    assert last == "cancelled"
    assert time.monotonic() - began < 2


def test_progress_ends_with_the_end_of_a_run(client: FlowClient, flow: RunningFlow, two: str) -> None:
    """What a training process reports while it is being killed does not come after the final state."""
    client.post("/fit", collection=two, run="late", **LONG)
    client.post("/cancel", run="late")
    RunFolder(flow.log.parent / "finetuner" / "runs" / "late").report("epoch", {"epoch": 1})
    assert stream(client, "/progress", run="late")[-1].tags["event"] == "cancelled"


# versions


def test_encode_answers_in_order_and_with_one_version(client: FlowClient) -> None:
    """Every document comes back in its place, with an embedding of length 1 and the stamp of the active version."""
    documents = client.post("/encode", contents(points(250)), answer=ContentDocument)
    active = [report.id for report in client.post("/models") if report.tags["active"]]
    assert [document.id for document in documents] == [f"c{number}" for number in range(250)]
    assert [{document.tags["finetuner"]["model"] for document in documents}] == [set(active)]
    assert np.linalg.norm([document.embedding for document in documents], axis=1) == pytest.approx(
        1, abs=1e-5
    )


def test_promote_and_rollback_change_what_serves(client: FlowClient, tuned: str) -> None:
    """A promoted version embeds from the next request on, and a rollback brings the earlier embeddings back."""
    client.post("/promote", version="base")
    base, _ = encode(client, points(20))
    client.post("/promote", version=tuned)
    other, promoted = encode(client, points(20))
    client.post("/rollback")
    again, rolled_back = encode(client, points(20))
    assert (promoted, rolled_back) == (tuned, "v0")
    assert not np.allclose(other, base)
    assert np.array_equal(again, base)


def test_models_tells_which_version_serves(client: FlowClient, tuned: str) -> None:
    """All versions are listed from the base on, and only the one that was promoted is active."""
    client.post("/promote", version=tuned)
    models = {report.id: report.tags["active"] for report in client.post("/models")}
    client.post("/promote", version="base")
    assert next(iter(models)) == "v0"
    assert [name for name, active in models.items() if active] == [tuned]


def test_evaluate_sets_a_version_against_the_base(client: FlowClient, tuned: str) -> None:
    """The answer has the metrics of the base and of the version that was named, and the gain of the latter."""
    [report] = client.post("/evaluate", wired(match_documents(seed=1)), version=tuned)
    assert report.tags["anchors"] == 60
    assert set(report.tags["metrics"]) == {"v0", tuned}
    assert len(report.tags["gain"]["v0"]) == 3


def test_evaluate_pulls_a_collection(client: FlowClient, two: str) -> None:
    """The name of a collection does instead of documents."""
    [report] = client.post("/evaluate", collection=two, emit={"num_total": 10}, version="base")
    assert report.tags["anchors"] == 10
