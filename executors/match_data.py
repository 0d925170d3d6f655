"""MatchDataExecutor: holds match data and emits match Documents."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, AsyncIterator, TypeVar  # noqa: UP035  jina knows no other one

from docarray import DocList
from jina import Executor, requests
from pydantic import Field, validator

from executors.documents import (
    MatchDocument,
    PackDocument,
    PackFrame,
    Report,
    StreamRequest,
    named,
    pack_from_wire,
    pack_to_wire,
    to_wire,
)
from executors.parameters import given, parse, refuse_unknown
from executors.streams import TaggedT, framed
from finetuner.documents import TAG, Document, ours
from finetuner.emission import DOCUMENTS_AT_ONCE, Cursor, Emission, Emitter, FrameCache
from finetuner.errors import MatchDataError, OptionError
from finetuner.packing import packed
from finetuner.packs import Pack
from finetuner.settings import OperatorSettings, Options
from finetuner.sources import SOURCES
from finetuner.store import MatchStore

ItemT = TypeVar("ItemT")


class MatchDataSettings(OperatorSettings):
    """What the operator decides."""

    url: str | None = Field(default=None, description="sqlite:///PATH or the URL of a PostgreSQL database.")


class FeedOptions(Options):
    """Parameters of ``/feed``."""

    collection: str = Field(default="default", description="Where the documents go.")
    source: str = Field(default="client", description="Who judges: a person, a rule, a data set.")


class FeedPackOptions(FeedOptions):
    """Parameters of ``/feed_packs`` beside those of ``/feed``."""

    at: datetime | None = Field(
        default=None,
        description="When it was judged, with its time zone; now by default. For what was exported.",
    )

    @validator("at")
    def _with_zone(cls, at: datetime | None) -> datetime | None:
        if at is not None and at.tzinfo is None:
            raise ValueError("say the time zone, as in 2026-11-24T08:00:00+00:00")
        return at


class CollectionOptions(Options):
    """Parameters of ``/export``."""

    collection: str = Field(default="default", description="Its name.")


class NewsOptions(CollectionOptions):
    """Parameters of ``/news``."""

    since: int = Field(default=0, ge=0, description="Position of the collection after which to count.")


class DeleteOptions(CollectionOptions):
    """Parameters of ``/delete``."""

    collection: str = Field(description="Its name.")
    ids: list[str] | None = Field(
        default=None, description="Documents to delete; without, the whole collection."
    )


class MatchDataExecutor(Executor):
    """Holds collections of match data: those that are fed, and two that are made from bundled data sets.

    Args:
        url: The database; by default a SQLite file in the workspace.
        kwargs: Jina's own.
    """

    def __init__(self, url: str | None = None, **kwargs: Any) -> None:
        refuse_unknown(self, kwargs)
        super().__init__(**kwargs)
        settings = MatchDataSettings.from_operator(url=url)
        folder = settings.workspace / "match_data" if settings.workspace else Path(self.workspace)
        folder.mkdir(parents=True, exist_ok=True)
        self._store = MatchStore(settings.url or f"sqlite:///{folder / 'matches.db'}")
        self._emitter = Emitter(self._store)
        self._frames = FrameCache(_pack_frame)

    @requests(on="/feed", request_schema=DocList[MatchDocument], response_schema=DocList[Report])
    async def feed(
        self, docs: DocList[MatchDocument], parameters: dict[str, Any], **_: Any
    ) -> DocList[Report]:
        """Store match Documents; when this answers, they are on disk. Feeding them again changes nothing.

        A document with an id alone is one that the collection knows. Parameters: see :class:`FeedOptions`. Answers one
        Report named by the collection, with the counts of :class:`finetuner.store.FeedReport`.
        """
        options = parse(FeedOptions, parameters, where="/feed")
        packs = packed(named(docs), standalone=True)
        return await self._feed("/feed", len(docs), options, packs, refuse=False)

    @requests(on="/feed_packs", request_schema=DocList[PackDocument], response_schema=DocList[Report])
    async def feed_packs(
        self, docs: DocList[PackDocument], parameters: dict[str, Any], **_: Any
    ) -> DocList[Report]:
        """Store packs, all of them or none; what a client reads from files comes this way.

        Documents that cannot be stored are left out and told, with the judgements about them. Parameters: see
        :class:`FeedPackOptions`. Answers as ``/feed`` does.
        """
        options = parse(FeedPackOptions, parameters, where="/feed_packs")
        packs = (pack_from_wire(document) for document in docs)
        return await self._feed("/feed_packs", len(docs), options, packs, refuse=True, at=options.at)

    async def _feed(
        self, where: str, count: int, options: FeedOptions, packs: Iterator[Pack], **how: Any
    ) -> DocList[Report]:
        if options.collection in SOURCES:
            raise OptionError(
                f"{where}: collection {options.collection!r} is made from a data set; choose another name"
            )
        if not count:
            raise MatchDataError(f"{where}: no document was given; at least one is needed")
        feed = partial(self._store.feed, source=options.source, **how)
        report = await asyncio.to_thread(feed, options.collection, packs)
        return DocList[Report]([Report(id=options.collection, tags=asdict(report))])

    @requests(on="/delete", request_schema=DocList[Report], response_schema=DocList[Report])
    async def delete(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """Delete documents with all that was said about them, or a whole collection. See :class:`DeleteOptions`."""
        options = parse(DeleteOptions, parameters, where="/delete")
        deleted = await asyncio.to_thread(self._store.delete, options.collection, options.ids)
        self._frames.clear()  # some of it is in memory
        return DocList[Report]([Report(id=options.collection, tags=asdict(deleted))])

    @requests(on="/emit", request_schema=StreamRequest, response_schema=MatchDocument)
    async def emit(self, doc: StreamRequest, **_: Any) -> AsyncIterator[MatchDocument]:
        """Stream the match Documents of a collection one by one; the last frame tells their number and checksum.

        The request's ``parameters``: those of :class:`finetuner.emission.StreamOptions`, and for a made collection the
        arguments of its generator (:mod:`finetuner.sources`), for a fed one its ``StoredOptions``.
        """
        begin = partial(self._emitter.documents, given(doc.parameters))
        async for document in _emitted(begin, _match_document, MatchDocument, at_once=DOCUMENTS_AT_ONCE):
            yield document

    @requests(on="/pack", request_schema=StreamRequest, response_schema=PackDocument)
    async def pack(self, doc: StreamRequest, **_: Any) -> AsyncIterator[PackDocument]:
        """Stream the match Documents of a collection packed in columns, each content once; the tuner reads this.

        The request's ``parameters``: those of ``/emit``, and those of :class:`finetuner.emission.PackOptions`.
        """
        begin = partial(self._emitter.frames, given(doc.parameters), self._frames)
        async for document in _emitted(begin, _as_it_is, PackDocument):
            yield document

    @requests(on="/export", request_schema=StreamRequest, response_schema=PackDocument)
    async def export(self, doc: StreamRequest, **_: Any) -> AsyncIterator[PackDocument]:
        """Stream everything that was ever fed to a collection: packs, with ``source`` and ``at`` in their tags."""
        async for document in framed(self._feeds(doc.parameters), PackDocument):
            yield document

    @requests(on="/matches", request_schema=DocList[Report], response_schema=DocList[MatchDocument])
    async def matches(
        self, docs: DocList[Report], parameters: dict[str, Any], **_: Any
    ) -> DocList[MatchDocument]:
        """Return the match Documents of a collection in one answer. Parameters: as for ``/emit``."""
        emission = self._emitter.documents(given(parameters))
        documents = await asyncio.to_thread(list, emission)
        return DocList[MatchDocument]([to_wire(document) for document, _ in documents])

    @requests(on="/lint", request_schema=DocList[Report], response_schema=DocList[Report])
    async def lint(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """Return what is doubtful about a collection, as data, and as ``tags['table']`` for people.

        Parameters: those of :class:`finetuner.emission.LintOptions`, and of the collection as for ``/emit``.
        """
        report = await asyncio.to_thread(self._emitter.lint, given(parameters))
        name = str(given(parameters).get("collection", "default"))
        return DocList[Report]([Report(id=name, tags={**report.as_dict(), "table": report.as_table()})])

    @requests(on="/collections", request_schema=DocList[Report], response_schema=DocList[Report])
    async def collections(
        self, docs: DocList[Report], parameters: dict[str, Any], **_: Any
    ) -> DocList[Report]:
        """Return a Report for each collection: what a fed one holds, or what a made one can be asked for."""
        parse(Options, parameters, where="/collections")
        fed = [asdict(info) for info in await asyncio.to_thread(self._store.collections)]
        made = [
            {"name": name, "made": True, "options": list(s.options.__fields__)} for name, s in SOURCES.items()
        ]
        return DocList[Report]([Report(id=tags["name"], tags=tags) for tags in (*made, *fed)])

    @requests(on="/news", request_schema=DocList[Report], response_schema=DocList[Report])
    async def news(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """Return one Report: the newest position of a fed collection, and how many judgements came after another one."""
        options = parse(NewsOptions, parameters, where="/news")
        news = await asyncio.to_thread(self._store.news, options.collection, options.since)
        return DocList[Report]([Report(id=news.name, tags=asdict(news))])

    def close(self) -> None:
        """Close the database."""
        self._store.close()

    async def _feeds(self, parameters: dict[str, Any]) -> AsyncIterator[PackDocument]:
        feeds = self._store.log(parse(CollectionOptions, parameters, where="/export").collection)
        while feed := await asyncio.to_thread(next, feeds, None):
            yield pack_to_wire(feed.pack, {"source": feed.source, "at": feed.at.isoformat()})


async def _emitted(
    begin: Callable[[], Emission[ItemT]],
    wired: Callable[[ItemT, Cursor], TaggedT],
    frame: Callable[..., TaggedT],
    *,
    at_once: int = 1,
) -> AsyncIterator[TaggedT]:
    """Yield the documents of an emission, and the frame that ends them."""
    ended: dict[str, Any] = {}

    async def documents() -> AsyncIterator[TaggedT]:
        emission = begin()
        async for item, cursor in _read(emission, at_once):
            yield wired(item, cursor)
        ended.update(emission.end())

    async for document in framed(documents(), frame, end=lambda: ended):
        yield document


async def _read(emission: Emission[ItemT], at_once: int) -> AsyncIterator[tuple[ItemT, Cursor]]:
    left = iter(emission)
    if emission.is_in_memory:
        for found in left:
            yield found
        return
    # in a thread: reading takes long enough for others to notice
    while portion := await asyncio.to_thread(lambda: list(islice(left, at_once))):
        for found in portion:
            yield found


def _match_document(document: Document, cursor: Cursor) -> MatchDocument:
    wired = to_wire(document)
    wired.tags = {**wired.tags, TAG: {**ours(wired.tags), "cursor": str(cursor)}}
    return wired


def _pack_frame(pack: Pack, cursor: Cursor) -> PackFrame:
    return PackFrame.of(pack, {TAG: {"cursor": str(cursor)}})


def _as_it_is(frame: PackFrame, cursor: Cursor) -> PackDocument:
    return frame
