"""The training process: a real one, its errors, its end with the service, and how it goes on after a kill."""

import contextlib
import json
import os
import random
import resource
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from finetuner.lifecycle import Registry
from finetuner.lifecycle.version import hashes
from finetuner.matches import MatchSet
from finetuner.models import EncoderSpec, build_encoder
from finetuner.training.run_folder import FINAL, RunFolder
from finetuner.training.runs import Runs
from tests.two_classes import SPEC, match_documents
from tests.unit.test_run_folder import DATA, names
from tests.waiting import until

BASE = {"parent_version": "v0", "rivals": ["v0"]}
DROPOUT = EncoderSpec(SPEC.name, {**SPEC.options, "dropout": 0.3})
"""Random numbers decide what it learns."""

LONG: dict[str, Any] = {"epochs": 24, "patience": 24, "batch_size": 8, "save_seconds": 0, "ema": 0.9}
"""Options of a run of a few seconds that writes its state with every step."""


def task(folder: Path, spec: EncoderSpec = DROPOUT, **options: Any) -> dict[str, Any]:
    """Return a task for which a new base is registered."""
    build_encoder(spec, seed=0).save(folder / "weights")
    registry = Registry(folder)
    registry.register(folder / "weights", spec, {})
    return {
        "encoder": spec.as_dict(),
        "versions": str(registry.folder),
        "options": options,
        "features": str(folder / "features"),
        "feature_cache_bytes": 10**6,
    }


def files_of(run: RunFolder) -> dict[str, Any]:
    """Return what the files of a run's candidate are."""
    return {"files": hashes(run.candidate)}


class Recorded(subprocess.Popen[bytes]):
    """A process whose id a test can learn."""

    pids: ClassVar[list[int]] = []

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        Recorded.pids.append(self.pid)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Runs]]:
    """Return a maker of :class:`Runs` in one folder that tell what their candidates are; they are closed at the end."""
    monkeypatch.setattr(subprocess, "Popen", Recorded)
    Recorded.pids = []
    with contextlib.ExitStack() as opened:

        def make() -> Runs:
            runs = Runs(tmp_path / "runs", lambda run: BASE, files_of)
            return opened.enter_context(contextlib.closing(runs))

        yield make


def started(runs: Runs, name: str, task: dict[str, Any], data: MatchSet = DATA) -> RunFolder:
    """Return a new run that was given its data."""
    run, _ = runs.create(task, name)
    runs.start(run, data, {})
    return run


def ended(run: RunFolder) -> dict[str, Any]:
    """Return the summary of a run once it has ended."""
    until(lambda: run.state() in FINAL, seconds=120)
    return run.summary()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a run that was never interrupted."""
    folder = tmp_path_factory.mktemp("straight")
    with contextlib.closing(Runs(folder / "runs", lambda run: BASE, files_of)) as runs:
        run = started(runs, "straight", task(folder, **LONG))
        assert ended(run)["state"] == "succeeded"
    return run


def same(run: RunFolder, straight: RunFolder) -> bool:
    """Return whether a run has ended as one that was never interrupted: files, evaluation and epochs."""
    found = [ended(one) for one in (run, straight)]
    told = [
        [(event["epoch"], event["loss"]) for event in one.events() if event["event"] == "epoch"]
        for one in (run, straight)
    ]
    return told[0] == told[1] and all(
        found[0][name] == found[1][name] for name in ("state", "files", "evaluated")
    )


def test_an_error_in_the_training_process_is_the_reason(tmp_path: Path, make: Callable[[], Runs]) -> None:
    """What the library raises over there arrives here with its class and its message."""
    nothing_positive = MatchSet.from_documents(match_documents(10, label=lambda same: -1))
    run = started(make(), "r1", task(tmp_path), nothing_positive)
    assert ended(run)["reason"].startswith("NothingToLearnError: none of the 60 judgements is positive")
    assert names(run)[-2:] == ["error", "failed"]


def test_a_training_that_is_killed_again_and_again_ends_as_if_it_never_was(
    tmp_path: Path, make: Callable[[], Runs], straight: RunFolder
) -> None:
    """SIGKILL at any moment, then /resume: the same files to the last byte, each epoch told once, a picture."""
    runs = make()
    run = started(runs, "killed", task(tmp_path, **LONG))
    moments = random.Random(0)
    for _ in range(3):
        epochs = names(run).count("epoch") + moments.randrange(1, 7)
        until(lambda epochs=epochs: names(run).count("epoch") >= epochs)  # type: ignore[misc]
        time.sleep(moments.uniform(0, 0.02))
        os.kill(Recorded.pids[-1], signal.SIGKILL)
        assert "by signal SIGKILL" in ended(run)["reason"]
        runs.resume("killed")
    assert same(run, straight)
    assert (run.path / "curves.svg").exists()


def test_a_training_is_cancelled_within_a_second_and_goes_on(
    tmp_path: Path, make: Callable[[], Runs]
) -> None:
    """Its process is gone by then; resumed, it ends as any other."""
    runs = make()
    run = started(runs, "r1", task(tmp_path, **LONG))
    until(lambda: "epoch" in names(run))
    began = time.monotonic()
    runs.cancel("r1")
    until(lambda: not Path(f"/proc/{Recorded.pids[0]}").exists(), seconds=1)
    assert (run.state(), time.monotonic() - began < 1) == ("cancelled", True)
    runs.resume("r1")
    assert ended(run)["state"] == "succeeded"
    assert "resumed" in names(run)


class Limited(Recorded):
    """A process whose files may not grow beyond a size, as on a disk that is full."""

    most_bytes = resource.RLIM_INFINITY

    def __init__(self, *arguments: Any, **options: Any) -> None:
        limit = (Limited.most_bytes, Limited.most_bytes)
        super().__init__(
            *arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit), **options
        )


@pytest.mark.parametrize("most_bytes", [300, 3_000])
def test_a_full_disk_loses_nothing(
    tmp_path: Path,
    make: Callable[[], Runs],
    straight: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    most_bytes: int,
) -> None:
    """The run fails, says so and what to do; once there is room it goes on and ends as if there always had been.

    One limit leaves no room even for its events, the other one none for its state.
    """
    runs = make()
    monkeypatch.setattr(subprocess, "Popen", Limited)
    monkeypatch.setattr(Limited, "most_bytes", most_bytes)
    run = started(runs, "full", task(tmp_path, **LONG))
    reason = ended(run)["reason"]
    assert (reason[:16], reason.rpartition("; ")[2]) == ("the disk is full", "make room, then /resume")
    assert ("error" in names(run)) == (most_bytes == 3_000)
    assert list(run.path.glob("*.part")) == []
    monkeypatch.setattr(Limited, "most_bytes", resource.RLIM_INFINITY)
    runs.resume("full")
    assert same(run, straight)


def service_until_killed(folder: Path, asked: dict[str, Any], tell: int) -> None:
    """Be a service that starts a run, tells the id of its training process, and goes on until it is killed."""
    signal.alarm(90)  # whatever becomes of the test
    runs = Runs(folder / "runs", lambda run: BASE, lambda run: {})
    started(runs, "r1", asked)
    until(lambda: Recorded.pids)
    os.write(tell, json.dumps(Recorded.pids[0]).encode())
    signal.pause()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux to watch a grandchild")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_run_outlives_the_kill_of_its_service(
    tmp_path: Path, make: Callable[[], Runs], straight: RunFolder
) -> None:
    """SIGKILL leaves the service no chance to tidy up, and yet nobody trains on for nobody.

    The next service takes the run up by itself, and it ends as one that was never interrupted.
    """
    asked = task(tmp_path, **LONG)
    reading, writing = os.pipe()
    service = os.fork()
    if service == 0:  # a service of its own, without the seconds that importing torch takes
        try:
            service_until_killed(tmp_path, asked, writing)
        finally:
            os._exit(1)
    os.close(writing)
    run = RunFolder(tmp_path / "runs" / "r1")
    try:
        training = os.pidfd_open(int(os.read(reading, 100)))
        until(lambda: names(run).count("epoch") > 3 or run.state() in FINAL)
    finally:
        os.kill(service, signal.SIGKILL)
        os.waitpid(service, 0)
    assert run.state() == "running"
    watch = select.poll()
    watch.register(training, select.POLLIN)
    assert watch.poll(10_000), "the training process goes on"
    os.close(reading)
    os.close(training)
    make()
    assert same(run, straight)
    [resumed] = [event for event in run.events() if event["event"] == "resumed"]
    assert resumed["reason"] == "the service stopped"
