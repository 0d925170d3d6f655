"""The packed stream of the data Executor."""

import pytest

from executors.client import FlowClient
from executors.documents import MatchDocument
from finetuner.errors import UnknownCollectionError
from finetuner.matches import MatchSet, MatchSetBuilder
from tests.integration.asking import stream


def pulled(client: FlowClient, collection: str) -> MatchSet:
    """Return a collection, read from its packed stream through the gateway."""
    builder = MatchSetBuilder()
    for pack in client.packs(collection):
        builder.extend(pack)
    return builder.build()


def told(matches: MatchSet) -> tuple[dict[str, bytes], list[tuple[str, str, float]]]:
    """Return the hash of each content by its id, and the judgements in their order."""
    hashes = {name: digest.tobytes() for name, digest in zip(matches.ids, matches.hashes, strict=True)}
    pairs = zip(matches.anchors[matches.anchor_of], matches.matches, matches.labels, strict=True)
    return hashes, [(matches.ids[anchor], matches.ids[match], float(label)) for anchor, match, label in pairs]


def test_the_packed_stream_holds_what_the_documents_hold(client: FlowClient, two: str) -> None:
    """Read packed or document by document, a collection holds the same contents and the same judgements."""
    plain = MatchSet.from_documents(stream(client, "/emit", MatchDocument, collection=two))
    assert told(pulled(client, two)) == told(plain)


def test_a_packed_stream_ends_with_the_error_of_its_source(client: FlowClient) -> None:
    """An unknown collection is the typed error, not an empty stream."""
    with pytest.raises(UnknownCollectionError, match="'nowhere'"):
        pulled(client, "nowhere")
