"""A gateway that sends each request to the Executor that binds its endpoint.

Jina's own gateway passes every request down the chain, sends each stream to the first Executor, replays a stream
that failed, hides its error, and answers an endpoint that nobody knows with the documents as they came. This one
routes: the Flow's order plays no part, an error arrives as an error, and an unknown endpoint is one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from jina.serve.executors import __dry_run_endpoint__
from jina.serve.runtimes.gateway.composite import CompositeGateway
from jina.serve.stream.helper import AsyncRequestsIterator

from finetuner.errors import UnknownEndpointError


class FlowGateway(CompositeGateway):
    """Serves gRPC, HTTP and websocket at once, and routes by endpoint."""

    def __init__(self, **kwargs: Any) -> None:
        # jina pings idle connections more often than its servers allow: after a minute of silence they hang up, and
        # the next request fails
        arguments = kwargs["runtime_args"]
        asked = arguments.get("grpc_channel_options") or {}
        arguments["grpc_channel_options"] = {"grpc.keepalive_permit_without_calls": 0, **asked}
        super().__init__(**kwargs)

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
        await super().setup_server()

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
            if endpoint and endpoint != __dry_run_endpoint__ and self._node_of(endpoint) is None:
                request.add_exception(self._unknown(endpoint))
                answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                answer.set_result(request)
                return answer, None
            return send(request=request, return_type=return_type)

        return handle

    def ordered(self, unordered: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap jina's loop over a client's requests, which may wait for ever if results shall come in order.

        It then misses the end of the requests whenever the last answer was faster. Here they are sent one by one.
        """

        async def answers(
            request_iterator: Any, results_in_order: bool = False, **others: Any
        ) -> AsyncIterator[Any]:
            if not results_in_order:
                async for answer in unordered(request_iterator=request_iterator, **others):
                    yield answer
                return
            streamer = self._streamer._streamer
            async for request in AsyncRequestsIterator(request_iterator):
                answer, _ = streamer._request_handler(request=request, return_type=others["return_type"])
                yield streamer._result_handler(await answer)

        return answers

    async def stream(self, request: Any, return_type: Any = None) -> AsyncIterator[Any]:
        """Send a stream's request to the Executor that binds it, once, and let its errors through."""
        endpoint = request.header.exec_endpoint
        node = self._node_of(endpoint)
        if node is None:
            raise self._unknown(endpoint)
        models = node._pydantic_models_by_endpoint[endpoint]
        request.document_cls = models["input"]
        # not through the pool: it ends a stream that failed as if it were complete, or sends it again from the start
        replicas = self._pool._connections.get_replicas(node.name, True)
        connection = await replicas.get_next_connection()
        metadata = (("endpoint", endpoint), *(node._metadata or {}).items())
        async for response, _ in connection.send_single_doc_request(
            request, metadata, self._pool.compression
        ):
            response.document_cls = models["output"]
            yield response

    def _node_of(self, endpoint: str) -> Any:
        return next((node for node in self._nodes if endpoint in (node.endpoints or ())), None)

    def _unknown(self, endpoint: str) -> UnknownEndpointError:
        known = {one for node in self._nodes for one in node.endpoints or ()} - {__dry_run_endpoint__}
        return UnknownEndpointError(f"no Executor binds {endpoint!r}; known are {', '.join(sorted(known))}")
