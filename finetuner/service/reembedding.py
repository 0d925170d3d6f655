"""Documents of a collection embedded again by a new version, the ones first for which it matters most.

So an index that an old version has built is rebuilt bit by bit, while mapped queries go on asking the rest of it. Whoever
is interrupted goes on at a cursor, which tells how far it came and of what: the same documents in the same order, by the
same version.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from pydantic import Field

from finetuner.compatibility import Map, Stamped, reembed_order
from finetuner.errors import ChangedDataError, OptionError
from finetuner.features import FeatureCache
from finetuner.lifecycle import Registry
from finetuner.matches import Rows
from finetuner.models import CachedEncoder, Embeddings, Encoder, EncoderSpec
from finetuner.service.collected import Collected, Collection
from finetuner.service.spaces import VersionSpaces
from finetuner.settings import Options

_PORTION = 512  # contents that are embedded before their documents are sent
_KNOWN = 2_000  # contents embedded by both versions, by which the order is found
_NO_ORDER = "none"


class ReembedOptions(Options):
    """What is embedded again, and where to go on."""

    version: str = Field(
        default="active",
        description="The version that embeds: a name, or base, or active; a cursor keeps its own.",
    )
    old: str | None = Field(
        default=None,
        description="The version that the index was built with. Those documents come first for which the map between the "
        "two is wrong most; without it they come as they are in the collection.",
    )
    anchors: bool = Field(
        default=True, description="Whether anchors are documents of the index, too, or only their matches."
    )
    cursor: str | None = Field(
        default=None,
        description="Where to go on: the cursor of the last document that came; the rest as before.",
    )


@dataclass(frozen=True)
class Cursor:
    """A place among documents that are embedded again.

    Attributes:
        position: The position of the collection; 0 for one that is made.
        received: Documents before this place.
        version: The version that embeds.
        old: The version that the order is for, or ``none``.
        checksum: First digits of the checksum of the collection.
        order: First digits of the hash of the documents' order.
    """

    position: int
    received: int
    version: str
    old: str
    checksum: str
    order: str

    def __str__(self) -> str:
        """Return how it is sent."""
        parts = (self.position, self.received, self.version, self.old, self.checksum, self.order)
        return "-".join(map(str, parts))

    @classmethod
    def parse(cls, given: str) -> Self:
        """Return the cursor that was sent.

        Raises:
            OptionError: If it is none.
        """
        position, received, *rest = given.split("-") if given.count("-") == 5 else ("", "")
        if not (position.isdecimal() and received.isdecimal() and all(rest)):
            raise OptionError(
                f"cursor {given!r} is none; give one as it came, such as '17-240-v3-v0-5f0c2a9e-08a1d7b3'"
            )
        version, old, checksum, order = rest
        return cls(int(position), int(received), version, old, checksum, order)


class Again(NamedTuple):
    """A document that is embedded again.

    Attributes:
        name: Its id.
        embedding: Its embedding by the new version, float32 (D,).
        cursor: The place behind it.
    """

    name: str
    embedding: Embeddings
    cursor: Cursor


class Rebuilding:
    """The documents of one index, from where a reader is: iterate over it once.

    Args:
        names: Ids of the documents, in the order in which they are embedded.
        rows: Their contents, (D,).
        embedding: Embeds contents.
        begin: The cursor before the first one.
        received: How many the reader has.
    """

    def __init__(
        self, names: list[str], rows: Rows, embedding: "_Embedding", begin: Cursor, received: int
    ) -> None:
        self._names = names
        self._rows = rows
        self._embedding = embedding
        self._begin = begin
        self._received = received

    @property
    def version(self) -> str:
        """The version that embeds."""
        return self._begin.version

    def __iter__(self) -> Iterator[list[Again]]:
        """Yield the documents behind the reader's place, some at a time.

        Raises:
            EncoderError: If the encoder does not take such contents.
        """
        for start in range(self._received, len(self._names), _PORTION):
            part = slice(start, start + _PORTION)
            rows, where = np.unique(self._rows[part], return_inverse=True)
            made = self._embedding.of(rows)
            yield [
                Again(name, made[row], replace(self._begin, received=start + number))
                for number, (name, row) in enumerate(zip(self._names[part], where, strict=True), start=1)
            ]

    def end(self) -> dict[str, Any]:
        """Return what the whole comes to, what the reader had before included."""
        return {
            "total": len(self._names),
            "version": self._begin.version,
            "old": None if self._begin.old == _NO_ORDER else self._begin.old,
            "position": self._begin.position,
        }


class _Embedding:
    """Embeds documents of a collection with one version."""

    def __init__(self, encoder: Encoder, collection: Collection, cache: FeatureCache | None) -> None:
        self._encoder = CachedEncoder(encoder, cache)
        self._collection = collection

    def of(self, rows: Rows) -> Embeddings:
        """Return the embeddings of some contents, float32 (n, D)."""
        return self._encoder.embed(self._collection.contents, self._collection.hashes, rows)


class Reembedding:
    """Embeds collections again with versions of a service.

    It loads versions of its own, so that serving goes on beside it.

    Args:
        registry: Where they are.
        spec: The encoder that all of them are of.
        spaces: The maps between them.
        cache: Where what frozen modules make of contents is kept; None if it is not.
    """

    def __init__(
        self, registry: Registry, spec: EncoderSpec, spaces: VersionSpaces, cache: FeatureCache | None
    ) -> None:
        self._registry = registry
        self._spec = spec
        self._spaces = spaces
        self._cache = cache

    def begin(self, collected: Collected, snapshot: Mapping[str, Any], options: ReembedOptions) -> Rebuilding:
        """Return the documents that have to be embedded again, in their order, from where a cursor says.

        Where both versions make the same of a document, bit for bit, there are none.

        Args:
            collected: The documents.
            snapshot: What exactly they are: ``position`` and ``checksum``.
            options: Which version, for an index of which one, and where to go on.

        Raises:
            OptionError: If the cursor is none.
            ChangedDataError: If what the cursor was made of has changed since; the message says what.
            UnknownVersionError: If there is no such version.
            UnknownSpaceError: If no map leads from the new version to the old one.
            MatchDataError: If there is no document.
        """
        at = None if options.cursor is None else Cursor.parse(options.cursor)
        asked = at.version if at is not None and options.version == "active" else options.version
        version = self._registry.get(asked).name
        old = None if options.old is None else self._registry.get(options.old).name
        collection = collected.finish()
        place = Cursor(
            int(snapshot["position"]), 0, version, old or _NO_ORDER, str(snapshot["checksum"])[:8], ""
        )
        if at is not None:
            _check(at, replace(place, received=at.received, order=at.order))
        new = _Embedding(self._registry.load(version, self._spec), collection, self._cache)
        order = np.arange(len(collection.names))
        if old is not None:
            between = None if old == version else self._spaces.between(version, old)
            order = order[:0]
            if between is not None:
                before = _Embedding(self._registry.load(old, self._spec), collection, self._cache)
                order = _order(between, before, new, collection.rows)
        names = [collection.names[row] for row in order]
        # of the names: the same rows are other documents where anchors come or go, or packs are cut elsewhere
        place = replace(place, order=hashlib.blake2b("\0".join(names).encode(), digest_size=4).hexdigest())
        if at is not None:
            _check(at, replace(place, received=at.received))
        received = 0 if at is None else at.received
        return Rebuilding(names, collection.rows[order], new, place, received)


def _order(between: Map, old: _Embedding, new: _Embedding, rows: Rows) -> Rows:
    """Return documents in the order in which to embed them again; equal contents side by side."""
    contents = np.unique(rows)
    known = np.sort(np.random.default_rng(0).permutation(contents)[:_KNOWN])
    there = Stamped(between.target, old.of(contents))
    order = reembed_order(
        between,
        there.take(np.searchsorted(contents, known)),
        Stamped(between.source, new.of(known)),
        there,
    )
    rank = np.empty(len(contents), np.int64)
    rank[order] = np.arange(len(contents))
    return np.argsort(rank[np.searchsorted(contents, rows)], kind="stable")


def _check(at: Cursor, place: Cursor) -> None:
    """Raise ChangedDataError if a cursor is not of what there is now."""
    told = {
        "version": "the version that embeds",
        "old": "the version that the index was built with",
        "position": "the position of the collection",
        "checksum": "the collection: documents were deleted, or other ones are asked for",
        "order": "the order of the documents: other ones are asked for, or old embeddings were computed anew",
    }
    for name, what in told.items():
        before, now = getattr(at, name), getattr(place, name)
        if before != now:
            raise ChangedDataError(f"cursor '{at}': {what} was {before}, and is {now}; begin again")
