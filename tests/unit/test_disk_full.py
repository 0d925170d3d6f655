"""Telling that an error means a full disk."""

import errno
import shutil

import pytest
from safetensors import SafetensorError

from finetuner.training.disk_full import in_words, is_disk_full


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EFBIG, "File too large"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (FileNotFoundError(errno.ENOENT, "no such file: os error 28"), False),
        (OSError("100000 requested and 12484 written"), True),
        (OSError("state: cannot be written: I/O error: No space left on device (os error 28)"), True),
        (SafetensorError("Error while serializing: I/O error: File too large (os error 27)"), True),
        (SafetensorError("Error while deserializing header: invalid header"), False),
        (shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]), True),
        (shutil.Error([("a", "b", "[Errno 13] Permission denied: 'b'")]), False),
    ],
)
def test_a_full_disk_is_told_from_other_errors(error: Exception, full: bool) -> None:
    """As the system says it, NumPy, safetensors and shutil."""
    assert is_disk_full(error) == full
    assert in_words(error).startswith("the disk is full (") == full


def test_another_error_is_told_as_it_is() -> None:
    """Class and message."""
    assert in_words(ValueError("no")) == "ValueError: no"
