"""Arrays as pictures: which are some, which way round, how bright, and the bytes of a PNG."""

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from finetuner.documents import Document
from finetuner.matches import MatchSet
from finetuner.reports.pictures import LARGEST, LONGEST, as_image, png, shown


def read(data: bytes) -> NDArray[np.uint8]:
    """Return the picture in a PNG that filters no line, after checking every checksum."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, parts = 8, {}
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        name, inside = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(name + inside)
        parts[name], at = inside, at + 12 + length
    width, height, depth, kind, *rest = struct.unpack(">IIBBBBB", parts[b"IHDR"])
    assert (depth, rest, list(parts)[-1]) == (8, [0, 0, 0], b"IEND")
    lines = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape((height, width, 3) if kind == 2 else (height, width))


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_a_png_holds_the_picture(shape: tuple[int, ...]) -> None:
    """Grey or RGB, what is read is what was written."""
    image = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    np.testing.assert_array_equal(read(png(image)), image)


@pytest.mark.parametrize(
    ("axes", "shape"),
    [((0, 1, 2), (9, 7, 3)), ((2, 0, 1), (3, 9, 7))],
)
def test_channels_may_come_last_or_first(axes: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Both ways give the same RGB picture."""
    image = np.random.default_rng(0).integers(256, size=(9, 7, 3), dtype=np.uint8)
    given = image.transpose(axes)
    assert given.shape == shape
    np.testing.assert_array_equal(as_image(given), image)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (1, 6, 5)])
def test_one_channel_is_grey(shape: tuple[int, ...]) -> None:
    """However it is written, the picture has none."""
    image = np.arange(30, dtype=np.uint8)
    np.testing.assert_array_equal(as_image(image.reshape(shape)), image.reshape(6, 5))


def test_opacity_is_ignored() -> None:
    """Of four channels three are shown."""
    image = np.random.default_rng(0).integers(256, size=(6, 5, 4), dtype=np.uint8)
    np.testing.assert_array_equal(as_image(image), image[:, :, :3])


@pytest.mark.parametrize("shape", [(100,), (3, 40), (2, 2, 3), (6, 5, 2), (2, 6, 5, 3)])
def test_what_is_no_picture_is_told_in_numbers(shape: tuple[int, ...]) -> None:
    """Vectors, token ids, and what is too small or has too many axes."""
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    assert as_image(array) is None
    matches = MatchSet.from_documents([Document(id="a", blob=array)])
    told = shown(matches, 0)
    assert told.picture is None
    assert told.text == f"float32 {shape}: 0, 1, 2, 3, 4, 5, 6, 7, ..."


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0.0, 0.5, 0.25]), [0, 128, 64]),  # shares of white, though none is 1
        (np.array([0, 255, 7]), [0, 255, 7]),
        (np.array([0, 1, 1]), [0, 1, 1]),
        (np.array([-1.0, 0, 3]), [0, 64, 255]),  # from the least to the largest
        (np.array([0.0, 127.5, 255]), [0, 128, 255]),
        (np.array([300, 300, 300]), [0, 0, 0]),  # nothing to tell apart
    ],
)
def test_how_bright_a_number_is(values: NDArray[Any], expected: list[int]) -> None:
    """Bytes as they are, shares of 1 as shares of 255, all else from its least to its largest."""
    image = as_image(np.tile(values, (4, 2)))
    assert image is not None
    assert image[0, :3].tolist() == expected


def test_a_large_picture_is_made_smaller_by_means() -> None:
    """Each pixel is the mean of a square, so a page does not hold megabytes."""
    large = np.kron(np.random.default_rng(0).integers(256, size=(40, 60)), np.ones((3, 3))).astype(np.uint8)
    image = as_image(large)
    assert image is not None
    assert max(image.shape) <= LARGEST
    np.testing.assert_array_equal(image, large[::3, ::3])


def test_a_long_and_narrow_picture_is_made_smaller_in_its_length() -> None:
    """Where the other side is shorter than the square, it becomes one pixel."""
    image = as_image(np.tile(np.arange(1000, dtype=np.float32), (5, 1)))
    assert image is not None
    assert image.shape[0] == 1
    assert image.shape[1] <= LARGEST


def test_a_long_text_is_shortened_and_a_short_one_is_not() -> None:
    """A page does not hold books."""
    matches = MatchSet.from_documents(
        [Document(id="a", text="x" * LONGEST), Document(id="b", text="x" * (LONGEST + 1))]
    )
    assert shown(matches, 0).text == "x" * LONGEST
    assert shown(matches, 1).text == "x" * (LONGEST - 1) + "…"
