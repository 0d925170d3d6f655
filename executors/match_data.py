"""MatchDataExecutor: holds match data and emits match Documents."""

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, AsyncIterator  # noqa: UP035  jina knows no other one

from docarray import DocList
from jina import Executor, requests
from pydantic import Field

from executors.documents import (
    MatchDocument,
    PackDocument,
    Report,
    StreamRequest,
    named,
    pack_to_wire,
    to_wire,
)
from executors.parameters import given, parse, refuse_unknown
from executors.streams import framed
from finetuner.documents import ContentKind, Document
from finetuner.errors import MatchDataError, OptionError
from finetuner.packs import packed
from finetuner.settings import OperatorSettings, Options
from finetuner.sources import SOURCES, emit
from finetuner.store import MatchStore


class MatchDataSettings(OperatorSettings):
    """What the operator decides."""

    url: str | None = Field(default=None, description="sqlite:///PATH or the URL of a PostgreSQL database.")


class FeedOptions(Options):
    """Parameters of ``/feed``."""

    collection: str = Field(default="default", description="Where the documents go.")
    source: str = Field(default="client", description="Who judges: a person, a rule, a data set.")


class StoredOptions(Options):
    """Parameters of ``/emit`` and ``/matches`` for a collection that was fed."""

    num_total: int | None = Field(default=None, ge=0, description="Match Documents at most; all by default.")


class PackOptions(Options):
    """Parameters of ``/pack`` beside those of ``/emit``."""

    kind: ContentKind | None = Field(
        default=None, description="text or blob; by default what the first anchor has."
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

    @requests(on="/feed", request_schema=DocList[MatchDocument], response_schema=DocList[Report])
    async def feed(
        self, docs: DocList[MatchDocument], parameters: dict[str, Any], **_: Any
    ) -> DocList[Report]:
        """Store match Documents; when this answers, they are on disk. Feeding them again changes nothing.

        Parameters: see :class:`FeedOptions`. Answers one Report named by the collection, with the counts
        ``documents``, ``contents`` (new ones), ``accepted``, ``known`` and ``contradicted`` (judgements).
        """
        options = parse(FeedOptions, parameters, where="/feed")
        if options.collection in SOURCES:
            raise OptionError(
                f"/feed: collection {options.collection!r} is made from a data set; choose another name"
            )
        if not docs:
            raise MatchDataError("/feed: no document was given; at least one is needed")
        feed = self._store.feed
        report = await asyncio.to_thread(feed, options.collection, named(docs), source=options.source)
        return DocList[Report]([Report(id=options.collection, tags=asdict(report))])

    @requests(on="/emit", request_schema=StreamRequest, response_schema=MatchDocument)
    async def emit(self, doc: StreamRequest, **_: Any) -> AsyncIterator[MatchDocument]:
        """Stream the match Documents of a collection one by one; the last frame tells their number.

        The request's ``parameters``: ``collection``, and for a made one the arguments of its generator
        (:mod:`finetuner.sources`), for a fed one :class:`StoredOptions`.
        """
        async for document in framed(self._stream(doc.parameters), MatchDocument):
            yield document

    @requests(on="/pack", request_schema=StreamRequest, response_schema=PackDocument)
    async def pack(self, doc: StreamRequest, **_: Any) -> AsyncIterator[PackDocument]:
        """Stream the match Documents of a collection packed in columns, each content once; the tuner reads this.

        The request's ``parameters``: those of ``/emit``, and those of :class:`PackOptions`.
        """
        async for document in framed(self._packs(doc.parameters), PackDocument):
            yield document

    @requests(on="/matches", request_schema=DocList[Report], response_schema=DocList[MatchDocument])
    async def matches(
        self, docs: DocList[Report], parameters: dict[str, Any], **_: Any
    ) -> DocList[MatchDocument]:
        """Return the match Documents of a collection in one answer. Parameters: as for ``/emit``."""
        return DocList[MatchDocument]([document async for document in self._stream(parameters)])

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

    def close(self) -> None:
        """Close the database."""
        self._store.close()

    async def _stream(self, parameters: dict[str, Any]) -> AsyncIterator[MatchDocument]:
        for document in self._documents(given(parameters)):
            yield to_wire(document)
            await asyncio.sleep(0)  # other requests go on meanwhile

    async def _packs(self, parameters: dict[str, Any]) -> AsyncIterator[PackDocument]:
        asked = given(parameters)
        own = {name: asked.pop(name) for name in PackOptions.__fields__ if name in asked}
        kind = PackOptions.parse(own, where="/pack").kind
        packs = packed(self._documents(asked), kind=kind)
        # in a thread: making one takes long enough for others to notice
        while pack := await asyncio.to_thread(next, packs, None):
            yield pack_to_wire(pack)

    def _documents(self, parameters: dict[str, Any]) -> Iterator[Document]:
        collection = parameters.pop("collection", "default")
        if collection in SOURCES:
            return emit(collection, parameters)
        options = parse(StoredOptions, parameters, where=f"collection {collection!r}")
        return self._store.documents(collection, limit=options.num_total)
