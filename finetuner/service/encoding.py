"""Documents into embeddings and match sets, with the content that the encoder of a service takes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from finetuner.checksums import DocumentChecksum
from finetuner.contents import ContentRows
from finetuner.documents import ContentKind, DocumentLike
from finetuner.errors import ContentError
from finetuner.lifecycle import Live
from finetuner.matches import MatchSet, MatchSetBuilder
from finetuner.models import Embeddings, Side
from finetuner.service.collected import Collected


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

    def encode(
        self, documents: Sequence[DocumentLike], side: Side = "document", version: str | None = None
    ) -> tuple[Embeddings, str]:
        """Return the embeddings of documents, float32 (N, D) in their order, and the version that made them.

        Equal contents are embedded once.

        Args:
            documents: N documents.
            side: What they are embedded as; it matters where a version adapts queries alone.
            version: A version that is warm, or base; active, as None, is the one that serves.

        Raises:
            ContentError: If there is no document, or one has no fit content.
            NotWarmError: If that version is not loaded.
            EncoderError: If the encoder does not take such contents.
        """
        if not documents:
            raise ContentError("no document was given; at least one is needed")
        contents = ContentRows(self.kind, floats=self._live.encoder.takes_floats)
        rows = [contents.add(document) for document in documents]
        embeddings, made_by = self._live.embed(contents.finish()[0], side, version)
        return embeddings[rows], made_by

    def match_set(
        self, documents: Iterable[Any], note: Callable[[int, Mapping[str, Any]], None] | None = None
    ) -> tuple[MatchSet, dict[str, Any]]:
        """Return match Documents as a match set with the content that the encoder takes, and their checksum.

        Args:
            documents: The match Documents.
            note: Receives the row of each anchor, and its tags.
        """
        builder, checksum = self.builder(), DocumentChecksum()
        for document in documents:
            row = builder.add(document)
            checksum.add(document)
            if note is not None:
                note(row, document.tags)
        return builder.build(), {"collection": None, "checksum": checksum.hexdigest()}

    def builder(self) -> MatchSetBuilder:
        """Return a builder of a match set with the content that the encoder takes."""
        return MatchSetBuilder(self.kind, floats=self._live.encoder.takes_floats)

    def collected(self, *, anchors: bool) -> Collected:
        """Return what gathers documents by id, with the content that the encoder takes; see :class:`Collected`."""
        return Collected(self.kind, floats=self._live.encoder.takes_floats, anchors=anchors)
