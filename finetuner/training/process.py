"""The training process, as the service sees it: started, ended, and why it ended."""

import contextlib
import signal
import subprocess
import sys
from typing import Any

from finetuner.training.run_folder import LEADS_TO, RunFolder

FAILED = 3
"""Its exit code after an error that was reported as an event."""

DISK_FULL = 4
"""Its exit code after an error that may have been reported, if there was room."""


class TrainingProcess:
    """A process that carries out a run; it ends by itself when this one is gone.

    Args:
        run: What it carries out; what it prints is appended to the run's log.

    Raises:
        OSError: If it cannot be started.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        with run.log.open("ab") as log:
            self._said_before = log.tell()
            # its standard input is how it learns that we are gone
            command = [sys.executable, "-m", "finetuner.worker", str(run.path)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
            )

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def wait(self, seconds: float) -> int | None:
        """Return the exit code once it has ended, or None if that takes longer."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def end(self) -> int:
        """Wait for its end, and return the exit code."""
        with self._process as process:  # closes the pipe, too
            return process.wait()

    def reason(self, code: int) -> str:
        """Return why it ended with a code other than 0."""
        error = self._error()
        if code == DISK_FULL:
            told = f" ({error['message']})" if error else ""
            return f"the disk is full{told}; make room, then /resume"
        if code == FAILED and error:
            return f"{error['type']}: {error['message']}"
        with self.run.log.open("rb") as log:
            log.seek(self._said_before)
            last = log.read().decode(errors="replace").strip().splitlines()[-1:]
        return (
            f"the training process ended {_how(code)}"
            + (f": {last[0]}" if last else "")
            + f"; see {self.run.log}"
        )

    def _error(self) -> dict[str, Any] | None:
        """Return the error that this process has reported; one of an earlier process is not its."""
        error: dict[str, Any] | None = None
        for event in self.run.events():
            if event["event"] == "error":
                error = event
            elif event["event"] in LEADS_TO:
                error = None
        return error


def _how(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
        if name == "SIGKILL":
            return "by signal SIGKILL, as where memory runs out; /resume goes on where it was"
        return f"by signal {name}"
    return f"by signal {-code}"
