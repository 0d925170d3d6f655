"""The packed stream of the data Executor."""

import asyncio

import pytest

from executors.client import FlowClient
from executors.documents import MatchDocument, PackDocument, pack_from_wire
from finetuner.errors import UnknownCollectionError
from finetuner.matches import MatchSet, MatchSetBuilder
from tests.integration.asking import stream


async def pulled(client: FlowClient, collection: str) -> MatchSet:
    """Return a collection, read from its packed stream through the gateway."""
    builder = MatchSetBuilder()
    async for document in client.stream("/pack", answer=PackDocument, collection=collection):
        builder.extend(pack_from_wire(document))
    return builder.build()


def test_the_packed_stream_holds_what_the_documents_hold(client: FlowClient, two: str) -> None:
    """Read packed or document by document, a collection is the same match set."""
    packed = asyncio.run(pulled(client, two))
    plain = MatchSet.from_documents(stream(client, "/emit", MatchDocument, collection=two))
    assert packed.ids == plain.ids
    assert packed.matches.tolist() == plain.matches.tolist()
    assert packed.labels.tolist() == plain.labels.tolist()
    assert packed.hashes.tolist() == plain.hashes.tolist()


def test_a_packed_stream_ends_with_the_error_of_its_source(client: FlowClient) -> None:
    """An unknown collection is the typed error, not an empty stream."""
    with pytest.raises(UnknownCollectionError, match="'nowhere'"):
        asyncio.run(pulled(client, "nowhere"))
