"""What all endpoints of the tuner share: the service, and match data from where it is."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from docarray import DocList
from jina import Executor
from pydantic import Field, validator

from executors.client import FlowClient, PackStream
from executors.documents import MatchDocument, Report, named
from finetuner.errors import OptionError, StreamError
from finetuner.matches import MatchSet, MatchSetBuilder, Rows
from finetuner.packs import Pack
from finetuner.service import TuningService
from finetuner.settings import Options

NoteTags = Callable[[Rows, Sequence[str] | None], None]


class DataOptions(Options):
    """Where match data comes from if not with the request."""

    collection: str | None = Field(default=None, description="A collection of the data Executor.")
    emit: dict[str, Any] = Field(
        default_factory=dict,
        description="Parameters of its /pack, but for collection, kind, tags and cursor.",
    )

    @validator("emit")
    def _leave_ours(cls, emit: dict[str, Any]) -> dict[str, Any]:
        ours = sorted({"collection", "kind", "tags", "cursor"} & emit.keys())
        if ours:
            raise ValueError(f"{ours[0]} is not for the request to say; name the collection beside emit")
        return emit


class TunerEndpoints(Executor):
    """An Executor around a service; what has endpoints is derived from it."""

    _service: TuningService
    _match_data: str | None

    def check_one_source(self, where: str, docs: DocList[MatchDocument], options: DataOptions) -> None:
        """Raise OptionError unless a request brings documents or names a collection that can be pulled."""
        if bool(docs) == bool(options.collection):
            raise OptionError(f"{where}: give either documents or the name of a collection")
        if options.collection and not self._match_data:
            raise OptionError(
                f"{where}: this Executor knows no data Executor to pull {options.collection!r} from; "
                "start it with match_data=grpc://HOST:PORT, or send the documents"
            )

    async def data(
        self, where: str, docs: DocList[MatchDocument], options: DataOptions
    ) -> tuple[MatchSet, dict[str, Any]]:
        """Return the match data of a request, its documents or the collection that it names, and what exactly it is."""
        self.check_one_source(where, docs, options)
        if docs:
            return await asyncio.to_thread(self._service.encoding.match_set, named(docs))
        return await asyncio.to_thread(self.pull, options)

    def pull(self, options: DataOptions) -> tuple[MatchSet, dict[str, Any]]:
        """Return a collection of the data Executor as a match set, and what exactly it was."""
        builder, snapshot = self.pulled(str(options.collection), options.emit)
        return builder.build(), snapshot

    def pulled(
        self, collection: str, emit: Mapping[str, Any], note: NoteTags | None = None
    ) -> tuple[MatchSetBuilder, dict[str, Any]]:
        """Return what a collection of the data Executor emits, perhaps nothing, and what exactly it was.

        Args:
            collection: Its name.
            emit: Parameters of ``/pack``.
            note: Receives the rows of anchors and their tags as JSON, pack by pack.

        Raises:
            MatchDataError: If it cannot be pulled.
            OptionError: If the data Executor does not take the parameters.
        """
        builder = self._service.encoding.builder()

        def take(pack: Pack) -> None:
            rows = builder.extend(pack)
            if note is not None:
                note(rows, pack.anchor_tags)

        return builder, self.read(collection, emit, take)

    def read(self, collection: str, emit: Mapping[str, Any], take: Callable[[Pack], None]) -> dict[str, Any]:
        """Give each pack of a collection to somebody, and return what exactly they were; see :meth:`pulled`."""
        asked = {**emit, "collection": collection, "kind": self._service.encoding.kind}
        packs = PackStream(FlowClient(str(self._match_data)), asked)
        try:
            for pack in packs:
                take(pack)
        except ConnectionError as error:
            raise StreamError(
                f"{collection!r} cannot be pulled from {self._match_data}: {str(error).removesuffix('None').strip()}"
            ) from error
        return packs.snapshot


def reports(found: list[dict[str, Any]], name: str) -> DocList[Report]:
    """Return what was found, each as the tags of a Report whose id is under ``name``."""
    return DocList[Report]([Report(id=one[name], tags=one) for one in found])
