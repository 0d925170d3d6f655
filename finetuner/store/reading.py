"""Tables back into match Documents."""

import json
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import Select, distinct, func, select, union
from sqlalchemy.engine import Connection

from finetuner.documents import Array, Document, labelled
from finetuner.store.portions import content_from
from finetuner.store.schema import (
    AnyRow,
    anchors,
    candidates,
    collections,
    contents,
    documents,
    feeds,
    judgements,
    rows_in,
)

PAGE_ANCHORS = 64
"""Anchors whose judgements are read at once."""

CACHE_BYTES = 64 * 2**20
"""Bytes of contents that one stream keeps, to decode a content once for many anchors."""


@dataclass(frozen=True)
class CollectionInfo:
    """How much a collection holds.

    Attributes:
        name: Its name.
        anchors: Its anchors.
        contents: Different contents of its anchors and matches.
        judgements: Judgements that hold: one for each anchor, match and source.
    """

    name: str
    anchors: int
    contents: int
    judgements: int


def read_collections(connection: Connection) -> list[CollectionInfo]:
    """Return all collections by name, counted."""
    anchored = select(anchors.c.collection_id, func.count().label("counted")).group_by(
        anchors.c.collection_id
    )
    hashes = union(
        select(documents.c.collection_id, documents.c.text_hash.label("hash")),
        select(documents.c.collection_id, documents.c.blob_hash),
    ).subquery()
    different = select(hashes.c.collection_id, func.count(distinct(hashes.c.hash)).label("counted")).group_by(
        hashes.c.collection_id
    )
    holding = (
        select(feeds.c.collection_id, judgements.c.candidate_id, feeds.c.source)
        .join(judgements, judgements.c.feed_id == feeds.c.id)
        .distinct()
        .subquery()
    )
    judged = select(holding.c.collection_id, func.count().label("counted")).group_by(holding.c.collection_id)
    counts = [_counted(connection, query) for query in (anchored, different, judged)]
    found = connection.execute(select(collections.c.id, collections.c.name).order_by(collections.c.name))
    return [CollectionInfo(name, *(count.get(key, 0) for count in counts)) for key, name in found]


def _counted(connection: Connection, query: "Select[int, int]") -> dict[int, int]:
    return {row.collection_id: row.counted for row in connection.execute(query)}


def stream_documents(connection: Connection, collection: int, limit: int | None) -> Iterator[Document]:
    """Read the anchors of a collection with their matches, in feed order, page by page."""
    cache = ContentCache(connection, CACHE_BYTES)
    for page in _pages(connection, collection, limit):
        matches = _matches_of(connection, [anchor.id for anchor in page])
        for anchor in page:
            mine = matches[anchor.id]
            found = cache.contents_of([anchor, *mine.values()])
            document = _document(anchor, found)
            document.matches = [_match(row, found) for row in mine.values()]
            yield document


def _pages(connection: Connection, collection: int, limit: int | None) -> Iterator[Sequence[AnyRow]]:
    query = (
        select(anchors.c.id, documents.c.name, documents.c.text_hash, documents.c.blob_hash, anchors.c.tags)
        .join(documents, documents.c.id == anchors.c.document_id)
        .where(anchors.c.collection_id == collection)
        .order_by(anchors.c.id)
    )
    last, left = 0, limit
    while left is None or left > 0:
        size = PAGE_ANCHORS if left is None else min(left, PAGE_ANCHORS)
        page = connection.execute(query.where(anchors.c.id > last).limit(size)).all()
        if not page:
            return
        yield page
        last, left = page[-1].id, None if left is None else left - len(page)


def _matches_of(connection: Connection, keys: Sequence[int]) -> dict[int, dict[int, AnyRow]]:
    """Return the candidates of some anchors, by anchor and candidate, each with its newest label."""
    query = (
        select(
            candidates.c.id,
            candidates.c.anchor_id,
            documents.c.name,
            documents.c.text_hash,
            documents.c.blob_hash,
            candidates.c.tags,
            judgements.c.label,
        )
        .join(documents, documents.c.id == candidates.c.document_id)
        .outerjoin(judgements, judgements.c.candidate_id == candidates.c.id)
        .order_by(candidates.c.id, judgements.c.id)
    )
    found: dict[int, dict[int, AnyRow]] = defaultdict(dict)
    for row in rows_in(connection, query, candidates.c.anchor_id, keys):
        # later judgements come later, and take the place of earlier ones
        found[row.anchor_id][row.id] = row
    return found


def _document(row: AnyRow, found: dict[bytes, str | Array]) -> Document:
    text = cast("str | None", found.get(row.text_hash))
    blob = cast("Array | None", found.get(row.blob_hash))
    return Document(text, blob, json.loads(row.tags) if row.tags else {}, id=row.name)


def _match(row: AnyRow, found: dict[bytes, str | Array]) -> Document:
    document = _document(row, found)
    if row.label is not None:
        document.tags = labelled(document.tags, row.label)
    return document


class ContentCache:
    """Contents by hash, read from the database; those used last stay, up to a number of bytes."""

    def __init__(self, connection: Connection, limit: int) -> None:
        self._connection = connection
        self._left = limit
        self._kept: OrderedDict[bytes, tuple[str | Array, int]] = OrderedDict()

    def contents_of(self, rows: Iterable[AnyRow]) -> dict[bytes, str | Array]:
        """Return all contents of some documents by hash."""
        hashes = {digest for row in rows for digest in (row.text_hash, row.blob_hash) if digest is not None}
        missing = [digest for digest in hashes if digest not in self._kept]
        for row in rows_in(self._connection, select(contents), contents.c.hash, missing):
            self._kept[row.hash] = content_from(row.dtype, row.shape, row.data), len(row.data)
            self._left -= len(row.data)
        found = {}
        for digest in hashes:
            self._kept.move_to_end(digest)
            found[digest] = self._kept[digest][0]
        while self._left < 0:
            _, (_, size) = self._kept.popitem(last=False)
            self._left += size
        return found
