"""Contents for people: texts shortened, arrays as small pictures.

A picture becomes a PNG of 8 bits, grey or RGB. That takes zlib and twenty lines, so no imaging library has to be there.
"""

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from finetuner.documents import Array
from finetuner.matches import MatchSet
from finetuner.reports.findings import Shown

LONGEST = 400
"""Characters of a text that are shown, at most."""

LARGEST = 64
"""Pixels of a picture in either direction, at most."""

_NUMBERS = 8  # of an array that is no picture
_SMALLEST = 4  # pixels in either direction; what is smaller is no picture

Bytes = NDArray[np.uint8]


def shown(matches: MatchSet, row: int) -> Shown:
    """Return a content for people."""
    content = matches.contents[row]
    name = matches.ids[row]
    if isinstance(content, str):
        return Shown(name, _shortened(content), None)
    image = as_image(content)
    about = f"{content.dtype} {content.shape}"
    if image is None:
        first = ", ".join(f"{number:.4g}" for number in content.reshape(-1)[:_NUMBERS].tolist())
        more = ", ..." if content.size > _NUMBERS else ""
        return Shown(name, f"{about}: {first}{more}", None)
    address = "data:image/png;base64," + base64.b64encode(png(image)).decode("ascii")
    return Shown(name, about, address)


def as_image(array: Array) -> Bytes | None:
    """Return an array as a picture, uint8 (H, W) or (H, W, 3), at most :data:`LARGEST` high and wide.

    (H, W) is grey; (H, W, C) and (C, H, W) with C = 1, 3 or 4 are grey, RGB, and RGB with an opacity that is ignored.
    Numbers in 0 to 255 are shown as they are if they are integers, those in 0 to 1 as shares of white; all others from
    the least, in black, to the largest, in white.

    Returns:
        None if it is no picture: of another shape, or less than 4 pixels high or wide.
    """
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 3 and array.shape[2] in (1, 3, 4):
        array = array[:, :, 0] if array.shape[2] == 1 else array[:, :, :3]
    if (
        array.ndim not in (2, 3)
        or (array.ndim == 3 and array.shape[2] != 3)
        or min(array.shape[:2]) < _SMALLEST
    ):
        return None
    values = array.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if np.issubdtype(array.dtype, np.integer) and low >= 0 and high <= 255:
        low, high = 0, 255
    elif low >= 0 and high <= 1:
        low, high = 0, 1
    values = (values - low) * (255 / ((high - low) or 1))
    return np.rint(_smaller(values)).astype(np.uint8)


def png(image: Bytes) -> bytes:
    """Return a picture as a PNG (ISO/IEC 15948).

    Args:
        image: uint8, grey (H, W) or RGB (H, W, 3).
    """
    height, width = image.shape[:2]
    grey_or_rgb = 0 if image.ndim == 2 else 2
    header = struct.pack(">IIBBBBB", width, height, 8, grey_or_rgb, 0, 0, 0)
    # each line begins with the number of its filter: 0, none
    lines = np.insert(image.reshape(height, -1), 0, 0, axis=1)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


def _smaller(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a picture whose pixels are means of so many that it is not too large."""
    step = -(-max(values.shape[:2]) // LARGEST)
    if step == 1:
        return values
    tall, wide = (min(step, size) for size in values.shape[:2])
    height, width = values.shape[0] // tall, values.shape[1] // wide
    cut = values[: height * tall, : width * wide]
    means: NDArray[np.float64] = cut.reshape(height, tall, width, wide, *values.shape[2:]).mean(axis=(1, 3))
    return means


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"
