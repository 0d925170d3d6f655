"""Parts of a collection, and what exactly a run has learnt from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from executors.client import FlowClient
from finetuner.checksums import DocumentChecksum
from finetuner.documents import Document, labelled
from finetuner.packing import packed, unpacked
from finetuner.packs import Pack
from tests.integration.asking import feed, feed_packs, judged, snapshot, stream, tune, wired
from tests.two_classes import match_documents

# parts


@pytest.fixture(scope="module")
def many(client: FlowClient) -> str:
    """The name of a collection of 300 anchors to learn from, and of documents that nothing refers to."""
    feed(client, "many", *match_documents(300))
    lonely = [Document(blob=np.full(6, 100 + number, np.float32), id=f"x{number}") for number in range(50)]
    [pack] = packed(lonely)
    nothing = np.zeros(0, np.int64)
    feed_packs(
        client,
        "many",
        [Pack(0, pack.ids, None, pack.blobs, nothing, np.zeros(1, np.int64), nothing, np.zeros(0))],
    )
    return "many"


def anchors(client: FlowClient, collection: str, **parameters: Any) -> list[str]:
    """Return the ids of the anchors of a part."""
    return [one.id for one in unpacked(client.packs(collection, **parameters))]


def lonely(client: FlowClient, collection: str, **parameters: Any) -> list[str]:
    """Return the ids of documents in packs without anchors."""
    return [
        name for pack in client.packs(collection, **parameters) if not len(pack.anchors) for name in pack.ids
    ]


def test_shards_are_disjoint_and_complete(client: FlowClient, many: str) -> None:
    """Each judgement and each document that nothing refers to is in one of three shards."""
    shards = [{"shards": 3, "shard": shard} for shard in range(3)]
    for read in (judged, lonely):
        parts = [read(client, many, **shard) for shard in shards]
        assert min(map(len, parts)) > 0
        assert sorted(one for part in parts for one in part) == sorted(read(client, many))


def test_the_splits_are_those_of_a_run(client: FlowClient, many: str) -> None:
    """As many anchors are on each side, and the base ranks on the holdout exactly as the run has found."""
    shares: dict[str, Any] = {"validation": 0.2, "holdout": 0.3}
    run = client.post("/fit", collection=many, seed=7, epochs=1, promote="never", **shares)[0].id
    events = {report.tags["event"]: report.tags for report in stream(client, "/progress", run=run)}
    split = {"split_seed": 7, **shares}
    parts = {
        side: anchors(client, many, split=side, **split) for side in ("training", "validation", "holdout")
    }
    assert {side: len(part) for side, part in parts.items()} == {
        side: events["split"][side] for side in parts
    }
    assert sorted(name for part in parts.values() for name in part) == sorted(anchors(client, many))
    [report] = client.post("/evaluate", collection=many, emit={"split": "holdout", **split}, version="base")
    assert report.tags["metrics"]["v0"] == events["evaluated"]["metrics"]["v0"]


# snapshots


@dataclass(frozen=True)
class Snapped:
    """A run, and what was told of its data.

    Attributes:
        collection: Where the data came from.
        run: The id of the run.
        data: What ``/runs`` tells of it.
        version: What ``/models`` tells of the version that it made.
    """

    collection: str
    run: str
    data: dict[str, Any]
    version: dict[str, Any]


@pytest.fixture(scope="module")
def snapped(client: FlowClient) -> Snapped:
    """A run on the first 50 anchors of a collection, to which more is fed afterwards."""
    documents = match_documents(70)
    feed(client, "snapped", *documents[:60])
    last = tune(
        client, collection="snapped", emit={"num_total": 50}, run="snapped", epochs=1, promote="never"
    )
    feed(
        client,
        "snapped",
        *documents[60:],
        Document(id="d0", matches=[Document(id="d1", tags=labelled({}, 0.25))]),
    )
    [version] = [one.tags for one in client.post("/models") if one.id == last["version"]]
    return Snapped("snapped", "snapped", client.post("/runs", run="snapped")[0].tags["data"], version)


def test_a_run_tells_what_exactly_it_learnt_from(snapped: Snapped) -> None:
    """Collection, position, checksum and parameters are in the run and in the version that came of it."""
    assert snapped.data["collection"] == snapped.collection
    assert (snapped.data["position"], len(snapped.data["checksum"])) == (1, 64)
    assert snapped.data["parameters"] == {"position": 1, "kind": "blob", "num_total": 50}
    assert snapped.version["data"] == snapped.data


def test_a_snapshot_can_be_read_again(client: FlowClient, snapped: Snapped) -> None:
    """Whatever was fed since, the parameters of a snapshot give the same to the last bit, and the newest is other."""
    again = snapshot(client, snapped.collection, **snapped.data["parameters"])
    assert again == snapped.data
    newest = {name: value for name, value in snapped.data["parameters"].items() if name != "position"}
    assert snapshot(client, snapped.collection, **newest)["checksum"] != snapped.data["checksum"]


def test_a_snapshot_of_a_made_collection_can_be_made_again(client: FlowClient) -> None:
    """Its parameters, the seed among them, are all that it takes."""
    first = snapshot(client, "fashion_mnist", num_total=5, seed=3)
    assert (first["position"], first["parameters"]) == (0, {"num_total": 5, "seed": 3})
    assert snapshot(client, "fashion_mnist", **first["parameters"]) == first


def test_documents_of_a_request_have_a_checksum(client: FlowClient) -> None:
    """A run that got its data with the request tells the checksum of what came, and no collection."""
    documents, checksum = match_documents(30), DocumentChecksum()
    for document in documents:
        checksum.add(document)
    last = tune(client, wired(documents), epochs=1, promote="never")
    [version] = [one.tags for one in client.post("/models") if one.id == last["version"]]
    assert version["data"] == {"collection": None, "checksum": checksum.hexdigest()}


def test_a_snapshot_does_not_outlive_a_deletion(client: FlowClient) -> None:
    """What was deleted is gone from the past too, so that the checksum tells it."""
    feed(client, "shrinking", *match_documents(20))
    before = snapshot(client, "shrinking")
    client.post("/delete", collection="shrinking", ids=["d0"])
    after = snapshot(client, "shrinking", **before["parameters"])
    assert after["position"] == before["position"]
    assert after["checksum"] != before["checksum"]
