"""The audit log: each change once, also if a crash came between the change and the log."""

from finetuner.lifecycle.audit import entry, missing
from finetuner.lifecycle.lock import here
from finetuner.lifecycle.pointer import Pointer


def test_an_entry_tells_what_is_known() -> None:
    """Who, what, when and in which process; what is empty is left out."""
    told = entry("promoted", "v3", by="Ada", before="v2", run=None)
    assert {**told, "id": "", "time": ""} == {
        "id": "",
        "time": "",
        "what": "promoted",
        "version": "v3",
        "by": "Ada",
        "before": "v2",
        "process": here(),
    }
    assert told["time"].endswith("+00:00")


def test_what_was_done_but_not_written_down_is_found() -> None:
    """A promotion by the pointer that it left, a registration and a deletion by the versions that are there."""
    log = [entry("registered", name) for name in ("v0", "v1", "v2")]
    promoted = entry("promoted", "v1")
    pointer = Pointer("v1", entry=promoted)
    found = missing(log, pointer, ["v0", "v1", "v3"])
    assert found[0] == promoted
    assert [(one["what"], one["version"]) for one in found[1:]] == [("registered", "v3"), ("deleted", "v2")]
    assert missing([*log, *found], pointer, ["v0", "v1", "v3"]) == []


def test_what_is_written_down_is_not_told_again() -> None:
    """Also if a version was deleted long ago, and before anything was active."""
    log = [entry("registered", "v0"), entry("registered", "v1"), entry("deleted", "v1")]
    assert missing(log, None, ["v0"]) == []
