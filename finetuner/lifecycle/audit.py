"""The audit log: who changed what in a registry, and when."""

import datetime
from collections.abc import Collection
from uuid import uuid4

from finetuner.lifecycle.lock import here
from finetuner.lifecycle.pointer import Pointer
from finetuner.lifecycle.store import Entry

_ONCE = ("registered", "deleted")
"""What is done to a version once at most."""


def entry(what: str, version: str, *, by: str = "", why: str = "", **others: str | None) -> Entry:
    """Return an entry of the log, of now and of this process; what is empty is left out.

    Args:
        what: ``registered``, ``promoted``, ``rolled back``, ``kept``, ``no longer kept`` or ``deleted``.
        version: Which version; after a rollback, the one that is active again.
        by: Who asked for it.
        why: And why.
        others: What else there is to tell: run, parent, the version that was active before.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    told = {"by": by, "why": why, **others, "process": here()}
    return {"id": uuid4().hex, "time": now, "what": what, "version": version} | {
        name: value for name, value in told.items() if value
    }


def missing(entries: Collection[Entry], pointer: Pointer | None, names: Collection[str]) -> list[Entry]:
    """Return what was done, but not written down, since a crash or somebody's hand came between.

    Args:
        entries: The log.
        pointer: The pointer of now.
        names: The versions of now.
    """
    found = []
    if pointer and pointer.entry and pointer.entry["id"] not in {one.get("id") for one in entries}:
        found.append(pointer.entry)
    told = {what: {one.get("version") for one in entries if one.get("what") == what} for what in _ONCE}
    why = "found when the registry was taken over"
    found += [entry("registered", name, why=why) for name in sorted(set(names) - told["registered"])]
    gone = sorted(str(one) for one in told["registered"] - told["deleted"] - set(names))
    return found + [entry("deleted", name, why=why) for name in gone]


def was_promoted(version: str, entries: Collection[Entry]) -> bool:
    """Return whether a log tells that a version was promoted, however long ago."""
    return any(one.get("what") == "promoted" and one.get("version") == version for one in entries)
