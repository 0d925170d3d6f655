"""Where fed match data lies: the tables, and how their database is opened and used.

Contents belong to all collections; a document is a name for its contents within one collection; an anchor has
candidates; judgements about candidates are only ever added, each through the feed that brought it.

    collections ──< documents >── contents
         │              │
         ├──< anchors ──┴──< candidates ──< judgements
         └──< feeds ───────────────────────────┘
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Engine,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    QueuePool,
    Row,
    Select,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import ArgumentError, DatabaseError
from sqlalchemy.pool import ConnectionPoolEntry

from finetuner.errors import MatchDataError, OptionError, SourceError

BUSY_SECONDS = 60
"""How long a writer waits for the writer of another process."""

ROWS_ASKED = 1000
"""Values in one IN (...): databases bound the parameters of a statement."""

_INSERTS: dict[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}
_KEY = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up INTEGER keys only

AnyRow = Row[*tuple[Any, ...]]
AnySelect = Select[*tuple[Any, ...]]

metadata = MetaData()

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
)
documents = Table(
    "documents",
    metadata,
    Column("id", _KEY, primary_key=True),
    Column("collection_id", ForeignKey(collections.c.id), nullable=False),
    Column("name", Text, nullable=False),
    Column("text_hash", ForeignKey(contents.c.hash)),
    Column("blob_hash", ForeignKey(contents.c.hash)),
    UniqueConstraint("collection_id", "name"),
)
anchors = Table(
    "anchors",
    metadata,
    Column("id", _KEY, primary_key=True),
    Column("collection_id", ForeignKey(collections.c.id), nullable=False),
    Column("document_id", ForeignKey(documents.c.id), nullable=False, unique=True),
    Column("tags", Text, nullable=False),  # JSON, or nothing
    Index("anchors_in_order", "collection_id", "id"),
)
candidates = Table(
    "candidates",
    metadata,
    Column("id", _KEY, primary_key=True),
    Column("anchor_id", ForeignKey(anchors.c.id), nullable=False),
    Column("document_id", ForeignKey(documents.c.id), nullable=False),
    Column("tags", Text, nullable=False),  # JSON without the label, or nothing
    UniqueConstraint("anchor_id", "document_id"),
)
feeds = Table(
    "feeds",
    metadata,
    Column("id", _KEY, primary_key=True),
    Column("collection_id", ForeignKey(collections.c.id), nullable=False),
    Column("source", Text, nullable=False),
    Column("fed_at", DateTime(timezone=True), nullable=False),
)
judgements = Table(
    "judgements",
    metadata,
    Column("id", _KEY, primary_key=True),
    Column("candidate_id", ForeignKey(candidates.c.id), nullable=False, index=True),
    Column("feed_id", ForeignKey(feeds.c.id), nullable=False),
    Column("label", Double, nullable=False),
)


def open_engine(url: str) -> Engine:
    """Open a database, with the tables made if they are not there.

    Raises:
        OptionError: If the URL is no URL, names another kind of database, one in memory, or a missing driver.
        SourceError: If the database cannot be opened, or the file is none.
    """
    address = _address(url)
    try:
        if address.drivername.startswith("sqlite"):
            Path(str(address.database)).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(address, poolclass=QueuePool, max_overflow=-1)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _set_up_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        with engine.connect().execution_options(writing=True) as connection, connection.begin():
            metadata.create_all(connection)
    except ModuleNotFoundError as error:
        raise OptionError(f"match store {address}: its driver {error.name!r} is not installed") from error
    except (DatabaseError, OSError) as error:
        raise SourceError(f"match store {address}: it cannot be opened: {error}") from error
    return engine


def _address(url: str) -> URL:
    accepted = "use sqlite:///PATH or postgresql://USER@HOST/NAME"
    try:
        address = make_url(url)
    except (ArgumentError, ValueError) as error:
        shown = url.rpartition("@")[2]  # before the @ there may be a password
        raise OptionError(f"match store {shown!r}: this is no database URL; {accepted}") from error
    if address.get_backend_name() not in _INSERTS:
        raise OptionError(f"match store {address}: {address.get_backend_name()} is not supported; {accepted}")
    in_memory = address.database in (None, "", ":memory:") or "memory" in address.query.get("mode", ())
    if address.get_backend_name() == "sqlite" and in_memory:
        raise OptionError(f"match store {address}: match data is kept on disk, not in memory; {accepted}")
    return address


def _set_up_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    _switch_to_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _switch_to_wal(cursor: DBAPICursor) -> None:
    # of several that switch a new database at once, SQLite refuses some at once whatever the busy timeout
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # the driver begins late and only before it writes: a reader would see the data move under it, and a writer
    # that has read before cannot become one any more when another wrote in between
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


@contextmanager
def transaction(engine: Engine, *, writing: bool = False) -> Iterator[Connection]:
    """Run one transaction: one snapshot to read from, or all or nothing to write.

    Raises:
        MatchDataError: If the database fails: busy for too long, disk full, damaged.
    """
    level = {} if writing else {"isolation_level": "SERIALIZABLE"}
    try:
        with engine.connect().execution_options(writing=writing, **level) as connection, connection.begin():
            yield connection
    except DatabaseError as error:
        what = "nothing of this feed was stored" if writing else "the match data cannot be read"
        raise MatchDataError(f"match store {engine.url}: {error.orig}; {what}") from error


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, and pass over those that are there already."""
    if rows:
        insert = _INSERTS[connection.dialect.name](table)
        connection.execute(insert.on_conflict_do_nothing(), rows)


def rows_in(
    connection: Connection, query: AnySelect, column: "Column[Any]", values: Iterable[Any]
) -> Iterator[AnyRow]:
    """Return the rows of a query whose ``column`` is one of the values."""
    wanted = list(values)
    for start in range(0, len(wanted), ROWS_ASKED):
        yield from connection.execute(query.where(column.in_(wanted[start : start + ROWS_ASKED])))
