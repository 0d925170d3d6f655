"""Runs: a queue of trainings, one at a time, each in a process of its own."""

import contextlib
import logging
import queue
import re
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from finetuner.errors import FinetunerError, OptionError, TrainingError
from finetuner.matches import MatchSet
from finetuner.training.disk_full import in_words
from finetuner.training.housekeeping import make_room, take_up
from finetuner.training.listing import run_in, runs_in
from finetuner.training.process import TrainingProcess
from finetuner.training.run_folder import FINAL, MAY_COME, RunFolder

_log = logging.getLogger(__name__)

Begin = Callable[[RunFolder], dict[str, Any]]
"""Called when a run's training begins; what it returns becomes part of the ``running`` event."""

Finish = Callable[[RunFolder], dict[str, Any]]
"""Called when a run's training is through; what it returns becomes part of the ``succeeded`` event."""

Guard = tuple[MatchSet, dict[str, Any]]
"""A collection that must not get worse, and what exactly it is."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TOLD_APART = (
    "options",
    "promote",
    "min_gain",
    "guard_margin",
    "parent",
    "max_seconds",
    "guards",
    "since",
    "replay",
)


class Runs:
    """The runs of a folder. Those that an earlier process left queued or running go on.

    Args:
        folder: Where they live.
        begin: Called in the queue's thread before a run trains for the first time.
        finish: Called in the queue's thread after each training that ended well.
        keep: Of how many failed and cancelled runs to keep what is needed to go on; the newest count.
    """

    PAUSE = 1.0
    """Seconds until the end of a run that could not be written is tried again."""

    def __init__(self, folder: Path, begin: Begin, finish: Finish, *, keep: int = 20) -> None:
        self._folder = folder
        self._begin = begin
        self._finish = finish
        self._keep = keep
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[RunFolder | None] = queue.SimpleQueue()
        self._process: TrainingProcess | None = None
        self._concluding: str | None = None
        self._closing = threading.Event()
        folder.mkdir(parents=True, exist_ok=True)
        for run in take_up(self.list()):
            self._queue.put(run)
        make_room(self.list(), keep)
        self._thread = threading.Thread(target=self._work, name="runs", daemon=True)
        self._thread.start()

    # what is asked for

    def create(self, task: dict[str, Any], run_id: str | None = None) -> tuple[RunFolder, bool]:
        """Write a new run, state ``queued``; it waits for :meth:`start`.

        Args:
            task: What it shall do, see :func:`finetuner.worker.carry_out`; and ``max_seconds``, after which
                its process is ended, or None.
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
        if any(task.get(name) != known.get(name) for name in _TOLD_APART):
            raise OptionError(f"run {run.id!r} was started with other options; choose another name")
        return run

    def start(
        self,
        run: RunFolder,
        matches: MatchSet,
        snapshot: dict[str, Any],
        guards: Mapping[str, Guard] | None = None,
    ) -> None:
        """Save the run's data and put it into the queue; one that was cancelled meanwhile will not train.

        Args:
            run: A run that :meth:`create` returned.
            matches: What it learns from.
            snapshot: What exactly that is, which is reported.
            guards: What must not get worse, by name of its collection, each with what exactly it is.

        Raises:
            OSError: If the data cannot be written; the run has failed then.
        """
        try:
            guards = guards or {}
            told = {"guards": {name: exactly for name, (_, exactly) in guards.items()}} if guards else {}
            run.report("data", snapshot | told)
            run.keep_data(matches, {name: held for name, (held, _) in guards.items()})
        except OSError as error:
            self.fail(run, error)
            raise
        self._queue.put(run)

    def fail(self, run: RunFolder, error: Exception) -> None:
        """End a run with an error as its reason."""
        with contextlib.suppress(OSError), self._lock:  # where the disk is full, the next start marks it
            run.move("failed", {"reason": in_words(error)})

    def resume(self, run_id: str) -> RunFolder:
        """Put a run that failed or was cancelled back into the queue; it goes on where it was.

        Raises:
            UnknownRunError: If there is none of that id.
            TrainingError: If it has not ended, has succeeded, or what it needs is no longer there.
        """
        run = self.get(run_id)
        with self._lock:
            state = run.state()
            if state not in MAY_COME["queued"]:
                raise TrainingError(
                    f"run {run.id!r} is {state}; one that failed or was cancelled can be resumed"
                )
            if not run.data.exists():
                raise TrainingError(
                    f"run {run.id!r} has no data to go on with: it never came, or was removed since keep_runs="
                    f"{self._keep} others ended after it; start a new one with /fit"
                )
            try:
                run.move("queued", {"reason": "it was resumed"})
            except OSError as error:
                raise TrainingError(f"run {run.id!r} cannot be resumed: {in_words(error)}") from error
            self._queue.put(run)
        return run

    def get(self, run_id: str) -> RunFolder:
        """Return a run.

        Raises:
            UnknownRunError: If there is none of that id.
        """
        return run_in(self._folder, run_id)

    def list(self) -> list[RunFolder]:
        """Return all runs, the oldest first."""
        return runs_in(self._folder)

    def cancel(self, run_id: str) -> RunFolder:
        """End a run that is queued or running; one that has ended, or is being concluded, stays as it is.

        Raises:
            UnknownRunError: If there is none of that id.
        """
        run = self.get(run_id)
        with self._lock:
            if self._concluding == run.id:  # what is being promoted must not end as cancelled
                return run
            try:
                run.move("cancelled", {})
            finally:  # also where it cannot be written
                if self._process and self._process.run == run:
                    self._process.kill()
        return run

    def close(self) -> None:
        """Stop the training process, if any; its run goes on at the next start, and so do those in the queue."""
        with self._lock:
            self._closing.set()
            if self._process:
                with contextlib.suppress(OSError):
                    self._process.run.report("stopped", {"reason": "the service was stopped"})
                self._process.kill()
        self._queue.put(None)
        self._thread.join(timeout=10)

    # what is done with them

    def _work(self) -> None:
        while (run := self._queue.get()) is not None:
            try:
                self._carry_out(run)
            except (FinetunerError, OSError) as error:  # a fault of one run, the next may do better
                self._end(run, "failed", {"reason": in_words(error)})
            except Exception as error:  # noqa: BLE001  a fault of ours must not end the queue
                _log.exception("run %s: a fault of Finetuner", run.id)
                self._end(run, "failed", {"reason": in_words(error)})
            with self._lock, contextlib.suppress(OSError):  # a person may delete a folder at any time
                self._concluding = None
                make_room(self.list(), self._keep)

    def _carry_out(self, run: RunFolder) -> None:
        process = self._launch(run)
        if process is None:
            return
        limit = run.task().get("max_seconds")
        in_time = limit is None or process.wait(limit) is not None
        if not in_time:
            process.kill()
        code = process.end()
        with self._lock:
            self._process = None
            if run.state() != "running":  # cancelled, and perhaps even queued again
                return
            self._concluding = run.id if code == 0 else None
        if code == 0:
            self._end(run, "succeeded", self._finish(run))
        elif not in_time:
            self._end(run, "failed", {"reason": f"it took longer than max_seconds={limit:g}"})
        elif not self._closing.is_set():
            self._end(run, "failed", {"reason": process.reason(code)})

    def _launch(self, run: RunFolder) -> TrainingProcess | None:
        begins = not any(event["event"] == "running" for event in run.events())
        beginning = self._begin(run) if begins else {}  # without the lock: it may fetch versions from afar
        with self._lock:
            state = run.state()
            if self._closing.is_set() or state in FINAL:
                return None
            if begins:
                run.move("running", beginning)
            else:
                why = "it was asked for" if state == "queued" else "the service stopped"
                run.move("resumed", {"reason": why})
            self._process = TrainingProcess(run)
            return self._process

    def _end(self, run: RunFolder, event: str, figures: dict[str, Any]) -> None:
        """Report the end of a run; where it cannot be written, as soon as it can: what is not on disk did not end."""
        while True:
            with contextlib.suppress(OSError), self._lock:
                run.move(event, figures)
                return
            if self._closing.wait(self.PAUSE):
                return
