"""The same service over HTTP and JSON."""

import json
import urllib.request

import numpy as np

from demo.flow import RunningFlow
from executors.client import FlowClient
from executors.documents import MatchDocument
from tests.integration.asking import encode, http, stream, without_cursor
from tests.two_classes import points


def test_what_is_fed_over_http_is_what_grpc_emits(client: FlowClient, flow: RunningFlow) -> None:
    """Documents as JSON are stored with their ids, tags and numbers."""
    match = {"id": "m", "blob": [0.5] * 6, "tags": {"finetuner": {"label": -1}}}
    anchor = {"id": "a", "blob": [0.25] * 6, "tags": {"class": "x"}, "matches": [match]}
    status, report = http(flow, "/feed", {"data": [anchor], "parameters": {"collection": "json"}})
    [emitted] = stream(client, "/emit", MatchDocument, collection="json")
    assert (status, report["data"][0]["tags"]["accepted"]) == (200, 1)
    assert (emitted.id, without_cursor(emitted.tags)) == ("a", anchor["tags"])
    assert emitted.blob.tolist() == anchor["blob"]
    assert (emitted.matches[0].id, emitted.matches[0].tags) == ("m", match["tags"])


def test_a_run_is_started_and_watched_over_http(flow: RunningFlow, two: str) -> None:
    """A run that was started with JSON is told by /runs, and a GET of its progress ends with its final state."""
    options = {"collection": two, "run": "http", "epochs": 1, "promote": "never"}
    _, started = http(flow, "/fit", {"data": [], "parameters": options})
    asked = urllib.request.Request(
        f"{flow.http}/progress",
        json.dumps({"parameters": {"run": "http"}}).encode(),
        {"Content-Type": "application/json"},
        method="GET",
    )
    with urllib.request.urlopen(asked, timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    *_, last, end = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    _, told = http(flow, "/runs", {"data": [], "parameters": {"run": "http"}})
    assert started["data"][0]["id"] == "http"
    assert last["tags"]["event"] == told["data"][0]["tags"]["state"] == "succeeded"
    assert end["tags"]["finetuner"]["end"]["error"] is None


def test_http_embeds_like_grpc(client: FlowClient, flow: RunningFlow) -> None:
    """All documents of one POST come back embedded, also more than Jina sends at a time, and exactly as over gRPC."""
    blobs = points(250)
    embeddings, version = encode(client, blobs)
    _, answer = http(flow, "/encode", {"data": [{"blob": blob.tolist()} for blob in blobs]})
    assert {document["tags"]["finetuner"]["model"] for document in answer["data"]} == {version}
    assert np.array_equal(
        np.array([document["embedding"] for document in answer["data"]], np.float32), embeddings
    )


def test_http_lists_the_models_of_grpc(client: FlowClient, flow: RunningFlow) -> None:
    """Both protocols tell the same of the same versions."""
    _, answer = http(flow, "/models", {"data": []})
    assert [report["tags"] for report in answer["data"]] == [report.tags for report in client.post("/models")]


def test_whole_numbers_of_json_are_numbers(flow: RunningFlow) -> None:
    """JSON may write 1.0 as 1, and both are embedded alike by an encoder of numbers."""
    data = [{"blob": [1, 0, 2, 0, 0, 3]}, {"blob": [1.0, 0.0, 2.0, 0.0, 0.0, 3.0]}]
    _, answer = http(flow, "/encode", {"data": data})
    whole, decimal = (document["embedding"] for document in answer["data"])
    assert whole == decimal
