"""Files that outlive a crash of the machine."""

import errno
import os
from pathlib import Path


def sync(path: Path) -> None:
    """Return when a file or folder is on disk; a folder's entries, not what they hold."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Return when a folder and everything below it is on disk."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def append_line(path: Path, line: str) -> None:
    """Append a line to a file; it is on disk when this returns.

    Several processes may append: each line is one write. A line that a crash has torn stays one of its own, so a reader
    leaves out what it cannot read, and nothing else is lost.

    Raises:
        OSError: If it cannot be written, or not as a whole.
    """
    told = line.encode() + b"\n"
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            told = b"\n" + told
        if os.write(handle, told) < len(told):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_file(path: Path, content: bytes) -> None:
    """Give a file another content at once: who reads it finds the old one or the new one, also after a crash."""
    aside = path.with_suffix(".part")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync(path.parent)
