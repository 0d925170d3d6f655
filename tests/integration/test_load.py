"""Embedding goes on, whatever else happens: open-loop requests, which do not wait for the answers before them."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from docarray import DocList
from jina import Client

from demo.flow import RunningFlow
from executors.client import FlowClient
from executors.documents import ContentDocument
from finetuner.models import Embeddings
from tests.integration.asking import LONG, contents, encode, first_epoch, http
from tests.two_classes import points

BLOBS = points(5)
REQUESTS = 60
SWAPS = 36
Answer = tuple[Embeddings, set[str]]


async def ask(client: Any) -> Answer:
    """Return the embeddings of five contents, and the versions that made them."""
    documents = [
        document
        async for some in client.post("/encode", contents(BLOBS), return_type=DocList[ContentDocument])
        for document in some
    ]
    versions = {document.tags["finetuner"]["model"] for document in documents}
    return np.stack([document.embedding for document in documents]), versions


async def open_loop(flow: RunningFlow, rate: float, until: Callable[[int], bool]) -> list[Answer]:
    """Ask ``rate`` times a second until so many are enough, and return all answers; one error is raised."""
    client = Client(host=f"grpc://127.0.0.1:{flow.ports[0]}", asyncio=True)
    loop = asyncio.get_running_loop()
    asked: list[Awaitable[Answer]] = []
    start = loop.time()
    while not until(len(asked)):
        asked.append(asyncio.create_task(ask(client)))
        await asyncio.sleep(start + len(asked) / rate - loop.time())
    return await asyncio.gather(*asked)


def test_a_training_does_not_stop_the_serving(client: FlowClient, flow: RunningFlow, two: str) -> None:
    """All of 60 requests, 20 a second, are answered while a run trains from the first to the last of them."""
    run = client.post("/fit", collection=two, **LONG)[0].id
    first_epoch(client, run)
    answers = asyncio.run(open_loop(flow, 20, until=lambda asked: asked == REQUESTS))
    state = client.post("/runs", run=run)[0].tags["state"]
    client.post("/cancel", run=run)
    assert (len(answers), state) == (REQUESTS, "running")


@pytest.fixture(scope="module")
def swapped(client: FlowClient, flow: RunningFlow, tuned: str) -> tuple[list[Answer], dict[str, Embeddings]]:
    """The answers given while two versions took turns, and the embeddings of each, made in peace before."""
    expected = {}
    for version in (tuned, "v0"):
        client.post("/promote", version=version)
        expected[version], _ = encode(client, BLOBS)

    swaps = 0
    enough = threading.Event()

    def swap() -> None:
        nonlocal swaps
        while not enough.is_set():
            assert http(flow, "/promote", {"data": [], "parameters": {"version": tuned}})[0] == 200
            assert http(flow, "/rollback", {"data": []})[0] == 200
            swaps += 2

    async def swap_under_load() -> list[Answer]:
        swapping = asyncio.create_task(asyncio.to_thread(swap))
        answers = await open_loop(
            flow, 40, until=lambda asked: swapping.done() or (swaps >= SWAPS and asked >= REQUESTS)
        )
        enough.set()
        await swapping
        return answers

    return asyncio.run(swap_under_load()), expected


def test_no_answer_mixes_versions(swapped: tuple[list[Answer], dict[str, Embeddings]]) -> None:
    """During dozens of swaps every request is answered with one version, and both versions answer."""
    answers, expected = swapped
    assert {len(versions) for _, versions in answers} == {1}
    assert {version for _, versions in answers for version in versions} == set(expected)


def test_a_stamp_tells_the_truth(swapped: tuple[list[Answer], dict[str, Embeddings]]) -> None:
    """During dozens of swaps the embeddings of every answer are exactly those of the version on its stamp."""
    answers, expected = swapped
    for embeddings, versions in answers:
        assert np.array_equal(embeddings, expected[next(iter(versions))])
