"""What becomes of runs that an earlier service has left, and how long runs keep what they need to go on."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from finetuner.training.run_folder import FINAL, RunFolder, state_after

CRASHES = 3
"""So often in a row may the service die while a run trains, before the run is taken for the cause."""

_NO_DATA = "the service stopped before the run had its data; start a new one with /fit"
_CRASHED = (
    f"the service died {CRASHES} times in a row while this run trained, without an epoch in between; perhaps it needs "
    "more memory than there is; /resume tries it again"
)


def take_up(runs: Iterable[RunFolder]) -> list[RunFolder]:
    """Return the runs that go on after the service has stopped: what was running, then the queue in its order.

    One that cannot go on has failed.
    """
    going_on: list[tuple[bool, float, RunFolder]] = []
    for run in runs:
        events = run.events()
        state = state_after(events)
        if state in FINAL:
            continue
        run.discard_halves()
        why_not = None if run.data.exists() else _NO_DATA
        if state == "running" and crashes(events) >= CRASHES:
            why_not = _CRASHED
        if why_not is None:  # the last event of one that is queued is when it went into the queue
            going_on.append((state == "queued", events[-1]["time"], run))
            continue
        with suppress(OSError):  # where the disk is full, the next start does it
            run.move("failed", {"reason": why_not})
    return [run for *_, run in sorted(going_on, key=lambda one: one[:2])]


def crashes(events: Sequence[dict[str, Any]]) -> int:
    """Return how often in a row the service died while a run trained, with no epoch in between."""
    count = 0
    for event in events:
        if event["event"] in ("queued", "epoch"):
            count = 0
        elif event["event"] in ("running", "resumed"):
            count += 1
        elif event["event"] == "stopped":  # not a crash
            count = max(0, count - 1)
    return count


def make_room(runs: Iterable[RunFolder], keep: int) -> None:
    """Remove what runs need to go on, where they never will: their events stay.

    Args:
        runs: All runs.
        keep: Of how many that failed or were cancelled it is kept; those that ended last.
    """
    ended: list[tuple[float, RunFolder]] = []
    for run in runs:
        if not run.data.exists():
            continue
        events = run.events()
        state = state_after(events)
        if state == "succeeded":
            run.discard()  # the version is what is left of it
        elif state in FINAL:
            ended.append((events[-1]["time"] if events else 0.0, run))
    ended.sort(key=lambda one: one[0], reverse=True)
    for _, run in ended[keep:]:
        run.discard()
