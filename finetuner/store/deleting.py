"""Deletion: documents, or a whole collection, with everything that was ever said about them."""

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, bindparam, delete, exists, func, or_, select, update
from sqlalchemy.engine import Connection

from finetuner.store.database import ROWS_ASKED, AnyRow, rows_in
from finetuner.store.report import Deleted
from finetuner.store.schema import (
    anchor_tags,
    anchors,
    collections,
    contents,
    documents,
    feeds,
    judgements,
    new_generation,
)


def lock_all(connection: Connection) -> None:
    """Wait for all feeds, where there may be several, and let later ones wait: contents belong to all of them."""
    connection.execute(select(collections.c.id).order_by(collections.c.id).with_for_update()).all()


def delete_collection(connection: Connection, collection: AnyRow) -> Deleted:
    """Delete a collection; its name is free again."""
    judged = delete(judgements).where(judgements.c.collection_id == collection.id)
    counts = {"judgements": connection.execute(judged.where(judgements.c.label.is_not(None))).rowcount}
    connection.execute(judged)
    for table in (anchor_tags, anchors, documents, feeds):
        gone = connection.execute(delete(table).where(table.c.collection_id == collection.id)).rowcount
        counts |= {table.name: gone} if table in (anchors, documents) else {}
    connection.execute(delete(collections).where(collections.c.id == collection.id))
    return Deleted(**counts, contents=connection.execute(delete(contents).where(_unheld())).rowcount)


def delete_documents(connection: Connection, collection: AnyRow, names: Sequence[str]) -> Deleted:
    """Delete documents of a collection; ids that it does not know change nothing."""
    query = select(documents).where(documents.c.collection_id == collection.id)
    found = list(rows_in(connection, query, documents.c.name, set(names)))
    counts = dict.fromkeys(("documents", "anchors", "judgements", "contents"), 0)
    for start in range(0, len(found), ROWS_ASKED):
        part = found[start : start + ROWS_ASKED]
        rows = [row.row for row in part]
        about = or_(judgements.c.anchor.in_(rows), judgements.c.match.in_(rows))
        here = judgements.c.collection_id == collection.id
        matched = select(judgements.c.match).distinct().where(here, judgements.c.anchor.in_(rows))
        left_alone = set(connection.execute(matched).scalars()) - set(rows)
        judged = delete(judgements).where(here, about)
        counts["judgements"] += connection.execute(judged.where(judgements.c.label.is_not(None))).rowcount
        connection.execute(judged)
        for table, column in (
            (anchor_tags, anchor_tags.c.anchor),
            (anchors, anchors.c.anchor),
            (documents, documents.c.row),
        ):
            here = table.c.collection_id == collection.id
            gone = connection.execute(delete(table).where(here, column.in_(rows))).rowcount
            if table.name in counts:
                counts[table.name] += gone
        _refer(connection, collection, left_alone)
        hashes = [one for row in part for one in (row.text_hash, row.blob_hash) if one is not None]
        unheld = delete(contents).where(contents.c.hash.in_(hashes), _unheld())
        counts["contents"] += connection.execute(unheld).rowcount
    if found:
        change = update(collections).where(collections.c.id == collection.id)
        connection.execute(change.values(generation=new_generation()))
    return Deleted(**counts)


def _refer(connection: Connection, collection: AnyRow, rows: Iterable[int]) -> None:
    """Note anew by which feed documents were first referred to, after some of what had referred to them is gone."""
    here = documents.c.collection_id == collection.id
    first: dict[int, int | None] = dict.fromkeys(rows)
    for table, column in ((judgements, judgements.c.match), (anchors, anchors.c.anchor)):
        query = select(column.label("row"), func.min(table.c.feed).label("feed")).group_by(column)
        query = query.where(table.c.collection_id == collection.id)
        for row in rows_in(connection, query, column, first):
            first[row.row] = min(row.feed, first[row.row] or row.feed)
    change = (
        update(documents).where(here, documents.c.row == bindparam("key")).values(referred=bindparam("by"))
    )
    if first:
        connection.execute(change, [{"key": row, "by": feed} for row, feed in first.items()])


def _unheld() -> "ColumnElement[bool]":
    """Return the condition that no document holds a content; two searches, since each has its own index."""
    return ~exists().where(documents.c.text_hash == contents.c.hash) & ~exists().where(
        documents.c.blob_hash == contents.c.hash
    )
