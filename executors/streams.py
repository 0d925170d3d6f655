"""Streams that say how they ended.

The last document of every stream is no content: ``tags['finetuner']['end']`` holds how many documents came before
it and, if the stream broke off, the error. A stream without it was cut.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol, TypeVar

from finetuner.documents import TAG, ours
from finetuner.errors import FinetunerError, StreamError


class Tagged(Protocol):
    """What a streamed document has."""

    tags: dict[str, Any]


TaggedT = TypeVar("TaggedT", bound=Tagged)


async def framed(documents: AsyncIterator[TaggedT], frame: Callable[..., TaggedT]) -> AsyncIterator[TaggedT]:
    """Yield the documents of a stream and then its last frame, which carries a Finetuner error if one came.

    Args:
        documents: The stream.
        frame: Makes the last document from ``id`` and ``tags``.
    """
    count = 0
    error = None
    try:
        async for document in documents:
            yield document
            count += 1
    except FinetunerError as broken:
        error = {"type": type(broken).__name__, "message": str(broken)}
    yield frame(id="end", tags={TAG: {"end": {"documents": count, "error": error}}})


async def unframed(documents: AsyncIterator[TaggedT], *, what: str) -> AsyncIterator[TaggedT]:
    """Yield the documents of a framed stream without its last frame.

    Raises:
        StreamError: If there is no last frame, or it tells of another number of documents.
        FinetunerError: The error in the last frame, in its own class.
    """
    count = 0
    async for document in documents:
        end = ours(document.tags).get("end")
        if end is None:
            count += 1
            yield document
            continue
        if end["error"]:
            raise typed(end["error"]["type"], end["error"]["message"])
        if end["documents"] != count:
            raise StreamError(f"{what}: {count} documents came, {end['documents']} were sent")
        return
    raise StreamError(f"{what}: the stream was cut after {count} documents")


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
