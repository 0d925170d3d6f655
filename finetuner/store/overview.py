"""What a store holds, in numbers, and about what its sources disagree."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, and_, distinct, func, select, union
from sqlalchemy.engine import Connection

from finetuner.store.database import AnyRow
from finetuner.store.schema import anchors, collections, documents, feeds, judgements


@dataclass(frozen=True)
class CollectionInfo:
    """How much a collection holds.

    Attributes:
        name: Its name.
        anchors: Its anchors.
        contents: Different contents of its documents.
        judgements: Judgements that hold: one for each anchor, match and source.
        position: Number of its newest feed.
    """

    name: str
    anchors: int
    contents: int
    judgements: int
    position: int


def read_collections(connection: Connection) -> list[CollectionInfo]:
    """Return all collections by name, counted."""
    hashes = union(
        select(documents.c.collection_id, documents.c.text_hash.label("hash")),
        select(documents.c.collection_id, documents.c.blob_hash),
    ).subquery()
    holding = (
        select(judgements.c.collection_id, judgements.c.anchor, judgements.c.match, feeds.c.source)
        .join(feeds, _brought())
        .where(judgements.c.label.is_not(None))
        .distinct()
        .subquery()
    )
    counts = [
        _by_collection(connection, query)
        for query in (
            select(anchors.c.collection_id, func.count().label("counted")).group_by(anchors.c.collection_id),
            select(hashes.c.collection_id, func.count(distinct(hashes.c.hash)).label("counted")).group_by(
                hashes.c.collection_id
            ),
            select(holding.c.collection_id, func.count().label("counted")).group_by(holding.c.collection_id),
            select(feeds.c.collection_id, func.max(feeds.c.position).label("counted")).group_by(
                feeds.c.collection_id
            ),
        )
    ]
    found = connection.execute(select(collections.c.id, collections.c.name)).all()
    return [
        CollectionInfo(name, *(count.get(key, 0) for count in counts))
        for key, name in sorted(found, key=lambda row: str(row.name))
    ]


def _by_collection(connection: Connection, query: "Select[int, int]") -> dict[int, int]:
    return {row.collection_id: row.counted for row in connection.execute(query)}


def _brought() -> "ColumnElement[bool]":
    return and_(feeds.c.collection_id == judgements.c.collection_id, feeds.c.position == judgements.c.feed)


@dataclass(frozen=True)
class CollectionNews:
    """What has come to a collection since a position.

    Attributes:
        name: Its name.
        position: Number of its newest feed.
        new_judgements: Judgements that came after the position and were not deleted; one that changes an earlier one
            counts, a match that nobody judged does not.
    """

    name: str
    position: int
    new_judgements: int


def read_news(connection: Connection, collection: AnyRow, since: int) -> CollectionNews:
    """Return what has come since a position; where nothing has, no judgement is read."""
    newest = newest_position(connection, collection)
    if newest <= since:
        return CollectionNews(collection.name, newest, 0)
    query = (
        select(func.count())
        .select_from(judgements)
        .where(judgements.c.collection_id == collection.id)
        .where(judgements.c.feed > since, judgements.c.label.is_not(None))
    )
    return CollectionNews(collection.name, newest, int(connection.execute(query).scalar() or 0))


def newest_position(connection: Connection, collection: AnyRow) -> int:
    """Return the number of a collection's newest feed."""
    query = select(func.max(feeds.c.position)).where(feeds.c.collection_id == collection.id)
    return int(connection.execute(query).scalar() or 0)


def read_contradictions(
    connection: Connection, collection: AnyRow, limit: int
) -> tuple[int, list[dict[str, object]]]:
    """Return about how many pairs sources disagree now, and the first of them as ids of anchor and match."""
    of_source = (
        select(
            judgements.c.anchor,
            judgements.c.match,
            judgements.c.label,
            func.row_number()
            .over(
                partition_by=(judgements.c.anchor, judgements.c.match, feeds.c.source),
                order_by=(judgements.c.feed.desc(), judgements.c.place.desc()),
            )
            .label("age"),
        )
        .join(feeds, _brought())
        .where(judgements.c.collection_id == collection.id, judgements.c.label.is_not(None))
        .subquery()
    )
    apart = (
        select(of_source.c.anchor, of_source.c.match)
        .where(of_source.c.age == 1)
        .group_by(of_source.c.anchor, of_source.c.match)
        .having((func.min(of_source.c.label) < 0) & (func.max(of_source.c.label) > 0))
        .subquery()
    )
    count = connection.execute(select(func.count()).select_from(apart)).scalar() or 0
    asked, match = documents.alias(), documents.alias()
    named = (
        select(asked.c.name, match.c.name)
        .select_from(apart)
        .join(asked, (asked.c.collection_id == collection.id) & (asked.c.row == apart.c.anchor))
        .join(match, (match.c.collection_id == collection.id) & (match.c.row == apart.c.match))
        .order_by(apart.c.anchor, apart.c.match)
        .limit(limit)
    )
    if not count:
        return 0, []
    return count, [{"anchor": row[0], "match": row[1]} for row in connection.execute(named)]
