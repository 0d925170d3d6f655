"""A gateway that sends each request to the Executor that binds its endpoint.

Jina's own gateway passes every request down the chain, sends each stream to the first Executor, replays a stream
that failed, hides its error, and answers an endpoint that nobody knows with the documents as they came. This one
routes: the Flow's order plays no part, an error arrives as an error, and an unknown endpoint is one.
"""

import asyncio
import functools
import gc
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from google.protobuf.message import DecodeError
from jina.proto.jina_pb2 import StatusProto
from jina.serve.executors import __dry_run_endpoint__
from jina.serve.runtimes.gateway.composite import CompositeGateway
from jina.serve.stream.helper import AsyncRequestsIterator

from executors.client import WHOLE
from executors.http import with_typed_errors
from finetuner.errors import ContentError, OptionError, UnknownEndpointError


class FlowGateway(CompositeGateway):
    """Serves gRPC, HTTP and websocket at once, and routes by endpoint."""

    def __init__(self, **kwargs: Any) -> None:
        # jina pings idle connections more often than its servers allow: after a minute of silence they hang up, and
        # the next request fails
        arguments = kwargs["runtime_args"]
        asked = arguments.get("grpc_channel_options") or {}
        arguments["grpc_channel_options"] = {"grpc.keepalive_permit_without_calls": 0, **asked}
        super().__init__(**kwargs)
        # what was imported is never let go, and a full collection that walks through it stops every request meanwhile
        gc.collect()
        gc.freeze()

    async def setup_server(self) -> None:
        """Put the router between the servers and jina's streamer, then start the servers."""
        # these are private to jina, which is why its version is pinned exactly; tests/integration covers each
        streamer = self._request_handler.streamer
        router = _Router(streamer)
        streamer._validate_flow_docarray_compatibility = router.check_endpoints
        streamer._single_doc_request_handler = router.stream
        unary = streamer._streamer
        unary._request_handler = router.unary(unary._request_handler)
        unary._stream_requests = router.ordered(unary._stream_requests)
        # no Executor here answers to nobody; and after one request that broke off jina would wait for ever for those
        unary.wait_floating_requests_end = _nothing
        # jina's HTTP server sends what is posted in several requests, and returns the answer to the first
        streamer.stream_docs = functools.partial(streamer.stream_docs, request_size=sys.maxsize)
        handler = self._request_handler
        handler._http_fastapi_default_app = with_typed_errors(handler._http_fastapi_default_app)
        await self._unless_ended(super().setup_server())

    async def _unless_ended(self, setting_up: Coroutine[Any, Any, None]) -> None:
        # jina would go on asking Executors that have failed, and the Flow that ends it would wait for ever
        task, ended = asyncio.ensure_future(setting_up), asyncio.ensure_future(self.is_cancel.wait())
        await asyncio.wait({task, ended}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not task.done():
            task.cancel()
            raise RuntimeError("the Flow ended before all of its Executors had started; their log says why")
        await task

    @property
    def _should_exit(self) -> bool:
        # jina takes a gRPC server for one that wants to end, so that a gateway with no other would end at once
        return all(getattr(server, "should_exit", False) for server in self.servers)


class _Router:
    def __init__(self, streamer: Any) -> None:
        self._streamer = streamer
        self._nodes = streamer.topology_graph.all_nodes
        self._pool = streamer._connection_pool

    def check_endpoints(self) -> None:
        """Refuse a Flow in which two Executors bind one endpoint: no request could be routed.

        Takes the place of jina's check that every Executor takes what the one before it returns; with a router
        no Executor is before another.
        """
        bound: dict[str, str] = {}
        for node in self._nodes:
            for endpoint in set(node.endpoints or ()) - {__dry_run_endpoint__}:
                if endpoint in bound:
                    raise UnknownEndpointError(
                        f"{endpoint} is bound by {bound[endpoint]} and by {node.name}; one may"
                    )
                bound[endpoint] = node.name

    def unary(self, send: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap jina's handler: it skips Executors that do not bind the endpoint, but not a request nobody binds."""

        def handle(request: Any, return_type: Any) -> Any:
            endpoint = request.header.exec_endpoint
            try:
                if endpoint and endpoint != __dry_run_endpoint__:
                    self._node_of(endpoint, is_stream=False)
            except UnknownEndpointError as error:
                request.add_exception(error)
            if request.status.code != StatusProto.ERROR:
                return send(request=request, return_type=return_type)
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            answer.set_result(request)
            return answer, None

        return handle

    def ordered(self, unordered: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap jina's loop over a client's requests, which may wait for ever if results shall come in order.

        It then misses the end of the requests whenever the last answer was faster. Here they are sent one by one.
        """

        async def answers(
            request_iterator: Any, results_in_order: bool = False, **others: Any
        ) -> AsyncIterator[Any]:
            requests = self._whole(AsyncRequestsIterator(request_iterator))
            if not results_in_order:
                async for answer in unordered(request_iterator=requests, **others):
                    yield answer
                return
            streamer = self._streamer._streamer
            async for request in requests:
                answer, _ = streamer._request_handler(request=request, return_type=others["return_type"])
                yield streamer._result_handler(await answer)

        return answers

    async def _whole(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Yield a client's requests; of an endpoint that needs all documents in one, several are one error."""
        held, parts = None, 0
        async for request in requests:
            endpoint = _endpoint(request)
            if endpoint in WHOLE:
                held, parts = held or request, parts + 1
            else:
                yield request
        if held is None:
            return
        if parts > 1:
            held.add_exception(
                OptionError(
                    f"{endpoint} takes all its documents in one request, and got {parts}; post them with "
                    "request_size=len(documents), or post them to /feed and name their collection"
                )
            )
        yield held

    async def stream(self, request: Any, return_type: Any = None) -> AsyncIterator[Any]:
        """Send a stream's request to the Executor that binds it, once, and let its errors through."""
        endpoint = request.header.exec_endpoint
        node = self._node_of(endpoint, is_stream=True)
        models = node._pydantic_models_by_endpoint[endpoint]
        request.document_cls = models["input"]
        # not through the pool: it ends a stream that failed as if it were complete, or sends it again from the start
        replicas = self._pool._connections.get_replicas(node.name, True)
        connection = await replicas.get_next_connection()
        metadata = (("endpoint", endpoint), *(node._metadata or {}).items())
        if not connection._initialized:
            await connection._init_stubs()
        # not jina's own loop over it: what is left of that when it breaks off keeps the call
        call = connection.stream_doc_stub.stream_doc(
            request, metadata=metadata, compression=self._pool.compression
        )
        try:
            async for response in call:
                response.document_cls = models["output"]
                yield response
        finally:
            call.cancel()

    def _node_of(self, endpoint: str, *, is_stream: bool) -> Any:
        node = next((node for node in self._nodes if endpoint in (node.endpoints or ())), None)
        if node is None:
            known = {one for node in self._nodes for one in node.endpoints or ()} - {__dry_run_endpoint__}
            raise UnknownEndpointError(
                f"no Executor binds {endpoint!r}; known are {', '.join(sorted(known))}"
            )
        if bool(node._pydantic_models_by_endpoint[endpoint]["is_generator"]) != is_stream:
            how = "no stream; ask for it with post" if is_stream else "a stream; ask for it with stream_doc"
            raise UnknownEndpointError(f"{endpoint!r} is {how}")
        return node


def _endpoint(request: Any) -> str:
    """Return where a request goes, which is when jina decodes it."""
    try:
        return str(request.header.exec_endpoint)
    except DecodeError as error:
        raise ContentError(
            "the request cannot be read; a client with DocArray below 0.30 speaks another wire format, use 0.30 or later"
        ) from error


async def _nothing() -> None:
    pass
