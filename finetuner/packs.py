"""Match Documents in columns, a portion at a time: how many of them travel.

Document by document, an image is sent again with every anchor that it matches. In packs each content is sent once,
and a judgement is two integers and a number.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from finetuner.contents import Alike, Contents
from finetuner.documents import (
    Array,
    ContentKind,
    DocumentLike,
    MatchDocumentLike,
    content_kind,
    content_of,
    label_of,
)

ANCHORS = 256
"""Anchors in a pack; with images of 28 x 28 pixels and 20 matches each it holds up to 17 MB, and mostly far less."""


@dataclass(frozen=True)
class Pack:
    """A portion of a stream of match Documents. Rows count the contents of the whole stream, in their order.

    Attributes:
        contents: The contents that no earlier pack had: K texts, or an array (K, ...).
        ids: Their documents' ids, K.
        anchors: Rows of the anchors, int64 (A,).
        offsets: Matches ``offsets[i]:offsets[i + 1]`` are those of anchor i, int64 (A + 1,).
        matches: Rows of the matches, int64 (M,).
        labels: Their labels, float32 (M,); NaN where nobody judged.
    """

    contents: Contents
    ids: list[str]
    anchors: NDArray[np.int64]
    offsets: NDArray[np.int64]
    matches: NDArray[np.int64]
    labels: NDArray[np.float32]


def packed(
    documents: Iterable[MatchDocumentLike], *, kind: ContentKind | None = None, anchors: int = ANCHORS
) -> Iterator[Pack]:
    """Yield match Documents as packs.

    Args:
        documents: Anchors with matches. In a stream an id stands for one content, as it does in a collection.
        kind: Which content to take; by default the first anchor decides, and an array goes before a text.
        anchors: Anchors in a pack; the last one may have fewer.

    Raises:
        ContentError: If a document lacks that content.
        LabelError: If a label is no number.
    """
    left = iter(documents)
    first = next(left, None)
    if first is None:
        return
    stream = _Stream(kind or content_kind(first))
    every = chain([first], left)
    while portion := list(islice(every, anchors)):
        yield stream.pack(portion)


class _Stream:
    def __init__(self, kind: ContentKind) -> None:
        self._kind = kind
        self._row_of: dict[str, int] = {}
        self._alike = Alike()

    def pack(self, documents: Sequence[MatchDocumentLike]) -> Pack:
        contents: list[str | Array] = []
        ids: list[str] = []

        def row(document: DocumentLike) -> int:
            document_id = str(document.id)
            if document_id not in self._row_of:
                content = content_of(document, self._kind)
                self._alike.check(content, document_id)
                contents.append(content)
                ids.append(document_id)
                self._row_of[document_id] = len(self._row_of)
            return self._row_of[document_id]

        anchors: list[int] = []
        offsets, matches, labels = [0], [], []
        for document in documents:
            anchors.append(row(document))
            for match in document.matches:
                label = label_of(match)
                matches.append(row(match))
                labels.append(np.nan if label is None else label)
            offsets.append(len(matches))
        return Pack(
            contents=[str(one) for one in contents] if self._kind == "text" else np.array(contents),
            ids=ids,
            anchors=np.array(anchors, np.int64),
            offsets=np.array(offsets, np.int64),
            matches=np.array(matches, np.int64),
            labels=np.array(labels, np.float32),
        )
