"""What SQLite shall believe about the tables.

Without statistics it takes the rows of a collection for ten, and walks through all of them rather than look up a thousand
by an index. It gathers real ones only if it is told to, while a first large feed needs them from its beginning. So it gets
those of a large collection at once; where collections are small, no plan is slow.
"""

from sqlalchemy import Table, text
from sqlalchemy.engine import Connection

from finetuner.store.schema import metadata

ROWS = 1_000_000
IN_COLLECTION = 100_000
"""Rows of which the first column is the same: that is the collection."""

IN_GROUP = 10
"""Rows of which more columns are the same."""


def state_statistics(connection: Connection) -> None:
    """Write the statistics of a large collection for every index that begins with the collection."""
    connection.execute(text("ANALYZE sqlite_schema"))  # makes the table of statistics
    for table in metadata.sorted_tables:
        if "collection_id" in table.c:
            _state(connection, table)
    connection.execute(text("ANALYZE sqlite_schema"))  # reads them


def _state(connection: Connection, table: Table) -> None:
    connection.execute(text("DELETE FROM sqlite_stat1 WHERE tbl = :name"), {"name": table.name})
    insert = text("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (:tbl, :idx, :stat)")
    for index in connection.execute(text(f"PRAGMA index_list({table.name})")).all():
        columns = connection.execute(text(f"PRAGMA index_info({index.name})")).all()
        if columns[0].name != "collection_id":
            continue
        equal = [IN_COLLECTION, *[IN_GROUP] * (len(columns) - 2), 1]
        # a table without rowid is its own primary key
        name = table.name if index.origin == "pk" else index.name
        stat = " ".join(map(str, (ROWS, *equal)))
        connection.execute(insert, {"tbl": table.name, "idx": name, "stat": stat})
