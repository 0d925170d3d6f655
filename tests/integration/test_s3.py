"""A registry in a bucket of a server that speaks S3: registered once, pulled where it is needed, followed."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.documents import Document
from finetuner.errors import DamagedVersionError, RegistryError, ReplicaError
from finetuner.lifecycle.objects import Objects
from finetuner.service import TuningService
from finetuner.service_settings import ServiceSettings
from finetuner.training.run_folder import FINAL
from finetuner.training.run_options import RunOptions
from tests.s3_server import BUCKET, S3Server, running_s3
from tests.two_classes import SPEC, match_documents, points
from tests.waiting import until

QUERIES = [Document(blob=blob) for blob in points(20)]
Open = Callable[..., TuningService]


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    """A server, whose address and keys are in the environment."""
    with running_s3() as running, running.settings():
        yield running


@pytest.fixture
def url(server: S3Server, tmp_path: Path) -> str:
    """Return a prefix that no other test uses."""
    return f"s3://{BUCKET}/{tmp_path.name}"


@pytest.fixture
def start(url: str, tmp_path: Path) -> Iterator[Open]:
    """Return a starter of services, each with a folder of its own, on one registry."""
    opened: list[TuningService] = []
    options: dict[str, Any] = {"encoder": SPEC.name, "encoder_options": dict(SPEC.options), "registry": url}

    def start(name: str) -> TuningService:
        opened.append(TuningService(tmp_path / name, ServiceSettings(**options, keep_versions=1)))
        return opened[-1]

    yield start
    for service in opened:
        service.close()


def fit(service: TuningService) -> dict[str, Any]:
    """Return the summary of a run once it has ended."""
    run, _ = service.tuning.create_run(RunOptions(epochs=1, promote="always"))
    service.tuning.start_run(run, *service.encoding.match_set(match_documents()))
    until(lambda: run.state() in FINAL)
    return run.summary()


def test_services_on_two_machines_serve_what_one_of_them_trained(start: Open, url: str) -> None:
    """Within a second; the other one trains once the first has ended, and what is no longer kept is deleted."""
    first, second = start("first"), start("second")
    assert (first.tuning.trains, second.tuning.trains) == (True, False)
    with pytest.raises(ReplicaError, match=rf"registry {url}, which \S+:\d+ holds"):
        second.tuning.create_run(RunOptions())
    assert fit(first)["version"] == "v1"
    until(lambda: second.version == "v1", seconds=1)
    assert np.array_equal(first.encoding.encode(QUERIES)[0], second.encoding.encode(QUERIES)[0])
    first.close()
    until(lambda: second.tuning.trains, seconds=10)
    assert [fit(second)["version"] for _ in range(2)] == ["v2", "v3"]
    until(lambda: second.versions.audit(1)[0]["what"] == "deleted")
    assert [one["version"] for one in second.versions.models()] == ["v0", "v2", "v3"]
    told = [(one["what"], one["version"]) for one in second.versions.audit(4)]
    assert told == [("promoted", "v2"), ("registered", "v3"), ("promoted", "v3"), ("deleted", "v1")]


def test_a_version_that_is_damaged_in_the_bucket_is_not_promoted(start: Open, url: str) -> None:
    """Nor rolled back to by a service that has no whole copy; what served goes on."""
    service = start("first")
    fit(service)
    Objects(url).put("versions/v0/card.md", b"!")
    (service._registry.folder / "v0" / "card.md").unlink()
    calls: list[Callable[[], object]] = [lambda: service.versions.promote("v0"), service.versions.rollback]
    for call in calls:
        with pytest.raises(DamagedVersionError, match=r"v0: not as registered: card\.md"):
            call()
    assert service.encoding.encode(QUERIES)[1] == "v1"


def test_a_server_that_is_gone_does_not_end_serving(tmp_path: Path) -> None:
    """Embeddings are made as before; what needs the registry has a typed error, and /encode does not wait for it."""
    with running_s3() as server, server.settings():
        service = TuningService(
            tmp_path,
            ServiceSettings(
                encoder=SPEC.name, encoder_options=dict(SPEC.options), registry=f"s3://{BUCKET}/gone"
            ),
        )
        server.process.kill()
        began = time.monotonic()
        assert service.encoding.encode(QUERIES)[1] == "v0"
        assert time.monotonic() - began < 1
        with pytest.raises(
            RegistryError, match=r"reading active\.json failed: \w+Error: .*check the address"
        ):
            service.versions.models()
        service.close()
