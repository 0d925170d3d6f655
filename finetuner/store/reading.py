"""Tables into packs: what holds in a collection at a position."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Select, Table, and_, func, select
from sqlalchemy.engine import Connection

from finetuner.documents import Array, ContentKind
from finetuner.errors import ChangedDataError
from finetuner.numbering import Rows, numbered
from finetuner.packs import ANCHORS, MATCHES, Pack
from finetuner.store.content_rows import blobs_from, bytes_of, text_from
from finetuner.store.database import AnyRow, rows_in
from finetuner.store.pairs import Pairs
from finetuner.store.schema import anchor_tags, anchors, collections, contents, documents, judgements

Chosen = Callable[[NDArray[np.uint8]], NDArray[np.bool_]]
"""Tells from the hashes of anchors' contents, (A, 16), which anchors are wanted."""

FRAME_BYTES = 2**20
"""Bytes of contents that a pack brings at most: it is sent while the next one is read."""


@dataclass(frozen=True)
class Asked:
    """What is read of a collection; see :meth:`finetuner.store.MatchStore.packs`."""

    position: int
    kinds: tuple[ContentKind, ...]
    tags: bool = False
    anchors: int = ANCHORS
    standalone: bool = False
    shard: tuple[int, int] = (0, 1)
    chosen: Chosen | None = None
    limit: int | None = None


class PackReader:
    """Reads one stream of packs.

    Each pack is read in a transaction of its own, so that a slow reader holds none open. What later feeds bring lies
    at later positions; a deletion is noticed.

    Args:
        begin: Begins a transaction.
        collection: The collection as it is when the stream begins.
        asked: What is wanted.
    """

    def __init__(
        self, begin: Callable[[], AbstractContextManager[Connection]], collection: AnyRow, asked: Asked
    ) -> None:
        self._begin = begin
        self._collection = collection
        self._asked = asked
        self._sent = 0
        self._row_of = np.full(1024, -1, np.int64)  # in the stream, by row in the collection

    def packs(self) -> Iterator[Pack]:
        """Yield the anchors in the order in which they came, then the documents that nothing refers to.

        Raises:
            ChangedDataError: If documents were deleted meanwhile.
        """
        after, left = -1, self._asked.limit
        while left is None or left > 0:
            with self._transaction() as connection:
                size = self._asked.anchors if left is None else min(left, self._asked.anchors)
                place, page = self._page(connection, after, size)
                groups = self._groups(connection, page)
            if place is None:
                break
            after = place
            left = left if left is None else left - len(page)
            for group in groups:
                yield from self._packs_of(group)
        if self._asked.limit is None:
            yield from self._unreferred()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._begin() as connection:
            query = select(collections.c.generation).where(collections.c.id == self._collection.id)
            if connection.execute(query).scalar() != self._collection.generation:
                raise ChangedDataError(
                    f"collection {self._collection.name!r}: documents were deleted while it was read; begin again"
                )
            yield connection

    def _until(self, table: Table) -> "ColumnElement[bool]":
        """Return the condition that a row was there at the position."""
        return and_(table.c.collection_id == self._collection.id, table.c.feed <= self._asked.position)

    def _page(self, connection: Connection, after: int, size: int) -> tuple[int | None, Rows]:
        """Return the place of the next page's last anchor, None if there is no more, and the rows that are wanted."""
        number, of = self._asked.shard
        query = (
            select(anchors.c.place, anchors.c.anchor, documents.c.text_hash, documents.c.blob_hash)
            .join(documents, _is_document(anchors, anchors.c.anchor))
            .where(self._until(anchors), anchors.c.place > after)
            .where(anchors.c.place % of == number)
            .order_by(anchors.c.place)
            .limit(size)
        )
        page = connection.execute(query).all()
        if not page:
            return None, np.zeros(0, np.int64)
        rows = np.array([one.anchor for one in page], np.int64)
        if self._asked.chosen is not None:
            hashes = b"".join(one.blob_hash if "blob" in self._asked.kinds else one.text_hash for one in page)
            rows = rows[self._asked.chosen(np.frombuffer(hashes, np.uint8).reshape(-1, 16))]
        return page[-1].place, rows

    def _groups(self, connection: Connection, page: Rows) -> list[Rows]:
        """Part a page so that each part has few matches, unless one anchor alone has many."""
        count = (
            select(judgements.c.anchor, func.count().label("counted"))
            .where(self._until(judgements))
            .group_by(judgements.c.anchor)
        )
        counted = {
            row.anchor: row.counted for row in rows_in(connection, count, judgements.c.anchor, page.tolist())
        }
        ends = np.cumsum([counted.get(row, 0) for row in page.tolist()])
        return [part for part in np.split(page, _cuts(ends, MATCHES)) if len(part)]

    def _packs_of(self, group: Rows) -> Iterator[Pack]:
        with self._transaction() as connection:
            said = list(rows_in(connection, self._about(), judgements.c.anchor, group.tolist()))
            pairs = Pairs.settle(said, group)
            cuts = self._cuts(connection, group, pairs)
        for start, end in pairwise([0, *cuts, len(group)]):
            with self._transaction() as connection:
                part, its_pairs = group[start:end], pairs.part(start, end)
                rows = np.concatenate([part, its_pairs.matches])
                rows = rows[numbered(rows)[0]]
                pack = self._pack(connection, part, its_pairs, rows[self._rows_in_stream(rows) < 0])
            yield pack

    def _cuts(self, connection: Connection, group: Rows, pairs: Pairs) -> list[int]:
        """Return between which anchors to cut, so that no part brings many bytes, unless one anchor alone does."""
        anchor = np.arange(len(group))
        owner = np.concatenate([anchor, np.repeat(anchor, np.diff(pairs.offsets))])
        order = np.argsort(owner, kind="stable")
        owner, rows = owner[order], np.concatenate([group, pairs.matches])[order]
        if not self._asked.standalone:
            first, _ = numbered(rows)
            first = first[self._rows_in_stream(rows[first]) < 0]
            owner, rows = owner[first], rows[first]
        sizes = np.bincount(owner, self._sizes(connection, rows), len(group))
        return _cuts(np.cumsum(sizes), FRAME_BYTES)

    def _about(self) -> "Select[Any]":
        columns = [judgements.c[name] for name in ("anchor", "match", "feed", "place", "label", "weight")]
        tags = [judgements.c.tags] if self._asked.tags else []
        return select(*columns, *tags).where(self._until(judgements))

    def _pack(self, connection: Connection, group: Rows, pairs: Pairs, new: Rows) -> Pack:
        start, ids, texts, blobs = self._carry(connection, new)
        tags = self._tags_of(connection, group) if self._asked.tags else None
        pack = Pack(
            start=start,
            ids=ids,
            texts=texts,
            blobs=blobs,
            anchors=self._rows_in_stream(group),
            offsets=pairs.offsets,
            matches=self._rows_in_stream(pairs.matches),
            labels=pairs.labels,
            weights=None if (pairs.weights == 1).all() else pairs.weights,
            anchor_tags=tags,
            match_tags=pairs.tags,
        )
        if self._asked.standalone:  # the next pack begins anew
            self._row_of[new] = -1
            self._sent = 0
        return pack

    def _rows_in_stream(self, rows: Rows) -> Rows:
        needed = int(rows.max(initial=0)) + 1
        if needed > len(self._row_of):
            grown = np.full(max(needed, 2 * len(self._row_of)), -1, np.int64)
            grown[: len(self._row_of)] = self._row_of
            self._row_of = grown
        return self._row_of[rows]

    def _sizes(self, connection: Connection, rows: Rows) -> NDArray[np.float64]:
        """Return the bytes of some documents' contents."""
        blob = bytes_of(self._collection.blob_form) if "blob" in self._asked.kinds else 0
        sizes = np.full(len(rows), blob, np.float64)
        if "text" in self._asked.kinds:
            query = (
                select(documents.c.row, func.length(contents.c.data))
                .join(contents, contents.c.hash == documents.c.text_hash)
                .where(documents.c.collection_id == self._collection.id)
            )
            found: dict[int, int] = dict(
                rows_in(connection, query, documents.c.row, np.unique(rows).tolist())
            )
            sizes += [found[row] for row in rows.tolist()]
        return sizes

    def _carry(
        self, connection: Connection, new: Rows
    ) -> tuple[int, list[str], list[str] | None, Array | None]:
        """Return the number of the first, the ids and the contents of documents that the stream did not have yet."""
        start = self._sent
        self._row_of[new] = np.arange(start, start + len(new))
        self._sent += len(new)
        columns = documents.c.row, documents.c.name, contents.c.dtype, contents.c.shape, contents.c.data
        ids: list[str] = []
        texts: list[str] | None = None
        blobs: Array | None = None
        for kind in self._asked.kinds:
            query = (
                select(*columns)
                .join(contents, contents.c.hash == _hash_of(kind))
                .where(documents.c.collection_id == self._collection.id)
            )
            found = {row.row: row for row in rows_in(connection, query, documents.c.row, new.tolist())}
            ordered = [found[row] for row in new.tolist()]
            ids = [row.name for row in ordered]
            if kind == "text":
                texts = [text_from(row.data) for row in ordered]
            elif ordered:
                blobs = blobs_from(ordered[0].dtype, ordered[0].shape, [row.data for row in ordered])
        return start, ids, texts, blobs

    def _tags_of(self, connection: Connection, group: Rows) -> list[str] | None:
        query = (
            select(anchor_tags.c.anchor, anchor_tags.c.tags)
            .where(self._until(anchor_tags))
            .order_by(anchor_tags.c.feed)
        )
        newest = {
            row.anchor: row.tags for row in rows_in(connection, query, anchor_tags.c.anchor, group.tolist())
        }
        return [newest.get(row, "") for row in group.tolist()] if newest else None

    def _unreferred(self) -> Iterator[Pack]:
        number, of = self._asked.shard
        is_lonely = documents.c.referred.is_(None) | (documents.c.referred > self._asked.position)
        query = (
            select(documents.c.row)
            .where(self._until(documents), is_lonely)
            .where(documents.c.row % of == number)
            .order_by(documents.c.row)
            .limit(MATCHES)
        )
        last = -1
        while True:
            with self._transaction() as connection:
                page = np.array(
                    connection.execute(query.where(documents.c.row > last)).scalars().all(), np.int64
                )
            if not len(page):
                return
            last = int(page[-1])
            self._rows_in_stream(page)
            with self._transaction() as connection:
                ends = np.cumsum(self._sizes(connection, page))
            for part in np.split(page, _cuts(ends, FRAME_BYTES)):
                with self._transaction() as connection:
                    pack = self._pack(connection, part[:0], Pairs.none(), part)
                yield pack


def _is_document(table: Any, row: "ColumnElement[Any]") -> "ColumnElement[bool]":
    return and_(documents.c.collection_id == table.c.collection_id, documents.c.row == row)


def _hash_of(kind: ContentKind) -> "ColumnElement[Any]":
    return documents.c.text_hash if kind == "text" else documents.c.blob_hash


def _cuts(ends: Iterable[float], most: int) -> list[int]:
    """Return where to cut, so that no part sums up to more than ``most`` unless it is one alone."""
    cuts: list[int] = []
    taken = before = 0.0
    for at, end in enumerate(ends):
        if at and end - taken > most:
            cuts.append(at)
            taken = before
        before = end
    return cuts
