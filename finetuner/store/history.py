"""Everything that was ever fed to a collection, feed by feed: what an export holds."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC
from itertools import chain, groupby, islice
from typing import NamedTuple

import numpy as np
from sqlalchemy import ColumnElement, select
from sqlalchemy.engine import Connection

from finetuner.packs import BYTES, MATCHES, Feed, Pack
from finetuner.store.content_rows import blobs_from, text_from
from finetuner.store.database import AnyRow, rows_in
from finetuner.store.schema import anchor_tags, anchors, contents, documents, feeds, judgements

ROWS_AT_ONCE = 64
"""Documents whose contents are read together."""

_STREAMED = {"yield_per": 4096}


class _Line(NamedTuple):
    """An anchor that came, perhaps with tags, or what was said about one of its matches."""

    anchor: int
    tags: str = ""
    match: int | None = None
    label: float | None = None
    weight: float = 1.0


def read_feeds(connection: Connection, collection: AnyRow) -> Iterator[Feed]:
    """Yield all feeds in their order, in as many parts as it takes to keep little in memory."""

    def by_feed(first: "ColumnElement[int]") -> Callable[[int], Iterator[AnyRow]]:
        table = first.table
        query = select(table).where(table.c.collection_id == collection.id).order_by(table.c.feed, first)
        return _grouped(connection.execution_options(**_STREAMED).execute(query))

    brought, came = by_feed(documents.c.row), by_feed(anchors.c.place)
    tagged, judged = by_feed(anchor_tags.c.anchor), by_feed(judgements.c.place)
    query = select(feeds).where(feeds.c.collection_id == collection.id).order_by(feeds.c.position)
    for feed in connection.execute(query).all():
        # SQLite knows no time zones; what is stored is UTC
        at = feed.fed_at.astimezone(UTC) if feed.fed_at.tzinfo else feed.fed_at.replace(tzinfo=UTC)
        for pack in _carriers(connection, brought(feed.position)):
            yield Feed(feed.source, at, pack)
        lines = chain(
            (_Line(row.anchor) for row in came(feed.position)),
            (_Line(row.anchor, row.tags) for row in tagged(feed.position)),
            (_Line(row.anchor, row.tags, row.match, row.label, row.weight) for row in judged(feed.position)),
        )
        while portion := list(islice(lines, MATCHES)):
            yield Feed(feed.source, at, _said(connection, collection, portion))


def _grouped(rows: Iterable[AnyRow]) -> Callable[[int], Iterator[AnyRow]]:
    """Return what yields the rows of one feed after the other; they come in the order of feeds."""
    groups = groupby(rows, key=lambda row: int(row.feed))
    upcoming = next(groups, None)

    def of(position: int) -> Iterator[AnyRow]:
        nonlocal upcoming
        if upcoming is not None and upcoming[0] == position:
            yield from upcoming[1]
            upcoming = next(groups, None)

    return of


def _carriers(connection: Connection, rows: Iterator[AnyRow]) -> Iterator[Pack]:
    """Yield packs of documents alone, with their contents."""
    held: list[AnyRow] = []
    found: dict[bytes, AnyRow] = {}
    size = 0
    while part := list(islice(rows, ROWS_AT_ONCE)):
        held += part
        hashes = {one for row in part for one in (row.text_hash, row.blob_hash) if one is not None}
        for row in rows_in(connection, select(contents), contents.c.hash, hashes - found.keys()):
            found[row.hash] = row
            size += len(row.data)
        if len(held) >= MATCHES or size >= BYTES:
            yield _carrier(held, found)
            held, found, size = [], {}, 0
    if held:
        yield _carrier(held, found)


def _carrier(rows: Sequence[AnyRow], found: dict[bytes, AnyRow]) -> Pack:
    texts = [found[row.text_hash] for row in rows if row.text_hash is not None]
    blobs = [found[row.blob_hash] for row in rows if row.blob_hash is not None]
    arrays = blobs_from(blobs[0].dtype, blobs[0].shape, [row.data for row in blobs]) if blobs else None
    return Pack.of_documents(
        [row.name for row in rows], [text_from(row.data) for row in texts] if texts else None, arrays
    )


def _said(connection: Connection, collection: AnyRow, lines: Sequence[_Line]) -> Pack:
    """Return lines as a pack that names documents by their ids; anchors that follow upon themselves are one."""
    named = list(dict.fromkeys(row for line in lines for row in (line.anchor, line.match) if row is not None))
    query = select(documents.c.row, documents.c.name).where(documents.c.collection_id == collection.id)
    name_of = {row.row: row.name for row in rows_in(connection, query, documents.c.row, named)}
    place_of = {row: place for place, row in enumerate(named)}
    # an anchor that comes alone is one of its own: it may bring tags
    groups = [list(group) for _, group in groupby(lines, key=lambda line: (line.anchor, line.match is None))]
    matches = [line for line in lines if line.match is not None]
    anchor_tags = ["" if group[0].match is not None else group[-1].tags for group in groups]
    tags = [line.tags for line in matches]
    weights = np.array([line.weight for line in matches])
    counts = [sum(line.match is not None for line in group) for group in groups]
    return Pack(
        start=0,
        ids=[name_of[row] for row in named],
        texts=None,
        blobs=None,
        anchors=np.array([place_of[group[0].anchor] for group in groups], np.int64),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        matches=np.array([place_of[line.match] for line in matches if line.match is not None], np.int64),
        labels=np.array([np.nan if line.label is None else line.label for line in matches], np.float64),
        weights=None if (weights == 1).all() else weights,
        anchor_tags=anchor_tags if any(anchor_tags) else None,
        match_tags=tags if any(tags) else None,
    )
