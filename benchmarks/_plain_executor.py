"""A plain Jina Executor that answers with documents: what a service is without packs."""

from typing import Any

from docarray import DocList
from jina import Executor, requests

from executors.documents import MatchDocument, Report, to_wire
from finetuner.sources import emit


class PlainExecutor(Executor):
    """Holds the match Documents of a made collection in memory, and returns all of them."""

    def __init__(self, collection: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._documents = DocList[MatchDocument](to_wire(one) for one in emit(collection, {}))

    @requests(on="/matches")
    def matches(self, docs: DocList[Report], **_: Any) -> DocList[MatchDocument]:
        """Return all match Documents in one answer."""
        return self._documents
