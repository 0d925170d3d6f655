"""What a feature cache deletes: encoders that nobody uses, when there is no room, or all of them."""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from pathlib import Path

from finetuner.features.shelf import GoneError, opened, try_lock


def make_room(root: Path, needed: int, *, most_bytes: int) -> None:
    """Delete what was not used for longest until so many bytes more fit, or all that is left is in use."""
    sizes = {folder: _nbytes(folder) for folder in shelves(root)}
    total = sum(sizes.values()) + needed
    for folder, size in sizes.items():
        if total > most_bytes and _put_away_unused(folder):
            total -= size
    sweep(root)


def shelves(root: Path) -> list[Path]:
    """Return the folders of all encoders, the one that was not used for longest first."""
    found = []
    for folder in root.glob("*.features"):
        with contextlib.suppress(FileNotFoundError):
            found.append((folder.stat().st_mtime_ns, folder))
    return [folder for _, folder in sorted(found)]


def put_away(folder: Path, handle: int | None = None) -> None:
    """Take a folder out of sight, once nobody appends to it; :func:`sweep` deletes it.

    Args:
        folder: Its path.
        handle: A handle of the folder that is meant: one that others have made at the same path since stays.
    """
    with contextlib.suppress(FileNotFoundError), (folder / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if handle is not None and not os.path.samestat(os.fstat(handle), folder.stat()):
            return
        folder.rename(folder.with_suffix(f".{secrets.token_hex(8)}.gone"))


def sweep(root: Path) -> None:
    """Delete what was put away, be it by a process that was killed before it deleted it."""
    for folder in root.glob("*.gone"):
        try:
            shutil.rmtree(folder)
        except OSError as error:
            if error.errno not in (
                errno.ENOENT,
                errno.ENOTEMPTY,
            ):  # another one is at it, or was just leaving
                raise


def _put_away_unused(folder: Path) -> bool:
    try:
        handle = opened(folder)
    except GoneError:
        return True
    try:
        unused = try_lock(handle)
        if unused:
            put_away(folder, handle)
    finally:
        os.close(handle)
    return unused


def _nbytes(folder: Path) -> int:
    total = 0
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # renamed since it was listed
                total += path.stat().st_size
    return total
