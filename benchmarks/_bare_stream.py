"""A bare gRPC service that streams bytes: ``python -m benchmarks._bare_stream FILE`` prints its port."""

import asyncio
import pickle
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc


async def serve(messages: list[bytes]) -> None:
    """Stream the messages to whoever asks."""

    async def stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for message in messages:
            yield message

    handlers = {"Stream": grpc.unary_stream_rpc_method_handler(stream)}
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare.Bare", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    # the benchmark has just written it
    asyncio.run(serve(pickle.loads(Path(sys.argv[1]).read_bytes())))
