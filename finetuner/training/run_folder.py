"""A run on disk: what it shall do, and what has happened so far.

<run>/run.json        what it shall do; written once
<run>/data/           its match set
<run>/events.jsonl    what happened, a line each; the last one that names a state is the state
<run>/candidate/      weights of the best epoch so far
"""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from finetuner.errors import SourceError

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
STATES = frozenset(get_args(State))
FINAL = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run; readable while another process writes it."""

    path: Path

    @classmethod
    def create(cls, path: Path, task: dict[str, Any]) -> "RunFolder":
        """Write a new run; its state is ``queued``."""
        path.mkdir(parents=True)
        run = cls(path)
        run.report("queued", {})
        # run.json last, by rename: a folder without it is no run
        aside = path / "run.json.part"
        with aside.open("w", encoding="utf-8") as file:
            json.dump(task, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path / "run.json")
        return run

    @property
    def id(self) -> str:
        """The run's id, which names the folder."""
        return self.path.name

    @property
    def data(self) -> Path:
        """Where its match set is."""
        return self.path / "data"

    @property
    def candidate(self) -> Path:
        """Where its weights are."""
        return self.path / "candidate"

    def task(self) -> dict[str, Any]:
        """Return what the run shall do."""
        try:
            task: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SourceError(f"{self.path / 'run.json'}: not the description of a run: {error}") from error
        return task

    def report(self, event: str, figures: dict[str, Any]) -> None:
        """Append an event; it is on disk when this returns."""
        line = json.dumps({"event": event, "time": round(time.time(), 3), **figures}) + "\n"
        handle = os.open(self.path / "events.jsonl", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                line = "\n" + line  # what a crash has torn stays a line of its own
            os.write(handle, line.encode())  # one write: two processes may append
            os.fsync(handle)
        finally:
            os.close(handle)

    def events(self) -> list[dict[str, Any]]:
        """Return the events so far; a line that is still being written, or that a crash has torn, is left out."""
        return self.events_after(0)[0]

    def events_after(self, position: int) -> tuple[list[dict[str, Any]], int]:
        """Return the events that came after a position in the file, 0 for all, and the position after them."""
        try:
            with (self.path / "events.jsonl").open("rb") as file:
                file.seek(position)
                lines = file.read()
        except FileNotFoundError:  # a crash or a person has taken it away
            return [], position
        whole = lines[: lines.rfind(b"\n") + 1]
        return [event for line in whole.splitlines() if (event := _read(line))], position + len(whole)

    def state(self) -> State:
        """Return the state: the last event that names one; a run that has lost its events has failed."""
        states: list[State] = [event["event"] for event in self.events() if event["event"] in STATES]
        return states[-1] if states else "failed"

    def summary(self) -> dict[str, Any]:
        """Return id, state and the latest figures, for people."""
        summary: dict[str, Any] = {"run": self.id, "state": self.state()}
        for event in self.events():
            name = event.pop("event")
            at = event.pop("time")
            if name in STATES:
                summary |= {"state": name, name: at} | event
            elif name == "epoch":
                summary |= event
            else:
                summary[name] = event
        return summary


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return event
