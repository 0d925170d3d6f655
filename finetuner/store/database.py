"""The database of a store: how it is opened, brought up to date, and used in transactions."""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    ColumnElement,
    Engine,
    QueuePool,
    Row,
    Select,
    Table,
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
from finetuner.store.migrations import is_current, migrate
from finetuner.store.schema import metadata
from finetuner.store.statistics import state_statistics

BUSY_SECONDS = 60
"""How long a writer waits for the writer of another process."""

CACHE_KIB = 16 * 1024
"""Memory in which each connection to SQLite keeps pages, in KiB; its own default of 2 MiB reads the disk too often."""

ROWS_ASKED = 1000
"""Values in one IN (...): databases bound the parameters of a statement."""

_INSERTS: dict[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}
_DRIVERS = {"postgresql": "postgresql+psycopg"}  # without one, SQLAlchemy would take another

AnyRow = Row[*tuple[Any, ...]]
AnySelect = Select[*tuple[Any, ...]]


def open_engine(url: str) -> Engine:
    """Open a database, with its tables made, or brought up to date, if they are not.

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
        with engine.connect() as connection, connection.begin():
            up_to_date = is_current(connection)
        if not up_to_date:  # so that opening does not wait for somebody who feeds
            with engine.connect().execution_options(writing=True) as connection, connection.begin():
                migrate(connection)
                if engine.dialect.name == "sqlite":
                    state_statistics(connection)
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
    return address.set(drivername=_DRIVERS.get(address.drivername, address.drivername))


def _set_up_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    _switch_to_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    cursor.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten, not only unlinked
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
    what = "nothing of this was stored" if writing else "the match data cannot be read"
    try:
        with engine.connect().execution_options(writing=writing, **level) as connection, connection.begin():
            yield connection
            if writing:
                what = "it broke off while it was stored, so all of it or nothing is there; do it again"
    except DatabaseError as error:
        raise MatchDataError(f"match store {engine.url}: {error.orig}; {what}") from error


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, and pass over those that are there already."""
    if rows:
        insert = _INSERTS[connection.dialect.name](table)
        connection.execute(insert.on_conflict_do_nothing(), rows)


def rows_in(
    connection: Connection, query: AnySelect, column: "ColumnElement[Any]", values: Iterable[Any]
) -> Iterator[AnyRow]:
    """Return the rows of a query whose ``column`` is one of the values."""
    wanted = list(values)
    for start in range(0, len(wanted), ROWS_ASKED):
        yield from connection.execute(query.where(column.in_(wanted[start : start + ROWS_ASKED]))).all()


def erase(engine: Engine) -> None:
    """Take what was deleted off the disk as well, as far as the database can do that."""
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if engine.dialect.name == "sqlite":
                # the log still holds old pages; where a reader needs them they go with a later deletion
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            else:
                connection.exec_driver_sql(f"VACUUM {', '.join(metadata.tables)}")
    except DatabaseError as error:
        raise MatchDataError(
            f"match store {engine.url}: {error.orig}; it is deleted, but may still be on the disk"
        ) from error
