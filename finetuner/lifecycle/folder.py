"""A registry in a folder: of this machine, or of one that several machines have mounted.

<root>/versions/v3/    written aside as .<random>.part and renamed; renamed to .v3.<random>.gone and deleted
<root>/active.json     the pointer; replaced by rename
<root>/audit.jsonl     a line for each change; only appended to
<root>/lock            locked by the process that may change the rest
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

from finetuner.durable import append_line, replace_file, sync, sync_tree
from finetuner.lifecycle.lock import Locks, holder
from finetuner.lifecycle.store import Entry
from finetuner.lifecycle.version import ABOUT

NAME = re.compile(r"v(\d+)")


class FolderStore:
    """Versions, pointer and audit log in a folder; see :class:`finetuner.lifecycle.store.Store`.

    Args:
        root: The folder.
        home: Where the runs are of the process that holds the registry; who holds one holds both.
    """

    poll_seconds = 0.1

    def __init__(self, root: Path, home: Path | None = None) -> None:
        self.where = str(root)
        self.folder = root / "versions"
        self._root = root
        self._home = home or root
        self._pointer = root / "active.json"
        self._audit = root / "audit.jsonl"
        self.folder.mkdir(parents=True, exist_ok=True)

    def aside(self) -> Path:
        """Return a path at which there is nothing yet, on the file system of the versions."""
        return self.folder / f".{uuid4().hex}.part"

    def add(self, name: str, made: Path) -> None:
        """Take in the version that was made aside, by rename."""
        sync_tree(made)
        made.rename(self.folder / name)
        sync(self.folder)

    def names(self) -> list[str]:
        """Return the names of all versions; one that is damaged has its name all the same."""
        return [one.name for one in self.folder.iterdir() if NAME.fullmatch(one.name)]

    def describe(self, name: str) -> bytes:
        """Return the ``model.json`` of a version, or raise FileNotFoundError."""
        return (self.folder / name / ABOUT).read_bytes()

    def fetch(self, name: str) -> Path:
        """Return the folder of a version, or raise FileNotFoundError."""
        if not (self.folder / name).is_dir():
            raise FileNotFoundError(name)
        return self.folder / name

    def forget(self, name: str) -> bool:
        """Return that there is no other copy."""
        return False

    def remove(self, name: str) -> None:
        """Delete a version: renamed first, so that it is never there in part."""
        gone = self.folder / f".{name}.{uuid4().hex}.gone"
        (self.folder / name).rename(gone)
        sync(self.folder)
        shutil.rmtree(gone)

    def stamp(self) -> object:
        """Return what changes whenever the pointer is replaced; it costs one call of the system."""
        try:
            found = self._pointer.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def read(self) -> bytes | None:
        """Return the pointer, or None before the first."""
        try:
            return self._pointer.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, pointer: bytes) -> None:
        """Replace the pointer."""
        replace_file(self._pointer, pointer)

    def append(self, entry: Entry) -> None:
        """Add a line to the audit log."""
        append_line(self._audit, json.dumps(entry))

    def entries(self) -> list[Entry]:
        """Return the audit log; a line that a crash has torn is left out."""
        if not self._audit.exists():
            return []
        lines = self._audit.read_bytes().splitlines()
        return [entry for line in lines if (entry := read_entry(line)) is not None]

    def hold(self) -> Locks | None:
        """Return the lock of the folder, or None while another process has it."""
        return Locks.take(self._root, self._home)

    def holder(self) -> str:
        """Return who has the lock, or had it last."""
        return holder(self._root)

    def sweep(self) -> None:
        """Delete versions that are half-written or half-deleted."""
        for left_over in [*self.folder.glob(".*.part"), *self.folder.glob(".*.gone")]:
            shutil.rmtree(left_over)


def read_entry(line: bytes) -> Entry | None:
    """Return an entry of the audit log, or None if it is torn."""
    try:
        entry: Any = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
