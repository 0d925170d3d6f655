"""A client of the Flow, or of one Executor: typed errors, and streams that cannot end unnoticed."""

import re
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
from docarray import BaseDoc, DocList
from jina import Client
from jina.excepts import BadServer, BadServerFlow

from executors.documents import MatchDocument, Report, StreamRequest
from executors.streams import typed, unframed
from finetuner.errors import StreamError

WHOLE = frozenset({"/fit", "/evaluate"})
"""Endpoints that have to get all of their documents in one request."""

_OURS = re.compile(r"<class 'finetuner\.errors\.(\w+)'>: (.*)")


class FlowClient:
    """Speaks gRPC with a Flow's gateway or with an Executor.

    Args:
        address: Such as ``grpc://127.0.0.1:51000``.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def wait_until_ready(self, seconds: float) -> None:
        """Return once somebody answers at the address.

        Raises:
            ConnectionError: If nobody does in time.
        """
        # without a bound it would try again after 1 s, then 1.6 s, then 2.6 s
        often = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 100)]
        with grpc.insecure_channel(self._address.removeprefix("grpc://"), options=often) as channel:
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
    ) -> AsyncIterator[Any]:
        """Yield the documents of a stream.

        Raises:
            FinetunerError: The error of the service, in its own class; StreamError if the stream was cut.
            ConnectionError: If nobody answers, or no longer.
        """
        documents = Client(host=self._address, asyncio=True).stream_doc(
            on=endpoint, inputs=StreamRequest(parameters=parameters), return_type=answer
        )
        what = f"{self._address}{endpoint}"
        try:
            async for document in unframed(cast(AsyncIterator[Any], documents), what=what):
                yield document
        except BadServerFlow as error:
            # an error outside of the stream has no frame to travel in; gRPC tells its class and message
            told = _OURS.search(str(error))
            raise typed(*told.groups()) if told else StreamError(f"{what}: {error}") from error
