"""Lines of text from a file of any size, and every fault with its line."""

from collections.abc import Iterator
from pathlib import Path

from finetuner.errors import SourceError

LONGEST = 64 * 2**20
"""Bytes of the longest line that is read; a file without line breaks is thus not read into memory."""


def read_lines(path: Path, *, longest: int = LONGEST) -> Iterator[tuple[int, str]]:
    """Yield the lines of a UTF-8 file with their numbers, counted from 1, and their ends.

    Args:
        path: The file. A byte order mark is accepted.
        longest: Bytes of a line at most.

    Raises:
        SourceError: If the file is missing, has a line that is too long or not UTF-8, or is no text.
    """
    number = 0
    try:
        with path.open("rb") as file:
            while line := file.readline(longest + 1):
                number += 1
                if len(line) > longest:
                    raise SourceError(
                        f"{path}:{number}: the line is longer than {longest:,} bytes; give each row a line of its own"
                    )
                if b"\0" in line:
                    raise SourceError(
                        f"{path}:{number}: this is no {_kind(path)}: it holds NUL bytes, as binary files do; "
                        "save it as text in UTF-8"
                    )
                # decoded line by line, and not by the file object in blocks: so a fault is named with its line
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path}:{number}: the line is not UTF-8: {error.reason}; save the file as UTF-8"
        ) from error
    except OSError as error:
        raise SourceError(f"{path}: the file cannot be read: {error.strerror}") from error


def _kind(path: Path) -> str:
    return path.suffix[1:].upper() or "text"
