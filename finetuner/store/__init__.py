"""The place where fed match data lives: on disk, by collection, with who judged it and when."""

import re
import threading
from collections.abc import Iterable, Iterator
from itertools import chain

from sqlalchemy import select
from sqlalchemy.engine import Connection

from finetuner.documents import Document, MatchDocumentLike
from finetuner.errors import OptionError, UnknownCollectionError
from finetuner.store.feeding import FeedReport, FeedWriter
from finetuner.store.portions import read_portions
from finetuner.store.reading import CollectionInfo, read_collections, stream_documents
from finetuner.store.schema import collections, open_engine, transaction

__all__ = ["CollectionInfo", "FeedReport", "MatchStore"]

_COLLECTION = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class MatchStore:
    """Collections of match data in a database.

    May be used from several threads, and several stores, also of several processes, may be open on one database.
    In SQLite one feed is written at a time, while any number of readers go on.

    Args:
        url: ``sqlite:///PATH``, made if it is not there, or the URL of a PostgreSQL database.

    Raises:
        OptionError: If the URL names no such database, or its driver is not installed.
        SourceError: If the database cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        # threads queue up here rather than at the database, where waiting ends after a while
        self._writing = threading.RLock()

    def feed(
        self, collection: str, documents: Iterable[MatchDocumentLike], *, source: str = "client"
    ) -> FeedReport:
        """Store match Documents, all of them or none.

        When this returns, they are on disk: SQLite has written them to its log and called fsync on it (WAL with
        ``synchronous=FULL``), so they outlive a crash of the process and of the machine.

        Each content is stored once over all collections; a document that has a text and an array keeps both. Of
        an anchor or match that comes again, the newest tags hold, unless it comes without any. Feeding the same
        again changes nothing. A judgement is never changed: one with another label is added with its time, and
        of each source the newest one holds. A match without a label is kept as unjudged, and takes no judgement
        back.

        Args:
            collection: 1 to 64 letters, digits, ``_``, ``.`` or ``-``; made by the first document, whose kinds of
                content (and shape and dtype of its array) every later document must have too.
            documents: Anchors with matches, read once and in portions. Up to 8,192 matches are read before the
                first is written; beyond, other feeds wait until these are read to their end.
            source: Who judges: a person, a rule, a data set.

        Raises:
            OptionError: If the name of the collection or of the source is unfit.
            ContentError: If a document has no id, no content, unfit content or tags, other content than the
                first of the collection, or an id that is known with another content.
            LabelError: If a label is not a number.
            MatchDataError: If the database fails, or another process kept on writing for a minute.
        """
        _check_names(collection, source)
        portions = read_portions(documents)
        # what fits in one portion is read to its end before others have to wait
        first = next(portions, None)
        if first is None:
            return FeedReport()
        with self._writing, transaction(self._engine, writing=True) as connection:
            writer = FeedWriter(connection, collection, source)
            for portion in chain([first], portions):
                writer.write(portion)
        return writer.report()

    def documents(self, collection: str, *, limit: int | None = None) -> Iterator[Document]:
        """Return the match Documents of a collection in the order in which they were fed, as a stream.

        The stream is one snapshot, taken when its first document is asked for: what is fed meanwhile is not in
        it. A page of judgements and a bounded number of contents are in memory, however large the collection.

        Args:
            collection: Its name.
            limit: At most so many; None for all.

        Returns:
            Anchors with their matches, which carry the newest label of any source under
            ``tags['finetuner']['label']``. Arrays are shared among documents and cannot be written to.

        Raises:
            UnknownCollectionError: If there is no such collection.
            OptionError: If the limit is negative.
            MatchDataError: If the database fails.
        """
        if limit is not None and limit < 0:
            raise OptionError(f"limit is {limit}; give a number of documents, 0 or more, or None for all")
        with transaction(self._engine) as connection:
            key = _key_of(connection, collection)
        return self._stream(key, limit)

    def _stream(self, key: int, limit: int | None) -> Iterator[Document]:
        with transaction(self._engine) as connection:
            yield from stream_documents(connection, key, limit)

    def collections(self) -> list[CollectionInfo]:
        """Return all collections by name, with how much they hold."""
        with transaction(self._engine) as connection:
            return read_collections(connection)

    def close(self) -> None:
        """Close the database; streams that are still read keep their connection until they end."""
        self._engine.dispose()


def _check_names(collection: str, source: str) -> None:
    if not isinstance(collection, str) or not _COLLECTION.fullmatch(collection):
        raise OptionError(f"collection {collection!r}: use 1 to 64 letters, digits, '_', '.' or '-'")
    if not isinstance(source, str) or not source:
        raise OptionError(f"source {source!r}: name who judges, such as 'client'")


def _key_of(connection: Connection, collection: str) -> int:
    found = {row.name: row.id for row in connection.execute(select(collections.c.name, collections.c.id))}
    if collection not in found:
        known = ", ".join(sorted(found)) or "none, since nothing was fed yet"
        raise UnknownCollectionError(f"there is no collection {collection!r}; known are {known}")
    return int(found[collection])
