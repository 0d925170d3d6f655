"""Bare gRPC services, each printing its port: ``python -m benchmarks._bare_stream FILE`` streams the bytes in a file.

With ``--forward PORT`` it passes on, unread, what the service at that port streams: the least that a gateway does.
"""

import asyncio
import pickle
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc

Stream = Callable[[bytes, Any], AsyncIterator[bytes]]
METHOD = "/bare.Bare/Stream"


async def serve(stream: Stream) -> None:
    """Serve a stream to whoever asks."""
    handlers = {"Stream": grpc.unary_stream_rpc_method_handler(stream)}
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare.Bare", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


async def serve_messages(messages: list[bytes]) -> None:
    """Stream the messages."""

    async def stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for message in messages:
            yield message

    await serve(stream)


async def forward(port: int) -> None:
    """Pass on what the service at a port streams, over one connection that stays open, as a gateway's does."""
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.max_receive_message_length", -1)])

    async def stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
        async for message in channel.unary_stream(METHOD)(request):
            yield message

    await serve(stream)


if __name__ == "__main__":
    if sys.argv[1] == "--forward":
        asyncio.run(forward(int(sys.argv[2])))
    else:
        # the benchmark has just written it
        asyncio.run(serve_messages(pickle.loads(Path(sys.argv[1]).read_bytes())))
