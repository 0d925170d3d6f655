"""Processes are killed in the middle of their work; what was promised to be kept is there after a restart."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from demo.flow import RunningFlow, running_flow
from executors.client import FlowClient
from executors.documents import Report
from finetuner.errors import StreamError, TrainingError
from finetuner.models import Embeddings
from finetuner.training.run_folder import LEADS_TO
from tests.integration.asking import LONG, children, encode, first_epoch, is_running, pod, stream, tune, wired
from tests.two_classes import SPEC, match_documents, points

WIDE = {"FINETUNER_ENCODER_OPTIONS": json.dumps({**SPEC.options, "hidden": 100_000})}
"""Settings for weights of 4 MB, so that registering them takes a moment."""
BLOBS = points(20)


def wait_until(true: Callable[[], bool], seconds: float) -> bool:
    """Return whether something becomes true in time."""
    until = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < until:
        time.sleep(0.005)
    return found


def test_a_killed_training_has_failed_and_is_resumed(client: FlowClient, flow: RunningFlow, two: str) -> None:
    """A run whose process is killed has failed with the signal as its reason; the next one succeeds, and it goes on.

    Its stream of events, which begins at the first one, does not end where it had failed.
    """
    run = client.post("/fit", collection=two, **LONG)[0].id
    first_epoch(client, run)
    with pytest.raises(TrainingError, match=f"run '{run}' is running"):
        client.post("/resume", run=run)
    [child] = children(pod(flow, "finetuner"))
    os.kill(child, signal.SIGKILL)
    last = stream(client, "/progress", run=run)[-1].tags
    assert last["event"] == "failed"
    assert "SIGKILL" in last["reason"]
    assert tune(client, collection=two, promote="never")["event"] == "succeeded"
    assert client.post("/resume", run=run)[0].tags["state"] in ("queued", "running")
    assert wait_until(lambda: client.post("/runs", run=run)[0].tags["state"] == "running", 60)
    client.post("/cancel", run=run)
    told = [report.tags["event"] for report in stream(client, "/progress", run=run)]
    assert [event for event in told if event in LEADS_TO] == [
        "queued",
        "running",
        "failed",
        "queued",
        "resumed",
        "cancelled",
    ]


def test_a_run_that_takes_too_long_has_failed(client: FlowClient, two: str) -> None:
    """Its time is a parameter of /fit."""
    last = tune(client, collection=two, max_seconds=0.5, **LONG)
    assert (last["event"], last["reason"]) == ("failed", "it took longer than max_seconds=0.5")


@dataclass(frozen=True)
class Seen:
    """What a client sees of the service.

    Attributes:
        version: Which one serves.
        embeddings: Of some contents.
        runs: The state of each run.
        models: The names of all versions.
    """

    version: str
    embeddings: Embeddings
    runs: dict[str, str]
    models: list[str]

    @classmethod
    def of(cls, client: FlowClient) -> "Seen":
        """Look at all of it."""
        embeddings, version = encode(client, BLOBS)
        runs = {report.id: report.tags["state"] for report in client.post("/runs")}
        return cls(version, embeddings, runs, [report.id for report in client.post("/models")])


@dataclass(frozen=True)
class Story:
    """Three Flows in one workspace, of which two are killed.

    Attributes:
        before: Before anything was killed.
        cut: The error of a stream that was open when its Executor was killed.
        child_ended: Whether the training ended soon after the Executor that had started it.
        after_executor: After a restart.
        after_flow: After the Flow was killed while it registered a version, a restart, and the end of that run.
        promoted: The versions that could be promoted then, of those that were listed.
    """

    before: Seen
    cut: Exception | None
    child_ended: bool
    after_executor: Seen
    after_flow: Seen
    promoted: list[str]


@contextmanager
def doomed_flow(workspace: Path) -> Iterator[RunningFlow]:
    """Run a Flow that is killed with all of its processes at the end."""
    with running_flow(workspace, free_ports=True, environment=WIDE) as running:
        yield running
        os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait()


async def watch_and_kill(flow: RunningFlow, run: str) -> Exception | None:
    """Kill the Executor whose stream is being read, and return the error that the stream ends with."""
    try:
        async for report in flow.client.stream("/progress", answer=Report, run=run):
            if report.tags["event"] == "epoch":
                os.kill(pod(flow, "finetuner"), signal.SIGKILL)
    except Exception as error:  # noqa: BLE001  whatever it is, the test tells what it should be
        return error
    return None


def kill_while_registering(flow: RunningFlow, workspace: Path) -> None:
    """Kill the whole Flow as soon as a new version is being written."""
    flow.client.post("/fit", wired(match_documents()), run="register", epochs=1, promote="never")
    versions = workspace / "finetuner" / "versions"
    assert wait_until(lambda: any(versions.glob(".*.part")), 20)
    os.killpg(flow.process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """What happened."""
    workspace = tmp_path_factory.mktemp("crash")
    with doomed_flow(workspace) as flow:
        flow.client.post("/feed", wired(match_documents()))
        tune(flow.client, collection="default", epochs=1, promote="always")
        before = Seen.of(flow.client)
        flow.client.post("/fit", collection="default", run="killed", **LONG)
        first_epoch(flow.client, "killed")
        [child] = children(pod(flow, "finetuner"))
        cut = asyncio.run(watch_and_kill(flow, "killed"))
        child_ended = wait_until(lambda: not is_running(child), 3)
    with doomed_flow(workspace) as flow:
        after_executor = Seen.of(flow.client)
        flow.client.post("/cancel", run="killed")
        kill_while_registering(flow, workspace)
    with doomed_flow(workspace) as flow:
        stream(flow.client, "/progress", run="register")
        after_flow = Seen.of(flow.client)
        promoted = [flow.client.post("/promote", version=name)[0].id for name in after_flow.models]
    return Story(before, cut, child_ended, after_executor, after_flow, promoted)


def test_a_stream_of_a_killed_executor_never_looks_complete(story: Story) -> None:
    """A client that reads a stream while its Executor is killed gets an error instead of the end."""
    assert isinstance(story.cut, ConnectionError | StreamError)


def test_a_training_ends_with_its_executor(story: Story) -> None:
    """A killed Executor cannot end its training, which ends by itself."""
    assert story.child_ended


def test_the_active_version_outlives_its_executor(story: Story) -> None:
    """After a restart the version that was active serves, and its embeddings are the same to the last bit."""
    assert (story.after_executor.version, story.after_executor.models) == ("v1", ["v0", "v1"])
    assert np.array_equal(story.after_executor.embeddings, story.before.embeddings)


def test_a_run_that_was_cut_goes_on(story: Story) -> None:
    """After a restart the run whose Executor was killed trains again, and the one before it still succeeded."""
    assert list(story.after_executor.runs.values()) == ["succeeded", "running"]


def test_the_active_version_outlives_the_flow(story: Story) -> None:
    """Killed while a version was being written, the service comes back with the one that was active."""
    assert story.after_flow.version == "v1"
    assert np.array_equal(story.after_flow.embeddings, story.before.embeddings)


def test_a_run_that_was_cut_while_registering_has_one_version(story: Story) -> None:
    """Killed with all processes in the middle of its end, the run goes on by itself and ends well, once.

    Every version that is listed can be loaded.
    """
    assert (story.after_flow.runs["register"], story.after_flow.models) == ("succeeded", ["v0", "v1", "v2"])
    assert story.promoted == story.after_flow.models
