"""A request can name a version that is still loaded, a shadow answers nobody, and swaps disturb no request."""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
from docarray import DocList

from benchmarks._swap_load import Caller, Window
from demo.flow import RunningFlow
from executors.client import FlowClient
from executors.documents import ContentDocument
from finetuner.errors import NotWarmError, OptionError, UnknownVersionError
from finetuner.models import Embeddings
from tests.integration.asking import contents, encode
from tests.two_classes import points
from tests.waiting import until

BLOBS = points(40)
SWAPS = 20


@pytest.fixture
def base_then_tuned(client: FlowClient, tuned: str) -> Iterator[dict[str, Embeddings]]:
    """Let the base serve and then a tuned version, and return what each makes of the contents; the base serves again."""
    made = {}
    for version in ("v0", tuned):
        client.post("/promote", version=version)
        made[version], _ = encode(client, BLOBS)
    yield made
    client.post("/shadow", share=0)
    client.post("/promote", version="v0")


def pinned(client: FlowClient, version: str) -> tuple[Embeddings, set[str]]:
    """Return the embeddings that a request gets that names a version, and the versions on their stamps."""
    documents = client.post("/encode", contents(BLOBS), answer=ContentDocument, version=version)
    made_by = {document.tags["finetuner"]["model"] for document in documents}
    return np.stack([document.embedding for document in documents]), made_by


def test_a_request_is_answered_by_the_version_that_it_names(
    client: FlowClient, tuned: str, base_then_tuned: dict[str, Embeddings]
) -> None:
    """By that one alone, whichever serves."""
    for asked, made_by in (("v0", "v0"), ("base", "v0"), (tuned, tuned), ("active", tuned)):
        embeddings, told = pinned(client, asked)
        assert told == {made_by}
        assert np.array_equal(embeddings, base_then_tuned[made_by])


@pytest.mark.usefixtures("base_then_tuned")
def test_a_version_that_is_not_loaded_is_a_typed_error(client: FlowClient, tuned: str) -> None:
    """It says which are."""
    with pytest.raises(NotWarmError, match=f"'v99' is not warm: loaded are {tuned}, which serves, and v0;"):
        pinned(client, "v99")


@pytest.mark.usefixtures("base_then_tuned")
def test_models_tell_what_is_warm(client: FlowClient, tuned: str) -> None:
    """Two versions by default, on which a rollback is a swap without loading."""
    warm = [report.id for report in client.post("/models") if report.tags["warm"]]
    assert warm == ["v0", tuned]


def test_a_shadow_compares_and_answers_nobody(
    client: FlowClient, tuned: str, base_then_tuned: dict[str, Embeddings]
) -> None:
    """It embeds what is asked for, too; each answer is of the version that serves, and the report comes with its end."""
    assert client.post("/shadow") == []
    client.post("/promote", version="v0")
    (began,) = client.post("/shadow", version=tuned, share=1)
    assert (began.id, began.tags["seen"]) == (tuned, 0)
    for _ in range(2):
        embeddings, version = encode(client, BLOBS)
        assert version == "v0"
        assert np.array_equal(embeddings, base_then_tuned["v0"])
    until(lambda: client.post("/shadow")[0].tags["embedded"] == 80, seconds=10)
    told = client.post("/shadow", share=0)[0].tags
    assert client.post("/shadow") == []
    assert (told["against"], told["seen"], told["sampled"], told["failed"]) == ("v0", 80, 40, 0)
    assert 0 < told["overlap"]["10"] < 1
    assert told["changed"][0]["overlap"] < 1


@pytest.mark.usefixtures("base_then_tuned")
def test_a_shadow_that_cannot_be_is_refused(client: FlowClient, tuned: str) -> None:
    """One that serves, one that is not there, a share of none, and a version without a share."""
    for error, asked in (
        (OptionError, {"version": tuned, "share": 0.5}),
        (UnknownVersionError, {"version": "v99", "share": 0.5}),
        (OptionError, {"share": 0.5}),
        (OptionError, {"version": "v0"}),
    ):
        with pytest.raises(error):
            client.post("/shadow", **asked)
    assert client.post("/shadow") == []


def test_swaps_under_load_disturb_no_request(
    flow: RunningFlow, tuned: str, base_then_tuned: dict[str, Embeddings]
) -> None:
    """During 20 swaps all requests are answered, each wholly by the version on its stamp, and both versions answer."""
    flow.client.post("/promote", version="v0")

    async def load() -> Window:
        batch = DocList[ContentDocument](contents(BLOBS))
        return await Caller(flow.ports[0], batch).load(20, 3, swaps=SWAPS, versions=("v0", tuned))

    window = asyncio.run(load())
    answered = [answer.embeddings() for answer in window.answers]
    assert (len(answered), window.faults(base_then_tuned)) == (60, (0, 0))
    assert {version for got in answered if got for version in got[1]} == {"v0", tuned}
    assert len(window.swap_seconds) == SWAPS
