"""Sources: match data that is made from bundled or downloaded files.

:data:`SOURCES` knows them by the name of their collection; :func:`emit` is what a service calls.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from finetuner.documents import Document
from finetuner.errors import UnknownCollectionError
from finetuner.settings import Options
from finetuner.sources import covid_qa, fashion_mnist
from finetuner.sources.covid_qa import CovidQaOptions
from finetuner.sources.fashion_mnist import FashionMnistOptions

__all__ = ["SOURCES", "CovidQaOptions", "FashionMnistOptions", "Source", "emit"]

Accepted = TypeVar("Accepted", bound=Options)
AcceptedBy = TypeVar("AcceptedBy", bound=Options, contravariant=True)


class Maker(Protocol[AcceptedBy]):
    """What makes match Documents; it raises at the call what is wrong, not at the first document."""

    def __call__(self, options: AcceptedBy, *, folder: Path | None = None) -> Iterator[Document]:
        """Return match Documents, one by one, from the files in a folder."""
        ...


@dataclass(frozen=True)
class Source(Generic[Accepted]):
    """A collection that is made, not stored.

    Attributes:
        options: What it can be asked for.
        match_documents: Makes its documents.
    """

    options: type[Accepted]
    match_documents: Maker[Accepted]

    def emit(self, given: Mapping[str, Any], *, where: str, folder: Path | None) -> Iterator[Document]:
        """Check options as they came, and return match Documents, one by one."""
        return self.match_documents(self.options.parse(given, where=where), folder=folder)


SOURCES: Mapping[str, Source[FashionMnistOptions] | Source[CovidQaOptions]] = {
    fashion_mnist.NAME: Source(FashionMnistOptions, fashion_mnist.match_documents),
    covid_qa.NAME: Source(CovidQaOptions, covid_qa.match_documents),
}
"""The known collections by name."""


def emit(name: str, parameters: Mapping[str, Any], *, folder: Path | None = None) -> Iterator[Document]:
    """Return the match Documents of a collection, one by one.

    Args:
        name: A name in :data:`SOURCES`.
        parameters: Options of the source, as they came from outside.
        folder: Where its files are; see :func:`finetuner.sources.folders.source_folder`.

    Raises:
        UnknownCollectionError: If there is no such source.
        OptionError: If a parameter is unknown, ill-typed or out of range, or asks for more than there is.
        SourceError: If its files are missing or damaged.
    """
    if name not in SOURCES:
        raise UnknownCollectionError(
            f"there is no collection {name!r} to make; known are {', '.join(sorted(SOURCES))}"
        )
    return SOURCES[name].emit(parameters, where=f"collection {name!r}", folder=folder)
