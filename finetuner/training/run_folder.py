"""A run on disk: what it shall do, and what has happened so far.

<run>/run.json             what it shall do; written once
<run>/data/                its match set; whole or not there
<run>/guards/              match sets that must not get worse, in folders of their numbers; there before the data is
<run>/events.jsonl         what happened, a line each; the last one that names a state is the state
<run>/candidate/           the tuned encoder, once the training is through
<run>/state.safetensors    where its training stands, to go on from
<run>/features/            vectors of frozen modules, where they are not kept for other runs
<run>/log.txt              what its training processes printed
<run>/curves.svg           loss and validation MAP of each epoch, drawn at the end

    queued ───► running ───► succeeded
      ▲  │         │
      │  └────┬────┘
      │       ▼
      └─ failed, cancelled         back by /resume
"""

import json
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from finetuner.durable import append_line, replace_file, sync, sync_tree
from finetuner.errors import SourceError
from finetuner.matches import MatchSet

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
FINAL = frozenset({"succeeded", "failed", "cancelled"})

LEADS_TO: dict[str, State] = {
    "queued": "queued",
    "running": "running",
    "resumed": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
}
"""The events that name a state, and which."""

MAY_COME: dict[str, frozenset[State]] = {
    "queued": frozenset({"failed", "cancelled"}),  # by /resume; the first one makes the run
    "running": frozenset({"queued"}),
    "resumed": frozenset({"queued", "running"}),  # after /resume, and after the service has stopped
    "succeeded": frozenset({"running"}),
    "failed": frozenset({"queued", "running"}),
    "cancelled": frozenset({"queued", "running"}),
}
"""In which states each of them may come."""


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
        replace_file(path / "run.json", json.dumps(task).encode())
        sync(path.parent)
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
    def guards(self) -> Path:
        """Where match sets are that must not get worse."""
        return self.path / "guards"

    @property
    def candidate(self) -> Path:
        """Where its weights are."""
        return self.path / "candidate"

    @property
    def checkpoint(self) -> Path:
        """Where it is kept how far the training is."""
        return self.path / "state.safetensors"

    @property
    def features(self) -> Path:
        """Where vectors of frozen modules are, if they are not kept for other runs."""
        return self.path / "features"

    @property
    def log(self) -> Path:
        """What its training processes printed."""
        return self.path / "log.txt"

    def task(self) -> dict[str, Any]:
        """Return what the run shall do."""
        try:
            task: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SourceError(f"{self.path / 'run.json'}: not the description of a run: {error}") from error
        return task

    def keep_data(self, matches: MatchSet, guards: Mapping[str, MatchSet] | None = None) -> None:
        """Save the run's match set; it is on disk when this returns, and not there at all if it cannot be.

        Args:
            matches: What it learns from.
            guards: What must not get worse, by name of the collection; on disk before ``matches`` are there.

        Raises:
            OSError: If it cannot be written.
        """
        aside, guards_aside = self.path / "data.part", self.path / "guards.part"
        try:
            matches.save(aside)
            sync_tree(aside)
            if guards:
                _save_guards(guards, guards_aside)
                guards_aside.replace(self.guards)
                sync(self.path)
            aside.replace(self.data)  # last: it says that all is there
            sync(self.path)
        finally:
            self.discard_halves()

    def guard_sets(self) -> dict[str, MatchSet]:
        """Return the match sets that must not get worse, by name of their collection; none if there are no guards.

        Raises:
            SourceError: If one is damaged, or one that the run's task names is gone.
        """
        try:
            names = json.loads((self.guards / "names.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            names = []
        if gone := sorted(set(self.task().get("guards", ())) - set(names)):
            raise SourceError(
                f"{self.guards}: guard {gone[0]!r} is gone, and without it a run must not go on; start a new one with /fit"
            )
        return {name: MatchSet.load(self.guards / str(number)) for number, name in enumerate(names)}

    def discard(self) -> None:
        """Remove what is only there to go on from: data, candidate, vectors and state of the training."""
        self.discard_halves()
        self.checkpoint.unlink(missing_ok=True)
        # data last: it says that there is more
        for folder in (self.features, self.candidate, self.guards, self.data):
            shutil.rmtree(folder, ignore_errors=True)

    def discard_halves(self) -> None:
        """Remove what a crash or a full disk has left half-written, guards without data among it."""
        if not self.data.exists():
            shutil.rmtree(self.guards, ignore_errors=True)
        for half in self.path.glob("*.part"):
            if half.is_dir():
                shutil.rmtree(half, ignore_errors=True)
            else:
                half.unlink(missing_ok=True)

    def report(self, event: str, figures: dict[str, Any]) -> None:
        """Append an event; it is on disk when this returns.

        Raises:
            OSError: If it cannot be written, or not as a whole.
        """
        line = json.dumps({"event": event, "time": round(time.time(), 3), **figures})
        append_line(self.path / "events.jsonl", line)

    def move(self, event: str, figures: dict[str, Any]) -> bool:
        """Report an event that names a state, if it may come in the present one; return whether it did.

        Raises:
            OSError: If it cannot be written.
        """
        if self.state() not in MAY_COME[event]:
            return False
        self.report(event, figures)
        return True

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
        return state_after(self.events())

    def summary(self) -> dict[str, Any]:
        """Return id, state and the latest figures, for people."""
        events = self.events()
        summary: dict[str, Any] = {"run": self.id, "state": state_after(events)}
        for event in events:
            name = event.pop("event")
            at = event.pop("time")
            if name in LEADS_TO:
                if LEADS_TO[name] not in FINAL:
                    for earlier in ("reason", "error", *FINAL):  # how it ended before it was resumed
                        summary.pop(earlier, None)
                summary |= {name: at} | event
            elif name == "epoch":
                summary |= event
            else:
                summary[name] = event
        return summary


def state_after(events: Iterable[dict[str, Any]]) -> State:
    """Return the state that a run's events lead to."""
    state: State = "failed"
    for event in events:
        state = LEADS_TO.get(event["event"], state)
    return state


def _save_guards(guards: Mapping[str, MatchSet], folder: Path) -> None:
    for number, matches in enumerate(guards.values()):
        matches.save(folder / str(number))  # '..' is a name that a collection may have
    (folder / "names.json").write_text(json.dumps(list(guards)), encoding="utf-8")
    sync_tree(folder)


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return event
