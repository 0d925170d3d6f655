"""What a registry needs of the place where it lies, a folder or a bucket."""

from pathlib import Path
from typing import Any, Protocol

Entry = dict[str, Any]
"""A line of the audit log."""


class Hold(Protocol):
    """The right to change a registry, which one process has at a time."""

    @property
    def lost(self) -> bool:
        """Whether another process has it now."""

    def check(self) -> None:
        """Return if this process may change the registry now.

        Raises:
            ReplicaError: If another one may.
        """

    def close(self) -> None:
        """Give it back."""


class Store(Protocol):
    """Where versions, the pointer and the audit log lie.

    A version is there as a whole or not at all, the pointer is replaced at once, and an entry that was appended stays. Each
    method but ``aside`` may raise a :class:`finetuner.errors.RegistryError`: the place cannot be reached.

    Attributes:
        where: Its name, for people.
        folder: Where the versions are on this machine, each in a folder of its name.
        poll_seconds: How often to look at ``stamp``.
    """

    where: str
    folder: Path
    poll_seconds: float

    def aside(self) -> Path:
        """Return a path at which there is nothing yet, to make a version at."""

    def add(self, name: str, made: Path) -> None:
        """Take in the version that was made aside.

        Raises:
            RegistryError: If there is one of that name.
        """

    def names(self) -> list[str]:
        """Return the names of all versions, in any order; those that are damaged, too."""

    def describe(self, name: str) -> bytes:
        """Return the ``model.json`` of a version.

        Raises:
            FileNotFoundError: If it has none.
        """

    def fetch(self, name: str) -> Path:
        """Return the folder of a version, once it is on this machine.

        Raises:
            FileNotFoundError: If there is none of that name.
            DamagedVersionError: If what came is not what was registered.
        """

    def forget(self, name: str) -> bool:
        """Drop this machine's copy of a version, and return whether it can be fetched again."""

    def remove(self, name: str) -> None:
        """Delete a version: it is gone at once, its files soon after."""

    def stamp(self) -> object:
        """Return something that is another one after each change of the pointer, and cheap."""

    def read(self) -> bytes | None:
        """Return the pointer, or None before the first."""

    def write(self, pointer: bytes) -> None:
        """Replace the pointer."""

    def append(self, entry: Entry) -> None:
        """Add an entry to the audit log; it is kept when this returns."""

    def entries(self) -> list[Entry]:
        """Return the audit log, the oldest entry first."""

    def hold(self) -> Hold | None:
        """Return the right to change the registry, or None while another process has it."""

    def holder(self) -> str:
        """Return who has it or had it last, for people."""

    def sweep(self) -> None:
        """Delete what a crash has left half-made; only who holds the registry may."""
