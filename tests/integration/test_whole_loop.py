"""The whole loop on real data, with requests that never stop: feed, fit, gate, swap, feed more, refuse, roll back."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks._swap_load import Answer, Caller, Window, paced
from demo.flow import RunningFlow, running_flow
from finetuner.documents import Document, label_of, labelled
from finetuner.models import Embeddings
from finetuner.sources.fashion_mnist import FashionMnistOptions, match_documents
from tests.integration.asking import contents, encode, feed, stream, tune

RATE = 20
SWAPS = 100
GOLDEN = 120


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFlow]:
    """A Flow that tunes the built-in network for images."""
    with running_flow(tmp_path_factory.mktemp("loop"), free_ports=True) as running:
        yield running


def turned(anchor: Document) -> Document:
    """Return a match Document that says the opposite."""
    matches = [
        Document(id=one.id, blob=one.blob, tags=labelled({}, -(label_of(one) or 0))) for one in anchor.matches
    ]
    return Document(id=anchor.id, blob=anchor.blob, matches=matches)


def steady(port: int, images: NDArray[np.float32], enough: Path) -> Window:
    """Ask at a steady rate, whether answers come or not, until a file is there.

    In a process of its own: event loops of two threads get into each other's way in gRPC.
    """

    async def ask() -> Window:
        caller, asked = Caller(port, contents(images)), list[asyncio.Task[Answer]]()
        async for _ in paced(10**6, RATE):
            if enough.exists():
                break
            asked.append(asyncio.create_task(caller.encode()))
        return Window(list(await asyncio.gather(*asked)), 0, [])

    return asyncio.run(ask())


async def swapped(port: int, images: NDArray[np.float32]) -> Window:
    """Swap again and again, under a load besides."""
    return await Caller(port, contents(images)).load(RATE, 10, swaps=SWAPS)


def test_the_whole_loop_on_real_data_fails_no_request_and_promotes_nothing_spoiled(
    flow: RunningFlow, tmp_path: Path
) -> None:
    """A good candidate is promoted, one of turned labels is refused by the guard, and one call goes back.

    Meanwhile, and during 100 swaps, every request is answered, wholly by the version on its stamp.
    """
    client = flow.client
    anchors = list(match_documents(FashionMnistOptions(num_total=620)))
    images = np.stack([np.asarray(anchor.blob) for anchor in anchors[:20]])
    made: dict[str, Embeddings] = {}

    def serving() -> str:
        embeddings, version = encode(client, images)
        assert np.array_equal(embeddings, made.setdefault(version, embeddings))
        return version

    enough = tmp_path / "enough"
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        load = pool.submit(steady, flow.ports[0], images, enough)
        try:
            feed(client, "golden", *anchors[:GOLDEN])
            feed(client, "mine", *anchors[GOLDEN:420])
            assert serving() == "v0"
            good = tune(client, collection="mine", guards=["golden"], epochs=8)
            assert (good["event"], good["version"], good["promoted"]) == ("succeeded", "v1", True), good
            assert good["reason"].endswith("not worse on guard 'golden'")
            assert serving() == "v1"

            feed(client, "turned", *map(turned, anchors[420:]))
            options = {"collection": "turned", "parent": "active", "guards": ["golden"], "run": "spoiled"}
            spoiled = tune(client, **options, epochs=8, holdout=0.3)
            assert (spoiled["event"], spoiled["version"], spoiled["promoted"]) == ("succeeded", "v2", False)
            assert spoiled["reason"].startswith("worse on guard 'golden'"), spoiled
            told = {
                report.tags["event"]: report.tags for report in stream(client, "/progress", run="spoiled")
            }
            assert told["evaluated"]["gain"]["v1"][1] > 0  # by its own labels it is clearly better
            assert serving() == "v1"

            client.post("/rollback")
            assert serving() == "v0"
            window = asyncio.run(swapped(flow.ports[0], images))
        finally:
            enough.touch()
        meanwhile = load.result(60)
    assert window.faults(made) == meanwhile.faults(made) == (0, 0)
    assert len(meanwhile.answers) > 10 * RATE
    assert [report.tags["what"] for report in client.post("/audit")][-1] == "rolled back"
