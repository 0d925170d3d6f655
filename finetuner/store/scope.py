"""One feed into one collection: where its rows go, and by which numbers."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, func, insert, select
from sqlalchemy.engine import Connection

from finetuner.store.database import AnyRow
from finetuner.store.schema import feeds


class FeedScope:
    """A transaction that feeds a collection, which it has locked.

    Attributes:
        connection: The transaction.
        collection: Its row; it stays as it is.
        source: Who judges.
    """

    def __init__(
        self, connection: Connection, collection: AnyRow, *, source: str, at: datetime | None
    ) -> None:
        self.connection = connection
        self.collection = collection
        self.source = source
        self._at = at
        self._position: int | None = None
        self._next: dict[str, int] = {}

    @property
    def position(self) -> int:
        """The position of this feed, which it has once somebody asks: that is when it brings something new."""
        if self._position is None:
            self._position = self.count_up(feeds.c.position, 1, first=1)
            at = self._at or datetime.now(UTC)
            self.insert(feeds, [{"position": self._position, "source": self.source, "fed_at": at}])
        return self._position

    def count_up(self, column: "ColumnElement[Any]", by: int, *, first: int = 0) -> int:
        """Return the first of ``by`` new numbers in a column of the collection."""
        table = column.table
        if table.name not in self._next:
            newest = self.connection.execute(select(func.max(column)).where(self.within(table))).scalar()
            self._next[table.name] = first if newest is None else newest + 1
        self._next[table.name] += by
        return self._next[table.name] - by

    def within(self, table: Any) -> "ColumnElement[bool]":
        """Return the condition that a row of a table belongs to the collection."""
        condition: ColumnElement[bool] = table.c.collection_id == self.collection.id
        return condition

    def insert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows that belong to the collection."""
        if rows:
            key = self.collection.id
            self.connection.execute(insert(table), [{"collection_id": key, **row} for row in rows])
