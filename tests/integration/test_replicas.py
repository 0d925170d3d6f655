"""Several services share a registry: one changes it, all serve the same; killed at any moment, the rest agree."""

import contextlib
from collections.abc import Callable, Iterator
from time import monotonic

import numpy as np
import pytest

from demo.flow import TUNE, RunningFlow, running_flow
from executors.client import FlowClient
from finetuner.errors import ReplicaError
from finetuner.models import Embeddings
from tests.integration.asking import encode, stream, wired
from tests.integration.conftest import TINY
from tests.kill_replicas import Killed, kill_replicas, places
from tests.two_classes import match_documents, points

BLOBS = points(8)


def assert_held(killed: Killed, kills: int) -> None:
    """Fail unless each kill was survived, in time, and the log tells every change once."""
    assert len(killed.kills) == kills
    assert max(kill.agreed for kill in killed.kills) < 1
    assert killed.twice == []


def test_killed_at_100_random_moments_the_active_version_is_whole_and_replicas_agree() -> None:
    """While it registers, promotes, rolls back, keeps and deletes; each of them was hit."""
    with places(s3=False) as (place, where):
        killed = kill_replicas(100, place, where)
    assert_held(killed, 100)
    during = {kill.during for kill in killed.kills}
    assert during >= {"register", "promote", "roll back", "retire"}
    assert {"registered", "promoted", "rolled back", "deleted"} <= set(killed.told)


def test_the_same_holds_in_a_bucket() -> None:
    """Of a server that speaks S3, where no lock ends with its process."""
    with places(s3=True) as (place, where):
        assert_held(kill_replicas(6, place, where), 6)


# two replicas of the Executor


@pytest.fixture(scope="module")
def two_replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFlow]:
    """A Flow with two FinetunerExecutors in one workspace."""
    folder = tmp_path_factory.mktemp("replicas")
    topology = folder / "replicas.yml"
    text = TUNE.read_text().replace("  - name: finetuner\n", "  - name: finetuner\n    replicas: 2\n")
    topology.write_text(text.replace("../executors", f"{TUNE.parent.parent}/executors"))
    with running_flow(folder, topology=topology, free_ports=True, environment=TINY) as flow:
        yield flow


def ask_the_holder(call: Callable[[], object]) -> object:
    """Return what the replica says that holds the registry; requests go to the replicas in turn."""
    for _ in range(10):
        with contextlib.suppress(ReplicaError):
            return call()
    raise AssertionError("no replica holds the registry")


def test_all_replicas_of_an_executor_serve_what_one_of_them_promotes(two_replicas: RunningFlow) -> None:
    """Within a second; until then, and afterwards, each answer is of the version that it names."""
    client: FlowClient = two_replicas.client
    documents = wired(match_documents())
    ask_the_holder(lambda: client.post("/fit", documents, epochs=2, promote="never", run="mine"))
    assert stream(client, "/progress", run="mine")[-1].tags["version"] == "v1"
    expected: dict[str, Embeddings] = {}
    for version in ("v1", "v0", "v1"):
        ask_the_holder(lambda version=version: client.post("/promote", version=version))  # type: ignore[misc]
        promoted, last_old, answers = monotonic(), 0.0, []
        while monotonic() - promoted < 1.5:
            embeddings, served = encode(client, BLOBS)
            answers.append(served)
            last_old = monotonic() - promoted if served != version else last_old
            assert np.array_equal(embeddings, expected.setdefault(served, embeddings))
        assert last_old < 1
        assert answers[-4:] == [version] * 4
    assert len(expected) == 2
