"""An index of an old version, after a new one was promoted: asked through a map, and rebuilt bit by bit."""

import asyncio
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from executors.client import FlowClient
from executors.documents import ContentDocument
from finetuner.documents import Document, labelled, ours
from finetuner.errors import ChangedDataError, UnknownSpaceError
from finetuner.models import Embeddings
from tests.integration.asking import contents, encode, feed, stream, tune, wired
from tests.two_classes import match_documents, points

NAME = "spaces"
INDEXED, ASKED = points(300, seed=3), points(100, seed=4)


class Promoted(NamedTuple):
    """A version that serves, and the index that the one before it has built.

    Attributes:
        old: The one before it.
        new: Its name.
        vectors: What the old version made of the documents of its index.
    """

    old: str
    new: str
    vectors: Embeddings


@pytest.fixture(scope="module")
def promoted(client: FlowClient) -> Iterator[Promoted]:
    """A version that a run has made and promoted; afterwards what served before serves again."""
    client.post("/feed", wired(match_documents(300)), collection=NAME)
    index, old = encode(client, INDEXED)
    new = tune(client, collection=NAME, promote="always", recipe="full", epochs=10)["version"]
    yield Promoted(old, new, index)
    client.post("/promote", version=old)


def nearest(queries: Embeddings, documents: Embeddings) -> list[set[int]]:
    """Return the ten nearest documents of each query."""
    return [set(found) for found in np.argsort(-queries @ documents.T, axis=1)[:, :10]]


def shared(one: list[set[int]], other: list[set[int]]) -> float:
    """Return which share of the nearest documents is the same."""
    return float(np.mean([len(a & b) / 10 for a, b in zip(one, other, strict=True)]))


def asking(client: FlowClient, **parameters: Any) -> tuple[Embeddings, set[tuple[str, str | None]]]:
    """Return the embeddings of queries, and their stamps: who made them, and in whose space they are."""
    found = client.post("/encode", contents(ASKED), answer=ContentDocument, side="query", **parameters)
    stamps = {(ours(one.tags)["model"], ours(one.tags).get("space")) for one in found}
    return np.stack([one.embedding for one in found]), stamps


def test_the_new_version_asks_the_index_of_the_old_one(client: FlowClient, promoted: Promoted) -> None:
    """Mapped queries find there what they would find if all were embedded again, and unmapped ones do not."""
    new, _ = encode(client, INDEXED)
    unmapped, plain = asking(client)
    mapped, stamps = asking(client, space=promoted.old)
    assert plain == {(promoted.new, None)}
    assert stamps == {(promoted.new, promoted.old)}
    wanted = nearest(unmapped, new)
    there = shared(nearest(mapped, promoted.vectors), wanted)
    assert there > shared(nearest(unmapped, promoted.vectors), wanted) + 0.1


def test_in_its_own_space_a_version_answers_as_it_is(client: FlowClient, promoted: Promoted) -> None:
    """Its own name is no map, and no stamp of another space."""
    answered, stamps = asking(client, space=promoted.new)
    np.testing.assert_array_equal(answered, asking(client)[0])
    assert stamps == {(promoted.new, None)}


def test_a_space_that_no_map_leads_into_is_refused(client: FlowClient, promoted: Promoted) -> None:
    """The error travels in its own class, and lists what there is; the old version answers to who pins it."""
    with pytest.raises(UnknownSpaceError, match=f"{promoted.new} cannot .* in those of .*{promoted.old}"):
        asking(client, space="v99")
    assert asking(client, space=promoted.old, version=promoted.old)[1] == {(promoted.old, None)}


def test_each_run_tells_what_its_maps_are_worth(client: FlowClient, promoted: Promoted) -> None:
    """The version has the recall of all routes among its provenance."""
    [about] = [one.tags for one in client.post("/models") if one.id == promoted.new]
    assert set(about["maps"][promoted.old]["recall"]) == {"old->old", "new->old", "mapped->old", "new->new"}


def cut_after(client: FlowClient, count: int, **parameters: Any) -> list[ContentDocument]:
    """Return the first documents of a stream, which is broken off then."""

    async def some() -> list[ContentDocument]:
        found: list[ContentDocument] = []
        documents = client.stream("/reembed", answer=ContentDocument, collection=NAME, **parameters)
        async for document in documents:
            found.append(document)
            if len(found) == count:
                break
        await documents.aclose()
        return found

    return asyncio.run(some())


def test_an_index_is_rebuilt_in_two_goes(client: FlowClient, promoted: Promoted) -> None:
    """Cut and taken up at the last cursor, each document comes once, as the new version embeds it.

    What is fed between the two is not among them.
    """
    asked = {"old": promoted.old, "collection": NAME}
    before = cut_after(client, 130, old=promoted.old)
    cursor = ours(before[-1].tags)["cursor"]
    late = Document(id="late", blob=points(1, seed=99)[0], tags=labelled({}, 1))
    feed(client, NAME, Document(id="d0", blob=points(300)[0], matches=[late]))
    after = stream(client, "/reembed", ContentDocument, cursor=cursor, **asked)
    again = [*before, *after]
    assert sorted(one.id for one in again) == sorted(f"d{row}" for row in range(300))
    assert {ours(one.tags)["model"] for one in again} == {promoted.new}
    blobs = points(300)[[int(one.id[1:]) for one in again]]
    made = np.stack([one.embedding for one in again])
    np.testing.assert_allclose(made, encode(client, blobs)[0], atol=1e-5)
    assert len(stream(client, "/reembed", ContentDocument, **asked)) == 301


def test_a_cursor_of_another_index_is_refused(client: FlowClient, promoted: Promoted) -> None:
    """It is told what is not as it was, in a stream as elsewhere."""
    [first] = cut_after(client, 1, old=promoted.old)
    cursor = ours(first.tags)["cursor"]
    with pytest.raises(ChangedDataError, match="the index was built with was"):
        stream(client, "/reembed", ContentDocument, collection=NAME, cursor=cursor)
