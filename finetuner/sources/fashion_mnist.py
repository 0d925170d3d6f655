"""Fashion-MNIST as match data: images of clothes, of which those of the same class belong together.

Every image is an anchor; its positives are other images of its class, its negatives images of other classes.
Images stay bytes in memory, as in the file, and only those of one anchor at a time are turned into documents.
"""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from finetuner.documents import Document, labelled
from finetuner.errors import OptionError, SourceError
from finetuner.settings import Options
from finetuner.sources.download import download as download_file
from finetuner.sources.folders import cache_folder, source_folder
from finetuner.sources.idx import read_idx

NAME = "fashion_mnist"
URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
"""The files of the full set, 60,000 + 10,000 images."""

CLASSES = 10
SIDE = 28  # pixels

Rows = NDArray[np.int64]

_UNIT = (np.arange(256) / 255).astype(np.float32)

logger = logging.getLogger(__name__)


class FashionMnistOptions(Options):
    """What the generator of Fashion-MNIST can be asked for."""

    num_total: int = Field(
        default=60000, ge=0, description="Anchors, at most; they come in the order of the file."
    )
    num_pos: int = Field(default=10, ge=0, description="Positives of each anchor.")
    num_neg: int = Field(default=10, ge=0, description="Negatives of each anchor.")
    pos_value: float = Field(default=1.0, allow_inf_nan=False, description="The label of a positive.")
    neg_value: float = Field(default=-1.0, allow_inf_nan=False, description="The label of a negative.")
    upsampling: int = Field(
        default=1, ge=1, le=32, description="How often each pixel is repeated, down and across."
    )
    channels: int = Field(
        default=0, ge=0, le=64, description="Copies of the grey image on an axis of their own; 0: no axis."
    )
    channel_axis: Literal[-3, -2, -1, 1, 2, 3] = Field(
        default=-1,
        description="Where the axis of the channels goes, counting the batch axis: 1 is (C, height, width).",
    )
    is_testset: bool = Field(default=False, description="The test images instead of the training images.")
    seed: int = Field(default=0, ge=0, description="Decides which images are drawn as matches.")


def match_documents(options: FashionMnistOptions, *, folder: Path | None = None) -> Iterator[Document]:
    """Return anchors with labelled matches, one by one.

    Documents carry the image as ``.blob``, float32 in [0, 1], of shape (28u, 28u) for an upsampling of u, with an
    axis for channels if there are any; and the class as ``tags['class']``. The id of a document names its image.
    What is drawn for an anchor depends on the seed and the anchor, never on how many anchors are asked for.

    Args:
        options: What is asked for.
        folder: Where the files are; see :func:`finetuner.sources.folders.source_folder`.

    Raises:
        SourceError: If the files are missing or damaged.
        OptionError: If some anchor has fewer positives or negatives than asked for.
    """
    pictures = Pictures.read(source_folder(NAME, folder), is_testset=options.is_testset)
    pictures.check(options)
    if options.num_total > len(pictures):
        logger.warning(
            "%s: num_total is %d, and %s holds %d images: all of them come",
            *(NAME, options.num_total, pictures.path, len(pictures)),
        )
    return (pictures.document(row, options) for row in range(min(options.num_total, len(pictures))))


def download(folder: Path | None = None, *, url: str = URL) -> Path:
    """Download the four files of the full set, 30 MB, unless they are there; return their folder.

    Args:
        folder: Where they go; ``~/.cache/finetuner/fashion_mnist`` by default.
        url: The folder on a server that has them.

    Raises:
        SourceError: If a file cannot be had, or its MD5 is not the official one.
    """
    folder = folder or cache_folder(NAME)
    for name, md5 in MD5.items():
        download_file(f"{url}/{name}", folder / name, md5=md5)
    return folder


@dataclass(frozen=True)
class Pictures:
    """The images of one part, training or test, and from which of them an anchor draws.

    An image that occurs twice, pixel by pixel, is drawn as its first occurrence only: so no two matches of an
    anchor are equal, and none equals the anchor.

    Attributes:
        path: The file of the images.
        part: ``train`` or ``test``.
        images: uint8 (N, 28, 28).
        classes: uint8 (N,).
        first: For each image, the row of the first one with the same pixels, (N,).
        of_class: For each class, the rows to draw from, ascending.
        of_others: For each class, the rows of all other classes to draw from, ascending.
    """

    path: Path
    part: str
    images: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    first: Rows
    of_class: list[Rows]
    of_others: list[Rows]

    @classmethod
    def read(cls, folder: Path, *, is_testset: bool) -> "Pictures":
        """Read one part from a folder.

        Raises:
            SourceError: If the files are missing, damaged or do not belong together.
        """
        prefix = "t10k" if is_testset else "train"
        path = _packed_or_plain(folder / f"{prefix}-images-idx3-ubyte.gz")
        images = read_idx(path, dimensions=3)
        classes = read_idx(_packed_or_plain(folder / f"{prefix}-labels-idx1-ubyte.gz"), dimensions=1)
        if images.shape != (len(classes), SIDE, SIDE) or (classes >= CLASSES).any():
            raise SourceError(
                f"{path}: images of shape {images.shape} with {len(classes)} labels up to {classes.max(initial=0)}; "
                f"each of N images of {SIDE} x {SIDE} needs a label below {CLASSES}"
            )
        first = _first_with_same_pixels(images)
        drawn = np.flatnonzero(first == np.arange(len(first)))
        return cls(
            path=path,
            part="test" if is_testset else "train",
            images=images,
            classes=classes,
            first=first,
            of_class=[drawn[classes[drawn] == one] for one in range(CLASSES)],
            of_others=[drawn[classes[drawn] != one] for one in range(CLASSES)],
        )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def check(self, options: FashionMnistOptions) -> None:
        """Raise OptionError if some anchor has fewer positives or negatives than asked for."""
        classes = self.classes[: options.num_total]
        own = classes == self.classes[self.first[: options.num_total]]
        for name, asked, pools, without in (
            ("num_pos", options.num_pos, self.of_class, own),
            ("num_neg", options.num_neg, self.of_others, ~own),
        ):
            sizes = np.array([len(pool) for pool in pools])[classes] - without
            there = int(sizes.min(initial=asked))
            if asked > there:
                raise OptionError(
                    f"{NAME}: option {name!r} is {asked}, and {self.path} has an image with only {there} to draw "
                    f"from; give at most {there}"
                )

    def document(self, row: int, options: FashionMnistOptions) -> Document:
        """Return an image as an anchor with freshly made matches."""
        random = np.random.default_rng((options.seed, row))
        kind, first = int(self.classes[row]), int(self.first[row])
        rows = np.concatenate(
            [
                [row],
                _drawn(random, self.of_class[kind], options.num_pos, without=first),
                _drawn(random, self.of_others[kind], options.num_neg, without=first),
            ]
        )
        blobs = _blobs(self.images[rows], options)
        labels = [options.pos_value] * options.num_pos + [options.neg_value] * options.num_neg
        anchor, *matches = (
            Document(blob=blob, tags={"class": int(self.classes[one])}, id=f"{NAME}/{self.part}/{one}")
            for one, blob in zip(rows, blobs, strict=True)
        )
        for match, label in zip(matches, labels, strict=True):
            match.tags = labelled(match.tags, label)
        anchor.matches = matches
        return anchor


def _packed_or_plain(packed: Path) -> Path:
    plain = packed.with_suffix("")
    return plain if plain.exists() and not packed.exists() else packed


def _first_with_same_pixels(images: NDArray[np.uint8]) -> Rows:
    first_of: dict[bytes, int] = {}
    digests = (hashlib.blake2b(image, digest_size=16).digest() for image in images)
    return np.fromiter((first_of.setdefault(digest, row) for row, digest in enumerate(digests)), np.int64)


def _drawn(random: np.random.Generator, pool: Rows, count: int, *, without: int) -> Rows:
    """Return ``count`` different rows of an ascending pool, in random order, but never ``without``."""
    at = int(np.searchsorted(pool, without))
    there = at < len(pool) and pool[at] == without
    places = random.choice(len(pool) - there, count, replace=False)
    # places from the row to leave out onwards move up by one
    return pool[places + (there & (places >= at))]


def _blobs(images: NDArray[np.uint8], options: FashionMnistOptions) -> NDArray[Any]:
    """Return bytes (K, 28, 28) as float32 in [0, 1], upsampled and with channels, in fresh memory."""
    blobs = _UNIT[images]
    if options.upsampling > 1:
        blobs = blobs.repeat(options.upsampling, axis=1).repeat(options.upsampling, axis=2)
    if options.channels:
        axis = options.channel_axis
        blobs = np.expand_dims(blobs, axis).repeat(options.channels, axis=axis)
    return blobs
