"""A folder that belongs to one service at a time."""

import fcntl
from pathlib import Path
from typing import IO

from finetuner.errors import OptionError


def hold(folder: Path) -> IO[bytes]:
    """Lock a folder for as long as the file that is returned is open; the lock ends with the process, too."""
    folder.mkdir(parents=True, exist_ok=True)
    held = (folder / "lock").open("wb")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        held.close()
        raise OptionError(
            f"workspace {folder}: another service holds it; end that one, or choose another"
        ) from error
    return held
