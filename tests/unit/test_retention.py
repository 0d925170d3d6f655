"""Which versions may be deleted."""

import pytest

from finetuner.lifecycle.retention import outdated

NAMES = [f"v{at}" for at in range(12)]


@pytest.mark.parametrize(
    ("last", "needed", "gone"),
    [
        (12, (), []),
        (20, (), []),
        (3, (), NAMES[1:9]),
        (1, ("v2", "v10", "v77"), ["v1", *NAMES[3:10]]),
    ],
)
def test_all_but_the_last_the_base_and_the_needed_are_outdated(
    last: int, needed: tuple[str, ...], gone: list[str]
) -> None:
    """The newest one is never among them, since its name would be given again."""
    assert outdated(NAMES, last=last, needed=needed) == gone


def test_a_registry_without_versions_has_none_to_delete() -> None:
    """Nor one with the base alone."""
    assert outdated([], last=1, needed=()) == outdated(["v0"], last=1, needed=()) == []
