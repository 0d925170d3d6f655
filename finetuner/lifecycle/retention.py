"""Which versions are kept."""

from collections.abc import Collection, Sequence


def outdated(names: Sequence[str], *, last: int, needed: Collection[str]) -> list[str]:
    """Return the versions that may be deleted, the oldest first.

    Args:
        names: All versions, the oldest first.
        last: How many of the newest are kept in any case, at least 1: a name is never given twice, so the newest
            has to stay.
        needed: Those that are kept besides. The base, which is the first one, is one of them.
    """
    return [name for name in names[:-last] if name != "v0" and name not in needed]
