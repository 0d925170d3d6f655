"""A client of the Flow, or of one Executor: typed errors, and streams that cannot end unnoticed."""

import re
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import grpc
from docarray import BaseDoc, DocList
from jina import Client
from jina.excepts import BadServer
from jina.proto import jina_pb2

from executors.documents import MatchDocument, PackDocument, Report, StreamRequest, pack_from_wire
from executors.streams import Frames, check_end, typed
from finetuner.checksums import DocumentChecksum, PackChecksum
from finetuner.documents import ours
from finetuner.errors import OptionError, StreamError
from finetuner.packs import Pack

WHOLE = frozenset({"/fit", "/evaluate"})
"""Endpoints that have to get all of their documents in one request."""

_UNBOUNDED = [("grpc.max_receive_message_length", -1)]  # as jina's own are
_OURS = re.compile(r"<class 'finetuner\.errors\.(\w+)'>: (.*)")


class FlowClient:
    """Speaks gRPC with a Flow's gateway or with an Executor.

    Args:
        address: Such as ``grpc://127.0.0.1:51000``.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._target = address.removeprefix("grpc://")

    def wait_until_ready(self, seconds: float) -> None:
        """Return once somebody answers at the address.

        Raises:
            ConnectionError: If nobody does in time.
        """
        # without a bound it would try again after 1 s, then 1.6 s, then 2.6 s
        often = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 100)]
        with grpc.insecure_channel(self._target, options=often) as channel:
            try:
                grpc.channel_ready_future(channel).result(seconds)
            except grpc.FutureTimeoutError as error:
                raise ConnectionError(f"nobody answers at {self._address} within {seconds:g} s") from error

    def post(
        self,
        endpoint: str,
        documents: DocList[Any] | None = None,
        *,
        answer: type[BaseDoc] = Report,
        request_size: int = 100,
        **parameters: Any,
    ) -> DocList[Any]:
        """Send documents, in requests of ``request_size``, and return what is answered, in order.

        ``/fit`` and ``/evaluate`` get theirs in one.

        Raises:
            FinetunerError: The error of the service, in its own class.
            ConnectionError: If nobody answers.
        """
        if endpoint in WHOLE and documents:
            request_size = len(documents)
        try:
            return Client(host=self._address).post(
                endpoint,
                documents,
                return_type=DocList[answer],
                parameters=parameters,
                request_size=request_size,
                results_in_order=True,
            )
        except BadServer as error:
            status = error.args[0].status
            raise typed(status.exception.name, " ".join(status.exception.args)) from error

    async def stream(
        self, endpoint: str, *, answer: type[BaseDoc] = MatchDocument, **parameters: Any
    ) -> AsyncGenerator[Any, None]:
        """Yield the documents of a stream.

        Raises:
            FinetunerError: The error of the service, in its own class; StreamError if the stream was cut, or its
                checksum is not that of what came, which cannot be told of one that goes on at a cursor.
            ConnectionError: If nobody answers, or no longer.
        """
        is_whole = parameters.get("cursor") is None  # the checksum is of what came before the cursor too
        checksum = DocumentChecksum() if answer is MatchDocument and is_whole else None
        frames = Frames(what := f"{self._address}{endpoint}")
        async with grpc.aio.insecure_channel(self._target, _UNBOUNDED) as channel:
            try:
                async for response in _call(channel, endpoint, parameters):
                    document = answer.from_protobuf(response.document)
                    end = frames.end(document)
                    if end is not None:
                        check_end(checksum, end, what=what)
                        return
                    if checksum is not None:
                        checksum.add(document)
                    yield document
            except grpc.aio.AioRpcError as error:
                raise _told(error, what) from error
        raise frames.cut()

    def packs(self, collection: str, *, patience: float = 10, **parameters: Any) -> "PackStream":
        """Return the packs of a collection as a stream that goes on where it broke off.

        Args:
            collection: Its name.
            patience: Seconds for which it tries to go on; 0 for not at all.
            parameters: Those of ``/pack`` but ``cursor``, which is the stream's own.

        Raises:
            OptionError: If a cursor is given.
        """
        if "cursor" in parameters:
            raise OptionError("packs: a cursor is given, and the stream keeps its own; leave it out")
        return PackStream(self, {**parameters, "collection": collection}, patience=patience)

    def frames(
        self, endpoint: str, parameters: dict[str, Any]
    ) -> Iterator[tuple[PackDocument, dict[str, Any] | None]]:
        """Yield the packs of a stream with None, and at last its last frame with what that says; no checksum is checked.

        Raises:
            FinetunerError: As :meth:`stream`.
            ConnectionError: As :meth:`stream`.
        """
        frames = Frames(what := f"{self._address}{endpoint}")
        with grpc.insecure_channel(self._target, _UNBOUNDED) as channel:
            try:
                for response in _call(channel, endpoint, parameters):
                    document = PackDocument.from_protobuf(response.document)
                    end = frames.end(document)
                    yield document, end
                    if end is not None:
                        return
            except grpc.RpcError as error:
                raise _told(error, what) from error
        raise frames.cut()


def _call(channel: Any, endpoint: str, parameters: dict[str, Any]) -> Any:
    """Begin a stream; jina's own client needs an event loop for that, and hides how it failed."""
    request = jina_pb2.SingleDocumentRequestProto()
    request.header.exec_endpoint = endpoint
    request.document.CopyFrom(StreamRequest(parameters=parameters).to_protobuf())
    begin = channel.unary_stream(
        "/jina.JinaSingleDocumentRequestRPC/stream_doc",
        request_serializer=jina_pb2.SingleDocumentRequestProto.SerializeToString,
        response_deserializer=jina_pb2.SingleDocumentRequestProto.FromString,
    )
    return begin(request, metadata=(("endpoint", endpoint),))


def _told(error: Any, what: str) -> Exception:
    """Return what a broken call means."""
    if error.code() == grpc.StatusCode.UNAVAILABLE:
        return ConnectionError(f"{what}: nobody answers, or no longer: {error.details()}")
    # an error outside of the stream has no frame to travel in; gRPC tells its class and message
    told = _OURS.search(str(error.details()))
    return typed(*told.groups()) if told else StreamError(f"{what}: {error.details()}")


class PackStream:
    """The packs of a collection: iterate over it once.

    What breaks off, because the connection or the server is gone, goes on at the cursor of the last pack as soon as
    somebody answers again; each pack comes once.

    Attributes:
        snapshot: What came, once all has come: ``collection``, ``position``, ``checksum`` and the ``parameters`` with
            which exactly the same is emitted again.
    """

    def __init__(self, client: FlowClient, parameters: dict[str, Any], *, patience: float = 10) -> None:
        self.snapshot: dict[str, Any] = {}
        self._client = client
        self._parameters = parameters
        self._patience = patience

    def __iter__(self) -> Iterator[Pack]:
        """Yield the packs.

        Raises:
            FinetunerError: The error of the service, in its own class; StreamError if the stream broke off and did not
                go on in time, or its checksum is not that of what came; ChangedDataError if documents were deleted
                meanwhile.
            ConnectionError: If nobody answers in time.
        """
        checksum = PackChecksum()
        going_on: dict[str, Any] = {}
        gives_up: float | None = None
        end: dict[str, Any] | None = None
        while end is None:
            try:
                for document, end in self._client.frames("/pack", self._parameters | going_on):
                    if end is not None:
                        break
                    pack = pack_from_wire(document)
                    checksum.add(pack)
                    going_on = {"cursor": ours(document.tags)["cursor"]}
                    gives_up = None
                    yield pack
            except (StreamError, ConnectionError):
                # from the first failure on, however long the reader took with the pack before it
                gives_up = gives_up or time.monotonic() + self._patience
                if time.monotonic() >= gives_up:
                    raise
                time.sleep(0.2)
        check_end(checksum, end, what=f"/pack of {self._parameters['collection']!r}")
        self.snapshot = self._told(end)

    def _told(self, end: dict[str, Any]) -> dict[str, Any]:
        collection, position = self._parameters["collection"], int(end["position"])
        parameters = {name: value for name, value in self._parameters.items() if name != "collection"}
        if position:  # a made collection has none
            parameters["position"] = position
        told = {"collection": collection, "position": position, "checksum": end["checksum"]}
        return {**told, "parameters": parameters}
