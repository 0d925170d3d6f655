"""Rows and positions within a collection, instead of keys of candidates.

Before, a match was a candidate with judgements, and only judgements knew their feed. All documents, anchors and
candidates of such a collection count as brought by its first feed.

Revision ID: 2
Revises: 1
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import SchemaItem

revision = "2"
down_revision = "1"

_OLD = ("judgements", "candidates", "anchors", "feeds", "documents")

_FILL = (
    """
    INSERT INTO feeds (collection_id, position, source, fed_at)
    SELECT collection_id, row_number() OVER (PARTITION BY collection_id ORDER BY id), source, fed_at FROM old_feeds
    """,
    # a collection of which nothing is judged had no feed
    """
    INSERT INTO feeds (collection_id, position, source, fed_at)
    SELECT id, 1, 'client', CURRENT_TIMESTAMP FROM collections
    WHERE id NOT IN (SELECT collection_id FROM old_feeds) AND id IN (SELECT collection_id FROM old_documents)
    """,
    """
    INSERT INTO documents (collection_id, "row", name, text_hash, blob_hash, feed, referred)
    SELECT collection_id, row_number() OVER (PARTITION BY collection_id ORDER BY id) - 1, name, text_hash, blob_hash,
        1, 1
    FROM old_documents
    """,
    """
    INSERT INTO anchors (collection_id, place, anchor, feed)
    SELECT old.collection_id, row_number() OVER (PARTITION BY old.collection_id ORDER BY old.id) - 1, new."row", 1
    FROM old_anchors AS old
    JOIN old_documents AS named ON named.id = old.document_id
    JOIN documents AS new ON new.collection_id = named.collection_id AND new.name = named.name
    """,
    """
    INSERT INTO anchor_tags (collection_id, anchor, feed, tags)
    SELECT old.collection_id, new."row", 1, old.tags
    FROM old_anchors AS old
    JOIN old_documents AS named ON named.id = old.document_id
    JOIN documents AS new ON new.collection_id = named.collection_id AND new.name = named.name
    WHERE old.tags <> ''
    """,
    """
    INSERT INTO judgements (collection_id, anchor, "match", feed, place, label, weight, tags)
    SELECT asked.collection_id, asked."row", found."row", 1,
        row_number() OVER (PARTITION BY asked.collection_id ORDER BY old.id) - 1, NULL, 1, old.tags
    FROM old_candidates AS old
    JOIN old_anchors ON old_anchors.id = old.anchor_id
    JOIN old_documents AS anchor ON anchor.id = old_anchors.document_id
    JOIN documents AS asked ON asked.collection_id = anchor.collection_id AND asked.name = anchor.name
    JOIN old_documents AS candidate ON candidate.id = old.document_id
    JOIN documents AS found ON found.collection_id = candidate.collection_id AND found.name = candidate.name
    """,
    """
    INSERT INTO judgements (collection_id, anchor, "match", feed, place, label, weight, tags)
    SELECT asked.collection_id, asked."row", found."row", fed.position,
        (SELECT count(*) FROM old_candidates) + old.id, old.label, 1, ''
    FROM old_judgements AS old
    JOIN (
        SELECT id, row_number() OVER (PARTITION BY collection_id ORDER BY id) AS position FROM old_feeds
    ) AS fed ON fed.id = old.feed_id
    JOIN old_candidates ON old_candidates.id = old.candidate_id
    JOIN old_anchors ON old_anchors.id = old_candidates.anchor_id
    JOIN old_documents AS anchor ON anchor.id = old_anchors.document_id
    JOIN documents AS asked ON asked.collection_id = anchor.collection_id AND asked.name = anchor.name
    JOIN old_documents AS candidate ON candidate.id = old_candidates.document_id
    JOIN documents AS found ON found.collection_id = candidate.collection_id AND found.name = candidate.name
    """,
)


def upgrade() -> None:
    """Make the new tables beside the old ones, fill them, and drop the old ones."""
    for table in _OLD:
        op.rename_table(table, f"old_{table}")
    op.add_column("collections", sa.Column("generation", sa.Integer, nullable=False, server_default="0"))
    _create("feeds", _number("position"), _text("source"), _column("fed_at", sa.DateTime(timezone=True)))
    _create(
        "documents",
        _number("row"),
        _text("name"),
        sa.Column("text_hash", sa.LargeBinary(16), sa.ForeignKey("contents.hash")),
        sa.Column("blob_hash", sa.LargeBinary(16), sa.ForeignKey("contents.hash")),
        _column("feed", sa.Integer),
        sa.Column("referred", sa.Integer),
        sa.UniqueConstraint("collection_id", "name"),
    )
    op.create_index("ix_documents_text_hash", "documents", ["text_hash"])
    op.create_index("ix_documents_blob_hash", "documents", ["blob_hash"])
    _create(
        "anchors",
        _number("place"),
        _column("anchor", sa.Integer),
        _column("feed", sa.Integer),
        sa.UniqueConstraint("collection_id", "anchor"),
    )
    _create("anchor_tags", _number("anchor"), _number("feed"), _text("tags"))
    _create(
        "judgements",
        *(_number(name) for name in ("anchor", "match", "feed", "place")),
        sa.Column("label", sa.Double),
        _column("weight", sa.Double),
        _text("tags"),
    )
    for statement in _FILL:
        op.execute(statement)
    for table in _OLD:
        op.drop_table(f"old_{table}")


def _create(name: str, *columns: SchemaItem) -> None:
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    owner = sa.Column("collection_id", key, sa.ForeignKey("collections.id"), primary_key=True)
    op.create_table(name, owner, *columns, sqlite_with_rowid=False)


def _number(name: str) -> SchemaItem:
    return sa.Column(name, sa.Integer, primary_key=True)


def _column(name: str, kind: "sa.types.TypeEngine[Any] | type[sa.types.TypeEngine[Any]]") -> SchemaItem:
    return sa.Column(name, kind, nullable=False)


def _text(name: str) -> SchemaItem:
    return _column(name, sa.Text)
