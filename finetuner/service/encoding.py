"""Documents into embeddings and match sets, with the content that the encoder of a service takes."""

from collections.abc import Iterable, Sequence
from typing import Any

from finetuner.checksums import DocumentChecksum
from finetuner.contents import ContentRows
from finetuner.documents import ContentKind, DocumentLike
from finetuner.errors import ContentError
from finetuner.lifecycle import Live
from finetuner.matches import MatchSet, MatchSetBuilder
from finetuner.models import Embeddings, Side


class Encoding:
    """Reads documents as the encoder of a service does.

    Args:
        live: The version that serves.
    """

    def __init__(self, live: Live) -> None:
        self._live = live

    @property
    def kind(self) -> ContentKind:
        """Which content the encoder takes: ``text`` or ``blob``."""
        return self._live.encoder.kind

    def encode(self, documents: Sequence[DocumentLike], side: Side = "document") -> tuple[Embeddings, str]:
        """Return the embeddings of documents, float32 (N, D) in their order, and the version that made them.

        Equal contents are embedded once.

        Args:
            documents: N documents.
            side: What they are embedded as; it matters where a version adapts queries alone.

        Raises:
            ContentError: If there is no document, or one has no fit content.
            EncoderError: If the encoder does not take such contents.
        """
        if not documents:
            raise ContentError("no document was given; at least one is needed")
        contents = ContentRows(self.kind, floats=self._live.encoder.takes_floats)
        rows = [contents.add(document) for document in documents]
        embeddings, version = self._live.embed(contents.finish()[0], side)
        return embeddings[rows], version

    def match_set(self, documents: Iterable[Any]) -> tuple[MatchSet, dict[str, Any]]:
        """Return match Documents as a match set with the content that the encoder takes, and their checksum."""
        builder, checksum = self.builder(), DocumentChecksum()
        for document in documents:
            builder.add(document)
            checksum.add(document)
        return builder.build(), {"collection": None, "checksum": checksum.hexdigest()}

    def builder(self) -> MatchSetBuilder:
        """Return a builder of a match set with the content that the encoder takes."""
        return MatchSetBuilder(self.kind, floats=self._live.encoder.takes_floats)
