"""Telling that an error means a full disk: each library that writes says so in its own way."""

import errno
import re

from safetensors import SafetensorError

_FULL = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT})

CannotWrite = (OSError, SafetensorError)
"""What is raised where a file cannot be written."""


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error means that no more could be written: no space, a quota, a file grown too large."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    told = str(error)
    if re.search(r"\d+ requested and \d+ written", told):  # NumPy, which does not ask for the reason
        return True
    # safetensors writes "(os error 28)", and shutil gathers messages with "[Errno 28]"
    numbers = re.findall(r"(?:os error |\[Errno )(\d+)", told)
    return any(int(number) in _FULL for number in numbers)


def in_words(error: Exception) -> str:
    """Return an error as the reason of a run that it ended: its class and message, and what to do about a full disk."""
    told = f"{type(error).__name__}: {error}"
    return f"the disk is full ({told}); make room, then /resume" if is_disk_full(error) else told
