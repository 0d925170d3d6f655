"""What a Flow of plain Jina would do otherwise: each of these was a trap."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from docarray import DocList
from google.protobuf.empty_pb2 import Empty
from jina import Client
from jina.excepts import BadServer
from jina.proto.jina_pb2_grpc import JinaDiscoverEndpointsRPCStub, JinaRPCStub
from jina.types.request.data import DataRequest

from demo.flow import RunningFlow
from executors import documents
from executors.client import FlowClient
from executors.documents import ContentDocument, Report
from finetuner.errors import FinetunerError, SourceError, StreamError, UnknownEndpointError
from tests.integration.asking import contents, http, stream, wired
from tests.integration.traps import trap_flow
from tests.two_classes import match_documents, points


def test_an_unknown_endpoint_is_an_error(client: FlowClient) -> None:
    """A request to an endpoint that nobody binds is not answered with its own documents."""
    with pytest.raises(UnknownEndpointError, match=r"'/nowhere'; known are /audit, /cancel, .*/runs"):
        client.post("/nowhere", contents(points(1)), answer=ContentDocument)


def test_a_stream_of_an_unknown_endpoint_is_an_error(client: FlowClient) -> None:
    """Nor is it streamed as nothing."""
    with pytest.raises(UnknownEndpointError, match="'/nowhere'"):
        stream(client, "/nowhere")


def test_an_unknown_endpoint_is_not_found_over_http(flow: RunningFlow) -> None:
    """HTTP has a status for it."""
    assert http(flow, "/nowhere", {"data": []})[0] == 404


@pytest.mark.parametrize("endpoint", ["/emit", "/pack", "/export", "/progress", "/reembed"])
def test_a_stream_cannot_be_posted(client: FlowClient, endpoint: str) -> None:
    """Who posts to a stream is told how to ask."""
    with pytest.raises(UnknownEndpointError, match=f"'{endpoint}' is a stream; ask for it with stream_doc"):
        client.post(endpoint)


@pytest.mark.parametrize("endpoint", ["/encode", "/collections"])
def test_what_is_no_stream_cannot_be_streamed(client: FlowClient, endpoint: str) -> None:
    """Who streams what is answered at once is told how to ask."""
    with pytest.raises(UnknownEndpointError, match=f"'{endpoint}' is no stream; ask for it with post"):
        stream(client, endpoint)


def test_what_jina_adds_to_parameters_is_no_unknown_option(client: FlowClient) -> None:
    """Jina may put results of other Executors among the parameters; no endpoint takes that for the client's."""
    assert client.post("/models", __results__={"match_data": {}})


def test_answers_in_order_end_when_the_requests_end(flow: RunningFlow) -> None:
    """A client that ends its requests only after it got the answer is not left waiting."""

    async def ask() -> bool:
        request = DataRequest()
        request.header.exec_endpoint = "/models"
        request.data.docs = DocList[Report]()
        answered = asyncio.Event()

        async def requests() -> Any:
            yield request
            await answered.wait()

        async with grpc.aio.insecure_channel(f"127.0.0.1:{flow.ports[0]}") as channel:
            call = JinaRPCStub(channel).Call(requests(), metadata=(("__results_in_order__", "true"),))
            await call.read()
            answered.set()
            return await asyncio.wait_for(call.read(), 5) is grpc.aio.EOF

    assert asyncio.run(ask())


@pytest.mark.parametrize("executor", [2, 3], ids=["match_data", "finetuner"])
def test_no_endpoint_falls_back_to_a_legacy_document(flow: RunningFlow, executor: int) -> None:
    """Every endpoint is announced with the documents of this project, and as a stream if it is one."""
    with grpc.insecure_channel(f"127.0.0.1:{flow.ports[executor]}") as channel:
        told = JinaDiscoverEndpointsRPCStub(channel).endpoint_discovery(Empty())
    schemas = {name: one for name, one in told.schemas.items() if name != "_jina_dry_run_"}
    named = {schema[side]["name"] for schema in schemas.values() for side in ("input", "output")}
    streams = {name for name, schema in schemas.items() if schema["is_generator"]}
    assert named <= set(vars(documents))
    assert streams == ({"/emit", "/pack", "/export"} if executor == 2 else {"/progress", "/reembed"})


def test_fit_in_several_requests_is_refused(client: FlowClient, flow: RunningFlow) -> None:
    """A client that lets Jina cut its documents into requests is told so, instead of getting a run for each part."""
    before = len(client.post("/runs"))
    plainly = Client(host=f"grpc://127.0.0.1:{flow.ports[0]}")
    for in_order in (True, False):
        with pytest.raises(BadServer, match=r"OptionError.*/fit takes all its documents in one request"):
            plainly.post(
                "/fit",
                wired(match_documents(130)),
                return_type=DocList[Report],
                request_size=60,
                results_in_order=in_order,
            )
    assert len(client.post("/runs")) == before


# streams that go wrong


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFlow]:
    """A Flow whose streams go wrong."""
    with trap_flow(tmp_path_factory.mktemp("trap")) as running:
        yield running


def diary(trap: RunningFlow) -> list[str]:
    """Return what the trap Executor has noted."""
    path = trap.log.with_name("diary")
    return path.read_text().split() if path.exists() else []


async def take(client: FlowClient, endpoint: str, count: int) -> tuple[list[str], FinetunerError | None]:
    """Return the ids of a stream's first documents, and the error if one came before there were enough."""
    taken: list[str] = []
    try:
        async for report in client.stream(endpoint, answer=Report):
            taken.append(report.id)
            if len(taken) == count:
                break
    except FinetunerError as error:
        return taken, error
    return taken, None


@pytest.mark.parametrize(
    ("endpoint", "kind", "message"),
    [("/broken", StreamError, "a bug"), ("/damaged", SourceError, "page 3 is torn")],
    ids=["an error nobody foresaw", "an error of Finetuner"],
)
def test_a_stream_that_fails_midway_raises_and_is_sent_once(
    trap: RunningFlow, endpoint: str, kind: type[FinetunerError], message: str
) -> None:
    """What came before the error is delivered, the error follows, and the Executor is not asked again."""
    taken, error = asyncio.run(take(trap.client, endpoint, 10))
    assert taken == ["1", "2"]
    assert type(error) is kind
    assert message in str(error)
    assert diary(trap).count(endpoint[1:]) == 1


def test_a_stream_that_does_not_say_that_it_ends_was_cut(trap: RunningFlow) -> None:
    """However orderly its connection was closed, what came is not taken for all there is."""
    taken, error = asyncio.run(take(trap.client, "/silent", 10))
    assert taken == ["1", "2"]
    assert type(error) is StreamError
    assert "the stream was cut after 2 documents" in str(error)
    with pytest.raises(StreamError, match="the stream was cut after 2 documents"):
        list(trap.client.frames("/silent", {}))


def test_an_executor_sees_that_the_client_breaks_off(trap: RunningFlow) -> None:
    """Each of three clients that stop reading has its generator closed, wherever the stream was just then."""
    for number in range(1, 4):
        asyncio.run(take(trap.client, "/endless", number))
        until = time.monotonic() + 5
        while diary(trap).count("closed") < number and time.monotonic() < until:
            time.sleep(0.01)
        assert diary(trap).count("closed") == number


def test_two_executors_cannot_bind_one_endpoint(tmp_path: Path) -> None:
    """Such a Flow does not start, and says which endpoint is bound by whom."""
    with (
        pytest.raises(RuntimeError, match="jina flow ended with 1") as refused,
        trap_flow(tmp_path, executors=2),
    ):
        pass
    said = " ".join(str(refused.value).split())
    assert "UnknownEndpointError" in said
    assert "bound by trap0 and by trap1" in said
