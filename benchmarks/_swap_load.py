"""Batches that come at a steady rate, whether those before are answered or not, while versions are swapped."""

import asyncio
import contextlib
import statistics
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import grpc
import numpy as np
from docarray import DocList
from jina.proto import jina_pb2
from jina.types.request.data import DataRequest

from executors.documents import ContentDocument, Report
from finetuner.documents import ours
from finetuner.models import Embeddings

AT_ONCE = 4  # requests that wait while the capacity is measured
ALIKE = 1e-4
METHOD = "/jina.JinaSingleDataRequestRPC/process_single_data"
TURNS = (("/promote", "v1"), ("/promote", "v0"), ("/promote", "v1"), ("/rollback", None))
"""Each of them is a swap."""


@dataclass(frozen=True)
class Answer:
    """What came of a request.

    Attributes:
        at: When, in seconds of the event loop's clock.
        message: The answer, undecoded; None if the call failed.
    """

    at: float
    message: bytes | None

    def embeddings(self) -> tuple[Embeddings, set[str]] | None:
        """Return the embeddings and the versions on their stamps, or None if the request failed."""
        if self.message is None:
            return None
        request = DataRequest(jina_pb2.DataRequestProto.FromString(self.message))
        if request.status.code == jina_pb2.StatusProto.ERROR:
            return None
        request.document_array_cls = DocList[ContentDocument]
        made = np.stack([document.embedding for document in request.docs])
        return made, {ours(document.tags)["model"] for document in request.docs}


@dataclass(frozen=True)
class Window:
    """Some seconds of load.

    Attributes:
        answers: To all requests, in the order in which they came.
        swaps: How many were made.
        swap_seconds: How long each took, as its client sees it.
    """

    answers: list[Answer]
    swaps: int
    swap_seconds: list[float]

    @property
    def gaps(self) -> list[float]:
        """The seconds between answers that follow each other."""
        return [later.at - earlier.at for earlier, later in pairwise(self.answers)]

    def faults(self, expected: dict[str, Embeddings]) -> tuple[int, int]:
        """Return how many requests failed, and how many answers are not wholly of the version on their stamp."""
        failed = mixed = 0
        for answer in self.answers:
            got = answer.embeddings()
            if got is None:
                failed += 1
                continue
            embeddings, (version, *others) = got
            right = np.allclose(embeddings, expected[version], rtol=0, atol=ALIKE)
            mixed += bool(others) or not right
        return failed, mixed


class Caller:
    """Sends requests that were encoded before, so that what is measured waits for no client.

    Args:
        port: Of the gateway.
        batch: What is embedded.
    """

    def __init__(self, port: int, batch: DocList[ContentDocument]) -> None:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)
        self._call = self._channel.unary_unary(METHOD)
        self._batch = message("/encode", batch)

    async def encode(self) -> Answer:
        """Have the batch embedded."""
        return await self._answer(self._batch)

    async def turn(self, number: int, versions: tuple[str, str] = ("v0", "v1")) -> float:
        """Make a swap, and return how long it took.

        Args:
            number: Which of TURNS, counted on and on.
            versions: Their names instead of v0, which serves at first, and v1.
        """
        endpoint, name = TURNS[number % len(TURNS)]
        parameters = {"version": versions[int(name[1:])]} if name else {}
        began = asyncio.get_running_loop().time()
        answer = await self._answer(message(endpoint, DocList[Report](), parameters))
        told = answer.message and jina_pb2.DataRequestProto.FromString(answer.message)
        if not told or told.header.status.code == jina_pb2.StatusProto.ERROR:
            raise SystemExit(f"{endpoint} failed: {told}")
        return answer.at - began

    async def _answer(self, request: bytes) -> Answer:
        answered = None
        with contextlib.suppress(grpc.aio.AioRpcError):
            answered = await self._call(request)
        return Answer(asyncio.get_running_loop().time(), answered)

    async def alone(self, count: int) -> float:
        """Return how long a request takes that comes alone, in seconds, the median of so many."""
        clock, took = asyncio.get_running_loop().time, []
        for _ in range(count):
            began = clock()
            took.append((await self.encode()).at - began)
        return statistics.median(took)

    async def capacity(self, count: int) -> float:
        """Return how many requests a second are answered while some always wait."""
        began = asyncio.get_running_loop().time()

        async def ask() -> None:
            for _ in range(count // AT_ONCE):
                await self.encode()

        await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
        return count // AT_ONCE * AT_ONCE / (asyncio.get_running_loop().time() - began)

    async def load(
        self, rate: float, seconds: float, *, swaps: int = 0, versions: tuple[str, str] = ("v0", "v1")
    ) -> Window:
        """Ask ``rate`` times a second, whether the answers come or not, and swap so many times meanwhile, evenly.

        Args:
            rate: Requests a second.
            seconds: For how long; all that were sent are waited for.
            swaps: How many, a multiple of 4, so that it ends as it began.
            versions: See :meth:`turn`.
        """

        async def swap() -> list[float]:
            took = []
            async for number in paced(swaps, swaps / seconds):
                took.append(await self.turn(number, versions))
            return took

        swapping = asyncio.create_task(swap())
        asked = [asyncio.create_task(self.encode()) async for _ in paced(round(rate * seconds), rate)]
        answers = await asyncio.gather(*asked)
        return Window(sorted(answers, key=lambda one: one.at), swaps, await swapping)


async def paced(count: int, rate: float) -> AsyncIterator[int]:
    """Yield numbers, so many a second."""
    clock = asyncio.get_running_loop().time
    start = clock()
    for number in range(count):
        await asyncio.sleep(start + number / rate - clock())
        yield number


def message(endpoint: str, documents: DocList[Any], parameters: dict[str, Any] | None = None) -> bytes:
    """Return a request as it goes over the wire."""
    request = DataRequest()
    request.header.exec_endpoint = endpoint
    request.document_array_cls = type(documents)
    request.data.docs = documents
    request.parameters = parameters or {}
    return bytes(request.proto.SerializeToString())
