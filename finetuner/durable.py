"""Files that outlive a crash of the machine."""

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
