"""Where fed match data lies: the tables.

Contents belong to all collections. Within a collection every document has a row, counted from 0, and every feed a
position, counted from 1. Judgements are only ever added, each at the position of the feed that brought it, so what
held at a position can be read again later. Only a deletion takes away.

    collections ──< documents >── contents
         │              │ row
         ├──< anchors ──┤
         ├──< judgements┘ anchor and match are rows
         └──< feeds       position
"""

import secrets

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.schema import SchemaItem

_KEY = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up INTEGER keys only

metadata = MetaData()


def _in_collection(name: str, *columns: SchemaItem) -> Table:
    # without a rowid of its own, a table of SQLite lies in the order of its key: an anchor's judgements side by side
    owner: Column[int] = Column("collection_id", ForeignKey("collections.id"), primary_key=True)
    return Table(name, metadata, owner, *columns, sqlite_with_rowid=False)


contents = Table(
    "contents",
    metadata,
    Column("hash", LargeBinary(16), primary_key=True),
    Column("dtype", String(8)),  # NULL for a text
    Column("shape", Text),  # a JSON list
    Column("data", LargeBinary, nullable=False),  # UTF-8, or the array's bytes in C order
)
collections = Table(
    "collections",
    metadata,
    Column("id", _KEY, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("has_text", Boolean, nullable=False),  # what its first document carries, and all must
    Column("blob_form", Text),
    # a random number, and another one after each deletion: then a stream that is read meanwhile has to end
    Column("generation", Integer, nullable=False, server_default="0"),
)
feeds = _in_collection(
    "feeds",
    Column("position", Integer, primary_key=True),
    Column("source", Text, nullable=False),
    Column("fed_at", DateTime(timezone=True), nullable=False),
)
documents = _in_collection(
    "documents",
    Column("row", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("text_hash", ForeignKey(contents.c.hash), index=True),
    Column("blob_hash", ForeignKey(contents.c.hash), index=True),
    Column("feed", Integer, nullable=False),
    # the first feed in which it was an anchor or a match; an index of judgements by match would tell it too, but
    # commits of scattered rows would rewrite most of it each time
    Column("referred", Integer),
    UniqueConstraint("collection_id", "name"),
)
anchors = _in_collection(
    "anchors",
    Column("place", Integer, primary_key=True),  # in which order they came
    Column("anchor", Integer, nullable=False),
    Column("feed", Integer, nullable=False),
    UniqueConstraint("collection_id", "anchor"),
)
anchor_tags = _in_collection(
    "anchor_tags",
    Column("anchor", Integer, primary_key=True),
    Column("feed", Integer, primary_key=True),
    Column("tags", Text, nullable=False),  # JSON
)
judgements = _in_collection(
    "judgements",
    Column("anchor", Integer, primary_key=True),
    Column("match", Integer, primary_key=True),
    Column("feed", Integer, primary_key=True),
    Column("place", Integer, primary_key=True),  # within the feed
    Column("label", Double),  # NULL: a match that nobody judged
    Column("weight", Double, nullable=False),
    Column("tags", Text, nullable=False),  # JSON without the judgement, or nothing
)


def new_generation() -> int:
    """Return a random number; two collections, or one before and after a deletion, hardly ever get the same."""
    return secrets.randbits(31)
