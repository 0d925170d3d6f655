"""IDX files, the format of the MNIST family: a small header, then plain numbers.

The header is two zero bytes, one byte for the type of the numbers, one for how many dimensions there are, and
each dimension as a big-endian 32-bit number.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finetuner.errors import SourceError

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTES = 0x08
_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}


def read_idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of bytes, compressed with gzip or plain.

    Args:
        path: The file; its first bytes tell whether it is compressed, its name does not matter.
        dimensions: How many dimensions it must have: 3 for images (N, height, width), 1 for labels (N,).

    Returns:
        A read-only uint8 array of the declared shape.

    Raises:
        SourceError: If the file is missing, damaged, no IDX file of bytes, or longer or shorter than its header
            says.
    """
    data = _unpacked(path)
    start = 4 + 4 * dimensions
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _TYPES:
        raise SourceError(f"{path}: this is no IDX file, it starts with {data[:4].hex(' ') or 'nothing'}")
    if data[2] != _UNSIGNED_BYTES:
        raise SourceError(f"{path}: the numbers are {_TYPES[data[2]]}; only uint8 is accepted")
    if data[3] != dimensions:
        raise SourceError(f"{path}: there are {data[3]} dimensions; {dimensions} are needed here")
    if len(data) < start:
        raise SourceError(f"{path}: the file ends within its header, after {len(data)} of {start} bytes")
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", dimensions, offset=4))
    if len(data) - start != math.prod(shape):
        raise SourceError(
            f"{path}: the header declares {shape}, which is {math.prod(shape)} bytes, but {len(data) - start} "
            "follow it; the file is damaged, take it anew"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _unpacked(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: the file cannot be read: {error.strerror}") from error
    if not data.startswith(_GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"{path}: the gzip file is damaged or cut short ({error}); take it anew") from error
