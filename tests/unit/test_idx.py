"""The IDX reader: what it accepts, and that a damaged file is refused by name."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from finetuner.errors import SourceError
from finetuner.sources.idx import read_idx

HEADER_2_BY_3 = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3])
SIX_BYTES = bytes([1, 2, 3, 4, 5, 255])


def _written(folder: Path, data: bytes) -> Path:
    path = folder / "some-idx2-ubyte.gz"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_plain_and_compressed_files_read_the_same(tmp_path: Path, pack: type[bytes]) -> None:
    """Whether a file is compressed is seen from its first bytes, and changes nothing."""
    read = read_idx(_written(tmp_path, pack(HEADER_2_BY_3 + SIX_BYTES)), dimensions=2)
    assert read.tolist() == [[1, 2, 3], [4, 5, 255]]
    assert read.dtype == np.uint8


def test_numbers_cannot_be_written_to(tmp_path: Path) -> None:
    """Nobody who shares the array can change it for the others."""
    read = read_idx(_written(tmp_path, HEADER_2_BY_3 + SIX_BYTES), dimensions=2)
    assert not read.flags.writeable


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "no IDX file"),
        (b"<html>not here</html>", "no IDX file"),
        (bytes([0, 0, 7, 2]) + HEADER_2_BY_3[4:] + SIX_BYTES, "no IDX file"),
        (bytes([0, 0, 13, 2]) + HEADER_2_BY_3[4:] + SIX_BYTES, "float32; only uint8"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 6]) + SIX_BYTES, "1 dimensions; 2 are needed"),
        (HEADER_2_BY_3[:9], "ends within its header, after 9 of 12"),
        (HEADER_2_BY_3 + SIX_BYTES[:-1], r"\(2, 3\), which is 6 bytes, but 5"),
        (HEADER_2_BY_3 + SIX_BYTES + b"\0", r"\(2, 3\), which is 6 bytes, but 7"),
        (HEADER_2_BY_3[:4] + b"\xff" * 8 + SIX_BYTES, "but 6 follow it"),
        (gzip.compress(HEADER_2_BY_3 + SIX_BYTES)[:-9], "damaged or cut short"),
        (gzip.compress(HEADER_2_BY_3 + SIX_BYTES)[:-8] + b"\0" * 8, "damaged or cut short"),
        (gzip.compress(HEADER_2_BY_3 + SIX_BYTES)[:12] + b"\xff" * 30, "damaged or cut short"),
    ],
    ids=[
        "empty",
        "html",
        "type",
        "float",
        "dimensions",
        "header",
        "short",
        "long",
        "huge",
        "cut",
        "crc",
        "deflate",
    ],
)
def test_damaged_file_is_refused_by_name(tmp_path: Path, data: bytes, fault: str) -> None:
    """Each kind of damage is a SourceError that names the file and the fault."""
    path = _written(tmp_path, data)
    with pytest.raises(SourceError, match=fault) as raised:
        read_idx(path, dimensions=2)
    assert str(raised.value).startswith(f"{path}: ")


def test_missing_file_is_a_source_error(tmp_path: Path) -> None:
    """A file that is not there is named, too."""
    with pytest.raises(SourceError, match="nothing-here: the file cannot be read: No such file"):
        read_idx(tmp_path / "nothing-here", dimensions=1)
