"""Readers of streams as processes that are started quickly and killed."""

import asyncio
import os
import time
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Event
from typing import Any

from executors.client import FlowClient
from executors.documents import MatchDocument, PackDocument
from tests.feeders import FORKS

ANSWERS = {"/emit": MatchDocument, "/pack": PackDocument, "/export": PackDocument}


def read_and_hang(address: str, endpoint: str, parameters: dict[str, Any], begun: Event) -> None:
    """Read the first document of a stream, tell it, and then nothing more."""
    os.environ["JINA_OPTOUT_TELEMETRY"] = "1"

    async def read() -> None:
        async for _ in FlowClient(address).stream(endpoint, answer=ANSWERS[endpoint], **parameters):
            begun.set()
            time.sleep(600)  # the whole process: it never reads on

    asyncio.run(read())


def hanging_reader(address: str, endpoint: str, **parameters: Any) -> ForkServerProcess:
    """Return a process that is in the middle of a stream."""
    begun = FORKS.Event()
    reader = FORKS.Process(target=read_and_hang, args=(address, endpoint, parameters, begun), daemon=True)
    reader.start()
    if not begun.wait(60):
        reader.kill()
        raise RuntimeError(f"the stream {endpoint} does not begin")
    return reader
