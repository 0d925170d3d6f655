"""Runs: a queue of trainings, one at a time, each in a process of its own."""

import contextlib
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from finetuner.errors import FinetunerError, OptionError, UnknownRunError
from finetuner.matches import MatchSet
from finetuner.training.run_folder import FINAL, RunFolder
from finetuner.training.worker import FAILED

Begin = Callable[[RunFolder], dict[str, Any]]
"""Called when a run's training begins; what it returns becomes part of the ``running`` event."""

Finish = Callable[[RunFolder], dict[str, Any]]
"""Called when a run's training is through; what it returns becomes part of the ``succeeded`` event."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Runs:
    """The runs of a folder.

    Args:
        folder: Where they live; runs that an earlier process left unfinished are marked as failed.
        begin: Called in the queue's thread before each training.
        finish: Called in the queue's thread after each training that ended well.
    """

    def __init__(self, folder: Path, begin: Begin, finish: Finish) -> None:
        self._folder = folder
        self._begin = begin
        self._finish = finish
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[RunFolder | None] = queue.SimpleQueue()
        self._process: tuple[str, subprocess.Popen[bytes]] | None = None
        self._concluding: str | None = None
        self._closed = False
        folder.mkdir(parents=True, exist_ok=True)
        for run in self.list():
            if run.state() not in FINAL:
                run.report("failed", {"reason": "the service stopped before the run was through"})
        self._thread = threading.Thread(target=self._work, name="runs", daemon=True)
        self._thread.start()

    def create(self, task: dict[str, Any], run_id: str | None = None) -> tuple[RunFolder, bool]:
        """Write a new run, state ``queued``; it waits for :meth:`start`.

        Args:
            task: What it shall do, see :func:`finetuner.training.worker.carry_out`.
            run_id: A name from the caller; the same name again means the same run, so asking twice is harmless.

        Returns:
            The run, and whether it is new.

        Raises:
            OptionError: If the name is not of letters, digits, ``_``, ``.`` and ``-``, or is that of a run with
                another task.
        """
        if run_id is not None and (not _NAME.fullmatch(run_id) or run_id.startswith(".")):
            raise OptionError(f"run {run_id!r}: use 1 to 64 of letters, digits, '_', '.' and '-'")
        with self._lock:
            if run_id is not None and (self._folder / run_id / "run.json").exists():
                return self._known(RunFolder(self._folder / run_id), task), False
            path = self._folder / (run_id or uuid4().hex[:12])
            shutil.rmtree(path, ignore_errors=True)  # a crash may have left it without a run.json
            return RunFolder.create(path, task), True

    @staticmethod
    def _known(run: RunFolder, task: dict[str, Any]) -> RunFolder:
        known = run.task()
        if any(task.get(name) != known.get(name) for name in ("options", "promote", "parent")):
            raise OptionError(f"run {run.id!r} was started with other options; choose another name")
        return run

    def start(self, run: RunFolder, matches: MatchSet) -> None:
        """Save the run's data and put it into the queue; one that was cancelled meanwhile will not train.

        Raises:
            OSError: If the data cannot be written; the run has failed then.
        """
        try:
            matches.save(run.data)
        except OSError as error:
            self.fail(run, error)
            raise
        self._queue.put(run)

    def fail(self, run: RunFolder, error: Exception) -> None:
        """End a run with an error as its reason."""
        with contextlib.suppress(OSError):  # where the disk is full, the next start marks it
            self._end(run, "failed", {"reason": f"{type(error).__name__}: {error}"})

    def get(self, run_id: str) -> RunFolder:
        """Return a run.

        Raises:
            UnknownRunError: If there is none of that id.
        """
        for run in self.list():
            if run.id == run_id:
                return run
        known = ", ".join(run.id for run in self.list()) or "none"
        raise UnknownRunError(f"there is no run {run_id!r}; known are {known}")

    def list(self) -> list[RunFolder]:
        """Return all runs, the oldest first."""
        complete = self._folder.glob("*/run.json")
        return [RunFolder(file.parent) for file in sorted(complete, key=lambda file: file.stat().st_mtime_ns)]

    def cancel(self, run_id: str) -> RunFolder:
        """End a run that is queued or running; one that has ended, or is being concluded, stays as it is.

        Raises:
            UnknownRunError: If there is none of that id.
        """
        run = self.get(run_id)
        with self._lock:
            if self._concluding != run.id:  # what is being promoted must not end as cancelled
                self._report_end(run, "cancelled", {})
        return run

    def close(self) -> None:
        """Stop the training process, if any; its run is marked as failed, those in the queue at the next start."""
        with self._lock:
            self._closed = True
            if self._process:
                run_id, process = self._process
                self._report_end(
                    RunFolder(self._folder / run_id), "failed", {"reason": "the service was stopped"}
                )
                process.kill()
        self._queue.put(None)
        self._thread.join(timeout=10)

    def _end(self, run: RunFolder, state: str, figures: dict[str, Any]) -> None:
        with self._lock:
            self._report_end(run, state, figures)

    def _report_end(self, run: RunFolder, state: str, figures: dict[str, Any]) -> None:
        if run.state() in FINAL:
            return
        run.report(state, figures)
        if self._process and self._process[0] == run.id:
            self._process[1].kill()

    def _work(self) -> None:
        while (run := self._queue.get()) is not None:
            try:
                self._carry_out(run)
            except (FinetunerError, OSError) as error:  # a fault of one run, the next may do better
                self.fail(run, error)

    def _carry_out(self, run: RunFolder) -> None:
        with (run.path / "log.txt").open("wb") as log:
            process = self._launch(run, log)
        if process is None:
            return
        with process:
            code = process.wait()
        with self._lock:
            self._process = None
            self._concluding = run.id if code == 0 and run.state() not in FINAL else None
        if code != 0:
            self._end(run, "failed", {"reason": _reason(run, code)})
        elif self._concluding:
            self._end(run, "succeeded", self._finish(run))
            for spent in (run.data, run.candidate):  # the version is what is left of them
                shutil.rmtree(spent, ignore_errors=True)

    def _launch(self, run: RunFolder, log: IO[bytes]) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._closed or run.state() in FINAL:
                return None
            run.report("running", self._begin(run))
            # its standard input is how it learns that we are gone
            command = [sys.executable, "-m", "finetuner.training.worker", str(run.path)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT)
            self._process = (run.id, process)
            return process


def _reason(run: RunFolder, code: int) -> str:
    """Return why a training process ended with a code other than 0."""
    if code == FAILED:
        for event in reversed(run.events()):
            if event["event"] == "error":
                return f"{event['type']}: {event['message']}"
    how = f"with exit code {code}"
    with contextlib.suppress(ValueError):
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else how
    last = (run.path / "log.txt").read_text(errors="replace").strip().splitlines()[-1:]
    return (
        f"the training process ended {how}"
        + (f": {last[0]}" if last else "")
        + f"; see {run.path / 'log.txt'}"
    )
