"""Emission: match data as a stream, document by document or packed, made or stored, that can be taken up again."""

from collections.abc import Hashable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from finetuner.checksums import DocumentChecksum, PackChecksum
from finetuner.contents import content_hash
from finetuner.documents import ContentKind, Document, content_kind, content_of
from finetuner.emission.cache import FrameCache, FrameT
from finetuner.emission.options import DataOptions, LintOptions, PackOptions, StoredOptions, StreamOptions
from finetuner.emission.stream import Cursor, Emission, Summed
from finetuner.errors import OptionError
from finetuner.lint import LintReport, lint
from finetuner.packing import packed, unpacked
from finetuner.packs import Pack
from finetuner.sources import SOURCES, emit
from finetuner.store import MatchStore

__all__ = [
    "DOCUMENTS_AT_ONCE",
    "Cursor",
    "Emission",
    "Emitter",
    "FrameCache",
    "LintOptions",
    "PackOptions",
    "StoredOptions",
    "StreamOptions",
]

DOCUMENTS_AT_ONCE = 32
"""Anchors that are read together when documents are emitted one by one."""

OptionsT = TypeVar("OptionsT", bound=DataOptions)


class Emitter:
    """Emits collections: those of a store, and those that are made.

    Args:
        store: Holds the collections that were fed.
    """

    def __init__(self, store: MatchStore) -> None:
        self._store = store

    def packs(self, parameters: Mapping[str, Any]) -> Emission[Pack]:
        """Return a collection as packs, each content once.

        Args:
            parameters: Those of :class:`PackOptions`, and those of the collection: of its source in
                :mod:`finetuner.sources` if it is made, else of :class:`StoredOptions`.

        Raises:
            OptionError: If a parameter is unknown, ill-typed or out of range.
            UnknownCollectionError: If there is no such collection.
        """
        stream, cursor, _ = self._packs(*_parted(PackOptions, parameters, where="/pack"))
        return Emission(stream, cursor)

    def frames(self, parameters: Mapping[str, Any], cache: FrameCache[FrameT]) -> Emission[FrameT]:
        """Return a collection as the frames that a cache makes of packs; one that was fed is kept there.

        Parameters and errors are those of :meth:`packs`.
        """
        stream, cursor, key = self._packs(*_parted(PackOptions, parameters, where="/pack"))
        return Emission(cache.stream(key, stream), cursor)

    def documents(self, parameters: Mapping[str, Any]) -> Emission[Document]:
        """Return a collection document by document; parameters and errors are those of :meth:`packs`."""
        options, own = _parted(StreamOptions, parameters, where="/emit")
        if options.collection in SOURCES:
            made = Summed(_made(options, own, None), DocumentChecksum(), 0)
            return Emission(made, _cursor(options, made=True))
        position, limit = self._place(options, own)
        packs = self._stored(options, position, limit, tags=True, standalone=True, anchors=DOCUMENTS_AT_ONCE)
        return Emission(Summed(unpacked(packs), DocumentChecksum(), position), _cursor(options))

    def lint(self, parameters: Mapping[str, Any]) -> LintReport:
        """Return what is doubtful about a collection.

        Args:
            parameters: Those of :class:`LintOptions`, and those of the collection, as for :meth:`packs`.

        Raises:
            OptionError: As :meth:`packs`.
            UnknownCollectionError: As :meth:`packs`.
        """
        options, own = _parted(LintOptions, parameters, where="/lint")
        made = options.collection in SOURCES
        packs, _, _ = self._packs(PackOptions(**options.dict()), own)
        return lint(
            (pack for pack, _ in packs),
            validation=options.validation,
            holdout=options.holdout,
            seed=options.split_seed,
            contradictions=None if made else self._store.contradictions(options.collection),
        )

    def _packs(
        self, options: PackOptions, own: Mapping[str, Any]
    ) -> tuple[Summed[Pack], Cursor | None, Hashable]:
        """Return all of a stream, where its reader is, and what names it as long as its data is the same."""
        if options.collection in SOURCES:
            packs = packed(_made(options, own, options.kind), kind=options.kind)
            return Summed(packs, PackChecksum(), 0), _cursor(options, made=True), None
        position, limit = self._place(options, own)
        read = self._stored(options, position, limit, kind=options.kind, tags=options.tags)
        key = (self._store.generation(options.collection), position, limit, options.json(exclude={"cursor"}))
        return Summed(read, PackChecksum(), position), _cursor(options), key

    def _place(self, options: StreamOptions, own: Mapping[str, Any]) -> tuple[int, int | None]:
        """Return the position of a stored collection up to which to read, and how many anchors at most."""
        limit = StoredOptions.parse(own, where=f"collection {options.collection!r}").num_total
        begun = _cursor(options)
        if options.position is not None:
            return options.position, limit
        return self._store.position(options.collection) if begun is None else begun.position, limit

    def _stored(
        self, options: StreamOptions, position: int, limit: int | None, **reading: Any
    ) -> Iterator[Pack]:
        return self._store.packs(
            options.collection,
            position=position,
            shard=(options.shard, options.shards),
            chosen=options.chosen if options.split else None,
            limit=limit,
            **reading,
        )


def _parted(
    kind: type[OptionsT], parameters: Mapping[str, Any], *, where: str
) -> tuple[OptionsT, dict[str, Any]]:
    """Return the options of the stream, and the parameters that are left for the collection."""
    mine = {name: value for name, value in parameters.items() if name in kind.__fields__}
    return kind.parse(mine, where=where), {name: parameters[name] for name in parameters.keys() - mine.keys()}


def _cursor(options: StreamOptions, *, made: bool = False) -> Cursor | None:
    if made and options.position is not None:
        raise OptionError(
            f"collection {options.collection!r} is made and has no positions; leave position out"
        )
    return None if options.cursor is None else Cursor.parse(options.cursor)


def _made(options: StreamOptions, own: Mapping[str, Any], kind: ContentKind | None) -> Iterator[Document]:
    made = islice(emit(options.collection, own), options.shard, None, options.shards)
    if options.split is None:
        return made
    return (document for document in made if options.chosen(_hash(document, kind))[0])


def _hash(document: Document, kind: ContentKind | None) -> NDArray[np.uint8]:
    content = content_of(document, kind or content_kind(document))
    return np.frombuffer(content_hash(content), np.uint8)[None]
