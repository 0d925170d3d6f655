"""The training process: a real one, its errors, and its end with the service."""

import contextlib
import json
import os
import select
import signal
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import pytest

from finetuner.lifecycle import Registry
from finetuner.matches import MatchSet
from finetuner.training.run_folder import FINAL, RunFolder
from finetuner.training.runs import Runs
from tests.two_classes import SPEC, encoder, match_documents
from tests.unit.test_runs import DATA, names
from tests.waiting import until

BASE = {"parent_version": "v0", "rivals": ["v0"]}


def task(folder: Path, **options: Any) -> dict[str, Any]:
    """Return a task for which a new base is registered."""
    encoder().save(folder / "weights")
    registry = Registry(folder)
    registry.register(folder / "weights", SPEC, {})
    return {"encoder": SPEC.as_dict(), "versions": str(registry.folder), "options": options}


def test_an_error_in_the_training_process_is_the_reason(tmp_path: Path) -> None:
    """What the library raises over there arrives here with its class and its message."""
    nothing_positive = MatchSet.from_documents(match_documents(10, label=lambda same: -1))
    with contextlib.closing(Runs(tmp_path / "runs", lambda run: BASE, lambda run: {})) as runs:
        run, _ = runs.create(task(tmp_path), "r1")
        runs.start(run, nothing_positive)
        until(lambda: run.state() in FINAL)
    assert names(run) == ["queued", "running", "error", "failed"]
    assert run.summary()["reason"].startswith("NothingToLearnError: none of the 60 judgements is positive")


class Recorded(subprocess.Popen[bytes]):
    """A process whose id a test can learn."""

    pids: ClassVar[list[int]] = []

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        Recorded.pids.append(self.pid)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux to watch a grandchild")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_training_process_ends_when_the_service_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL leaves the service no chance to tidy up, and yet nobody trains on for nobody."""
    monkeypatch.setattr(subprocess, "Popen", Recorded)
    endless = task(tmp_path, epochs=10_000, patience=10_000)
    reading, writing = os.pipe()
    service = os.fork()
    if service == 0:  # a service of its own, without the seconds that importing torch takes
        try:
            signal.alarm(90)  # whatever becomes of the test
            runs = Runs(tmp_path / "runs", lambda run: BASE, lambda run: {})
            run, _ = runs.create(endless, "r1")
            runs.start(run, DATA)
            until(lambda: Recorded.pids)
            os.write(writing, json.dumps(Recorded.pids[0]).encode())
            signal.pause()
        finally:
            os._exit(1)
    os.close(writing)
    run = RunFolder(tmp_path / "runs" / "r1")
    try:
        training = os.pidfd_open(int(os.read(reading, 100)))
        until(lambda: "epoch" in names(run) or run.state() in FINAL)
    finally:
        os.kill(service, signal.SIGKILL)
        os.waitpid(service, 0)
    assert run.state() == "running"
    watch = select.poll()
    watch.register(training, select.POLLIN)
    assert watch.poll(10_000), "the training process goes on"
    os.close(reading)
    os.close(training)
