"""Whether a run is to start by itself."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from finetuner.continual.settings import AutomaticRuns


@dataclass(frozen=True)
class Earlier:
    """An automatic run that was started.

    Attributes:
        position: The position of the collection at which it was.
        time: When, in seconds since 1970.
        has_ended: Whether it is through, however it went.
    """

    position: int
    time: float
    has_ended: bool = True


@dataclass(frozen=True)
class News:
    """What has come to a collection.

    Attributes:
        position: Its newest feed.
        new_judgements: Judgements that came after the position of the last automatic run.
    """

    position: int
    new_judgements: int


@dataclass(frozen=True)
class Due:
    """Whether to start a run, and why, for people."""

    is_due: bool
    why: str


def run_name(collection: str, position: int) -> str:
    """Return the name of the automatic run at a position, the same whoever starts it."""
    return f"auto-{collection}-{position}"


def position_of(run: str, collection: str) -> int | None:
    """Return at which position a run was started by itself; None for one that was not, or for another collection."""
    found = re.fullmatch(rf"auto-{re.escape(collection)}-(\d+)", run)
    return int(found[1]) if found else None


def last_of(earlier: Iterable[Earlier]) -> Earlier | None:
    """Return the run that was started last, if there is one."""
    return max(earlier, key=lambda run: (run.time, run.position), default=None)


def due(settings: AutomaticRuns, last: Earlier | None, news: News, *, now: float) -> Due:
    """Decide whether a run is to start.

    Args:
        settings: What the operator says.
        last: The last run that started by itself; without one everything is new, and no time has to go by.
        news: What has come since then.
        now: The time, in seconds since 1970.
    """
    if last is not None and not last.has_ended:
        return Due(False, f"the run at position {last.position} has not ended yet")
    if not news.new_judgements:
        return Due(False, "nothing is new")
    if last is not None and last.position == news.position:
        return Due(False, f"a run was started at position {last.position} already")
    came = f"{news.new_judgements} new judgements"
    least, hours = settings.min_new_judgements, settings.every_hours
    if least is not None and news.new_judgements >= least:
        return Due(True, f"{came} have come, and {least} were waited for")
    if hours is not None:
        gone_by = None if last is None else (now - last.time) / 3600
        if gone_by is None:
            return Due(True, f"{came} have come, and no run was started yet")
        if gone_by >= hours:
            return Due(
                True, f"{came} have come, and {gone_by:.4g} hours have gone by; {hours:g} were waited for"
            )
    return Due(False, f"{came} have come, which is not enough yet")
