"""A folder that one process at a time may change."""

import contextlib
import fcntl
import os
import socket
from pathlib import Path
from typing import IO, Self

LOCK = "lock"


class FolderLock:
    """A lock on a folder; it ends with the process, too."""

    lost = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    @classmethod
    def take(cls, folder: Path) -> Self | None:
        """Return the lock, or None while another process, or another object of this one, has it."""
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+b")  # who does not get it must not wipe out who has it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        file.truncate(0)
        file.write(here().encode())
        file.flush()
        return cls(file)

    def check(self) -> None:
        """Return: nobody takes it away."""

    def close(self) -> None:
        """Let go of the folder."""
        self._file.close()


class Locks:
    """Several locks as one."""

    lost = False

    def __init__(self, taken: contextlib.ExitStack) -> None:
        self._taken = taken

    @classmethod
    def take(cls, *folders: Path) -> Self | None:
        """Return the locks of folders, of one that comes twice one; or None while another process has one of them."""
        with contextlib.ExitStack() as taken:
            for folder in dict.fromkeys(folder.resolve() for folder in folders):
                lock = FolderLock.take(folder)
                if lock is None:
                    return None
                taken.callback(lock.close)
            return cls(taken.pop_all())

    def check(self) -> None:
        """Return: nobody takes them away."""

    def close(self) -> None:
        """Let go of all folders."""
        self._taken.close()


def holder(folder: Path) -> str:
    """Return who has locked a folder, or did last."""
    try:
        return (folder / LOCK).read_text(encoding="utf-8") or "unknown"
    except OSError:
        return "unknown"


def here() -> str:
    """Return what this process is called in locks and logs: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"
