"""The place where fed match data lives: on disk, by collection, with who judged it and when."""

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.engine import Connection

from finetuner.documents import ContentKind
from finetuner.errors import OptionError, UnknownCollectionError
from finetuner.packs import ANCHORS, Feed, Pack
from finetuner.store.database import AnyRow, erase, open_engine, transaction
from finetuner.store.deleting import delete_collection, delete_documents, lock_all
from finetuner.store.feeding import FeedWriter
from finetuner.store.history import read_feeds
from finetuner.store.overview import (
    CollectionInfo,
    CollectionNews,
    newest_position,
    read_collections,
    read_contradictions,
    read_news,
)
from finetuner.store.reading import Asked, Chosen, PackReader
from finetuner.store.report import Deleted, FeedReport
from finetuner.store.schema import collections

__all__ = ["CollectionInfo", "CollectionNews", "Deleted", "FeedReport", "MatchStore"]

_COLLECTION = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class MatchStore:
    """Collections of match data in a database.

    May be used from several threads, and several stores, also of several processes, may be open on one database.
    In SQLite one feed is written at a time, while any number of readers go on; in PostgreSQL one a collection.

    What has been committed outlives a crash of the process and of the machine: SQLite writes it to its log and calls
    fsync on that before a feed returns (WAL with ``synchronous=FULL``), PostgreSQL does the same unless its own
    ``fsync`` or ``synchronous_commit`` is off.

    Args:
        url: ``sqlite:///PATH``, made if it is not there, or the URL of a PostgreSQL database.

    Raises:
        OptionError: If the URL names no such database, or its driver is not installed.
        SourceError: If the database cannot be opened, or a later version of the library made it.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        # threads queue up here rather than at the database, where waiting ends after a while
        self._writing = threading.RLock()

    def feed(
        self,
        collection: str,
        packs: Iterable[Pack],
        *,
        source: str = "client",
        at: datetime | None = None,
        refuse: bool = False,
    ) -> FeedReport:
        """Store packs, all of them or none; when this returns, they are on disk.

        Each content is stored once over all collections. Of an anchor or match that comes again, the newest tags
        hold, unless it comes without any. Feeding the same again changes nothing. A judgement is never changed: one
        with another label or weight is added, and of each source the newest one holds. A match without a label is
        kept as unjudged, and takes no judgement back.

        Args:
            collection: 1 to 64 letters, digits, ``_``, ``.`` or ``-``; made by the first document, whose kinds of
                content (and shape and dtype of its array) every later document must have too.
            packs: Read once and one by one. The first is read before others have to wait.
            source: Who judges: a person, a rule, a data set.
            at: When; now, if not given.
            refuse: Leave out documents whose id is known with another content, or that come without content and are
                not known, with what is said about them, and tell it, instead of raising.

        Raises:
            OptionError: If the name of the collection or of the source is unfit.
            ContentError: If a document holds other kinds of content than the first of the collection, or, unless
                ``refuse``, has an id that is known with another content, or comes without content and is not known.
            MatchDataError: If the database fails, or another process kept on writing for a minute.
        """
        _check_names(collection, source)
        left = iter(packs)
        first = next(left, None)
        if first is None:
            return FeedReport()
        with self._writing, transaction(self._engine, writing=True) as connection:
            writer = FeedWriter(connection, collection, first, source=source, at=at, refuse=refuse)
            writer.write(first)
            for pack in left:
                writer.write(pack)
        return writer.report()

    def position(self, collection: str) -> int:
        """Return the number of the newest feed of a collection, counted from 1.

        Raises:
            UnknownCollectionError: If there is no such collection.
        """
        with transaction(self._engine) as connection:
            return newest_position(connection, _find(connection, collection))

    def generation(self, collection: str) -> int:
        """Return a number that is another one after each deletion, and in each collection.

        Raises:
            UnknownCollectionError: If there is no such collection.
        """
        with transaction(self._engine) as connection:
            return int(_find(connection, collection).generation)

    def packs(
        self,
        collection: str,
        *,
        position: int | None = None,
        kind: ContentKind | None = None,
        tags: bool = False,
        anchors: int = ANCHORS,
        standalone: bool = False,
        shard: tuple[int, int] = (0, 1),
        chosen: Chosen | None = None,
        limit: int | None = None,
    ) -> Iterator[Pack]:
        """Read what holds in a collection at a position: the same packs each time, whatever is fed meanwhile.

        Anchors come in the order in which they were fed, their matches as they first came, with the newest label of
        any source. Then come the documents that nothing refers to, in packs without anchors. One pack is in memory
        at a time, and 8 bytes for each document of the collection.

        Args:
            collection: Its name.
            position: The feed up to which to read; by default the newest.
            kind: Which content to read; by default all that there are.
            tags: Whether to read tags.
            anchors: Anchors in a pack at most.
            standalone: Let every pack start at 0.
            shard: (i, n) for the i-th of n disjoint parts, counted from 0, which together are everything.
            chosen: Which anchors to read, by their contents' hashes, uint8 (A, 16); by default all.
            limit: At most so many anchors, and then no documents that nothing refers to.

        Raises:
            UnknownCollectionError: If there is no such collection.
            OptionError: If the position, kind, shard or limit is one that there is not.
            ChangedDataError: While reading, if documents of the collection are deleted meanwhile.
            MatchDataError: If the database fails.
        """
        if limit is not None and limit < 0:
            raise OptionError(f"limit is {limit}; give a number of documents, 0 or more, or None for all")
        if not 0 <= shard[0] < shard[1]:
            raise OptionError(f"shard {shard[0]} of {shard[1]}: they are counted from 0")
        with transaction(self._engine) as connection:
            found = _find(connection, collection)
            newest = newest_position(connection, found)
        if not 0 <= (position := newest if position is None else position) <= newest:
            raise OptionError(f"collection {collection!r} has no position {position}; its newest is {newest}")
        asked = Asked(position, _kinds(found, kind), tags, anchors, standalone, shard, chosen, limit)
        return PackReader(lambda: transaction(self._engine), found, asked).packs()

    def log(self, collection: str) -> Iterator[Feed]:
        """Read everything that was ever fed to a collection and not deleted, in its order.

        Fed to another collection, one after the other, it makes an equal one, though its positions may be counted
        otherwise. All of it is read in one transaction, which stays open as long as its reader takes.

        Raises:
            UnknownCollectionError: If there is no such collection.
            MatchDataError: If the database fails.
        """
        with transaction(self._engine) as connection:
            _find(connection, collection)
        return self._log(collection)

    def _log(self, collection: str) -> Iterator[Feed]:
        with transaction(self._engine) as connection:
            yield from read_feeds(connection, _find(connection, collection))

    def contradictions(self, collection: str, *, limit: int = 20) -> tuple[int, list[dict[str, object]]]:
        """Return about how many matches sources disagree, one above 0 and one below, and the first of them.

        Returns:
            Their number, and the ids of ``anchor`` and ``match`` of ``limit`` of them at most.
        """
        with transaction(self._engine) as connection:
            return read_contradictions(connection, _find(connection, collection), limit)

    def delete(self, collection: str, ids: Sequence[str] | None = None) -> Deleted:
        """Delete documents with all that was ever said about them, or a whole collection.

        Contents that nobody else holds are gone as well. SQLite overwrites them with zeros, in its log too;
        PostgreSQL frees their place (VACUUM), where they may be read from the disk until it is used again.

        Args:
            collection: Its name.
            ids: The documents' ids; None for everything.

        Raises:
            UnknownCollectionError: If there is no such collection.
            MatchDataError: If the database fails.
        """
        with self._writing:
            with transaction(self._engine, writing=True) as connection:
                lock_all(connection)
                found = _find(connection, collection)
                if ids is None:
                    deleted = delete_collection(connection, found)
                else:
                    deleted = delete_documents(connection, found, ids)
            erase(self._engine)
        return deleted

    def collections(self) -> list[CollectionInfo]:
        """Return all collections by name, with how much they hold."""
        with transaction(self._engine) as connection:
            return read_collections(connection)

    def news(self, collection: str, since: int) -> CollectionNews:
        """Return what has come to a collection after a position.

        Raises:
            UnknownCollectionError: If there is no such collection.
        """
        with transaction(self._engine) as connection:
            return read_news(connection, _find(connection, collection), since)

    def close(self) -> None:
        """Close the database; streams that are still read keep their connection until they end."""
        self._engine.dispose()


def _check_names(collection: str, source: str) -> None:
    if not isinstance(collection, str) or not _COLLECTION.fullmatch(collection):
        raise OptionError(f"collection {collection!r}: use 1 to 64 letters, digits, '_', '.' or '-'")
    if not isinstance(source, str) or not source:
        raise OptionError(f"source {source!r}: name who judges, such as 'client'")


def _find(connection: Connection, collection: str) -> AnyRow:
    found = connection.execute(select(collections).where(collections.c.name == collection)).one_or_none()
    if found is None:
        names = connection.execute(select(collections.c.name)).scalars()
        known = ", ".join(sorted(names)) or "none, since nothing was fed yet"
        raise UnknownCollectionError(f"there is no collection {collection!r}; known are {known}")
    return found


def _kinds(collection: AnyRow, kind: ContentKind | None) -> tuple[ContentKind, ...]:
    held: dict[ContentKind, bool] = {"text": collection.has_text, "blob": collection.blob_form is not None}
    kinds = tuple(one for one, is_held in held.items() if is_held)
    if kind is not None and kind not in kinds:
        raise OptionError(f"collection {collection.name!r} holds no .{kind}, but .{' and .'.join(kinds)}")
    return kinds if kind is None else (kind,)
