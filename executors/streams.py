"""Streams that say how they ended.

The last document of every stream is no content: ``tags['finetuner']['end']`` holds how many documents came before
it, the error if the stream broke off, and else what more there is to say of the whole: the checksum of match data, and
the position of its collection. A stream without it was cut. Documents of a stream that can be taken up again carry the
cursor behind them in ``tags['finetuner']['cursor']``.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol, TypeVar

from finetuner.checksums import Checksum
from finetuner.documents import TAG, ours
from finetuner.errors import FinetunerError, StreamError


class Tagged(Protocol):
    """What a streamed document has."""

    tags: dict[str, Any]


TaggedT = TypeVar("TaggedT", bound=Tagged)


async def framed(
    documents: AsyncIterator[TaggedT],
    frame: Callable[..., TaggedT],
    end: Callable[[], Mapping[str, Any]] = dict,
) -> AsyncIterator[TaggedT]:
    """Yield the documents of a stream and then its last frame, which carries a Finetuner error if one came.

    Args:
        documents: The stream.
        frame: Makes the last document from ``id`` and ``tags``.
        end: Tells at the end what else the last frame shall say.
    """
    count = 0
    told: Mapping[str, Any] = {}
    error = None
    try:
        async for document in documents:
            yield document
            count += 1
        told = end()
    except FinetunerError as broken:
        error = {"type": type(broken).__name__, "message": str(broken)}
    yield frame(id="end", tags={TAG: {"end": {"documents": count, "error": error, **told}}})


class Frames:
    """Follows a framed stream to its end.

    Args:
        what: The stream, as messages name it.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._count = 0

    def end(self, document: Tagged) -> dict[str, Any] | None:
        """Return what the last frame says, or None for a document before it.

        Raises:
            StreamError: If the last frame tells of another number of documents than came.
            FinetunerError: The error in the last frame, in its own class.
        """
        end = ours(document.tags).get("end")
        if end is None:
            self._count += 1
            return None
        if end["error"]:
            raise typed(end["error"]["type"], end["error"]["message"])
        if end["documents"] != self._count:
            raise StreamError(f"{self._what}: {self._count} documents came, {end['documents']:g} were sent")
        return dict(end)

    def cut(self) -> StreamError:
        """Return the error for a stream that is over without a last frame."""
        return StreamError(f"{self._what}: the stream was cut after {self._count} documents")


def check_end(checksum: Checksum[Any] | None, end: Mapping[str, Any], *, what: str) -> None:
    """Raise StreamError if the last frame of a stream tells another checksum than that of what came."""
    told = end.get("checksum")
    if checksum is not None and told != checksum.hexdigest():
        raise StreamError(f"{what}: what came has another checksum than what was sent, {told}")


def kinds() -> dict[str, type[FinetunerError]]:
    """Return the classes of errors that travel over the wire, by name."""
    found: list[type[FinetunerError]] = [FinetunerError]
    for kind in found:  # grows while it is walked
        found.extend(kind.__subclasses__())
    return {kind.__name__: kind for kind in found}


def typed(name: str, message: str) -> FinetunerError:
    """Return an error from the wire as the class of that name, or as a FinetunerError if there is none."""
    known = kinds()
    return known[name](message) if name in known else FinetunerError(f"{name}: {message}")
