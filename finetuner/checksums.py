"""Checksums of streams: two that agree have carried the same match data in the same order."""

import hashlib
import struct
from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

from finetuner.documents import MatchDocumentLike, label_of, weight_of
from finetuner.packs import Pack

ItemT = TypeVar("ItemT", contravariant=True)


class Checksum(Protocol[ItemT]):
    """What sums up the items of a stream."""

    def add(self, item: ItemT) -> None:
        """Take in the next item."""
        ...

    def hexdigest(self) -> str:
        """Return the checksum until now, 64 hexadecimal digits."""
        ...


class PackChecksum:
    """SHA-256 over the columns of a stream of packs, the same however the stream is cut into packs.

    It covers ids, contents, anchors, matches, labels, weights and tags, each column by its own SHA-256; the checksum is
    that of all of those. Rows are those of the stream: so streams in which documents come in another order, or
    anchors that were given other documents, do not agree.
    """

    def __init__(self) -> None:
        self._columns = {
            name: hashlib.sha256()
            for name in ("ids", "texts", "blobs", "anchors", "counts", "matches", "labels", "weights")
        }
        self._tags = {name: hashlib.sha256() for name in ("anchor_tags", "match_tags")}
        self._counts = dict.fromkeys(self._tags, 0)

    def add(self, item: Pack) -> None:
        """Take in the next pack."""
        columns = self._columns
        columns["ids"].update(_joined(item.ids))
        columns["texts"].update(_joined(item.texts or ()))
        if item.blobs is not None:
            columns["blobs"].update(np.ascontiguousarray(item.blobs).data)
        columns["counts"].update(np.diff(item.offsets).astype("<i8").tobytes())
        for name in ("anchors", "matches"):
            columns[name].update(getattr(item, name).astype("<i8", copy=False).tobytes())
        columns["labels"].update(item.labels.astype("<f8", copy=False).tobytes())
        weights = np.ones(len(item.labels)) if item.weights is None else item.weights
        columns["weights"].update(weights.astype("<f8", copy=False).tobytes())
        self._add_tags("anchor_tags", item.anchor_tags, len(item.anchors))
        self._add_tags("match_tags", item.match_tags, len(item.matches))

    def _add_tags(self, name: str, tags: Sequence[str] | None, count: int) -> None:
        for place, tag in enumerate(tags or (), self._counts[name]):
            if tag:
                self._tags[name].update(struct.pack("<q", place) + _joined([tag]))
        self._counts[name] += count

    def hexdigest(self) -> str:
        """Return the checksum until now, 64 hexadecimal digits."""
        hashes = (*self._columns.values(), *self._tags.values())
        return hashlib.sha256(b"".join(one.digest() for one in hashes)).hexdigest()


class DocumentChecksum:
    """SHA-256 over match Documents: ids, contents, labels and weights; not over other tags, which JSON may rewrite."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, item: MatchDocumentLike) -> None:
        """Take in the next match Document."""
        matches = list(item.matches)
        for document in (item, *matches):
            self._hash.update(_joined([str(document.id), document.text or ""]))
            if document.blob is not None:
                blob = np.ascontiguousarray(document.blob)
                self._hash.update(_joined([f"{blob.dtype.str}{blob.shape}"]))
                self._hash.update(blob.data)
        judged = [(label_of(match), weight_of(match)) for match in matches]
        numbers = [np.nan if label is None else label for label, _ in judged] + [
            weight for _, weight in judged
        ]
        self._hash.update(struct.pack(f"<q{len(numbers)}d", len(matches), *numbers))

    def hexdigest(self) -> str:
        """Return the checksum until now, 64 hexadecimal digits."""
        return self._hash.hexdigest()


def _joined(texts: Sequence[str]) -> bytes:
    """Return texts as bytes that no other texts have: each behind its length."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    return b"".join(struct.pack("<q", len(one)) + one for one in encoded)
