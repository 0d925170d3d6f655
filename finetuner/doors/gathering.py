"""Documents and judgements into standalone packs of a bounded size."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from finetuner.documents import Array
from finetuner.doors.judging import Judge, Judged, Rows
from finetuner.doors.portions import Portion
from finetuner.doors.refusals import Refusals
from finetuner.errors import ContentError, SourceError
from finetuner.numbering import numbered
from finetuner.packs import BYTES, MATCHES, Pack

Numbers = NDArray[np.float64]


def packs_of_rows(portions: Iterable[Portion], judge: Judge, refusals: Refusals) -> Iterator[Pack]:
    """Yield the judgements of portions as standalone packs.

    Consecutive rows with the same anchor form one anchor, which a pack ends before if it can.

    Raises:
        SourceError: As the portions do; what was read before is yielded first.
        LabelError: As the judge does.
        ContentError: As the judge does, or if refusals raise, and a pack has another content under an id.
    """
    gatherer = JudgementGatherer(refusals)
    try:
        for portion in portions:
            yield from gatherer.add(judge.judged(portion))
    except SourceError:
        yield from gatherer.rest()
        raise
    yield from gatherer.rest()


class _Carried:
    """The documents of a pack that is being gathered."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.contents: list[str | Array | None] = []
        self.size = 0  # bytes
        self._row_of: dict[str, int] = {}

    def take(self, name: str, content: str | Array | None) -> int:
        """Return the row of a document, -1 if it is there with another content."""
        row = self._row_of.setdefault(name, len(self.ids))
        if row == len(self.ids):
            self.ids.append(name)
            self.contents.append(content)
            self.size += size_of(content)
            return row
        held = self.contents[row]
        if held is None:
            self.contents[row] = content
            self.size += size_of(content)
        elif content is not None and held is not content and not np.array_equal(held, content):
            return -1
        return row


def size_of(content: str | Array | None) -> int:
    """Return the size of a content in bytes, of a text in characters."""
    return len(content) if isinstance(content, str) else 0 if content is None else content.nbytes


def _clash(name: str) -> ContentError:
    return ContentError(f"document {name!r} comes twice with different contents; an id names one content")


class DocumentGatherer:
    """Gathers documents that come without judgements.

    Args:
        refusals: Told what has another content than one of the same id in the same pack.
    """

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals
        self._carried = _Carried()

    def add(self, place: str, name: str, content: str | Array) -> Iterator[Pack]:
        """Take a document; yield a pack if one is full."""
        carried = self._carried
        if len(carried.ids) >= MATCHES or (carried.ids and carried.size + size_of(content) > BYTES):
            yield from self.rest()
        if self._carried.take(name, content) < 0:
            self._refusals.refuse(place, _clash(name))

    def rest(self) -> Iterator[Pack]:
        """Yield what is not yet in a pack."""
        if self._carried.ids:
            yield Pack.of_documents(self._carried.ids, *_columns(self._carried.contents))
        self._carried = _Carried()


class JudgementGatherer:
    """Gathers judgements, with the contents of their documents where those are known.

    Args:
        refusals: Told what has another content than one of the same id in the same pack.
    """

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals
        self._begin()

    def _begin(self) -> None:
        self._carried = _Carried()
        self._count = 0
        self._anchors: list[Rows] = []
        self._matches: list[Rows] = []
        self._labels: list[Numbers] = []
        self._weights: list[Numbers] = []

    def add(self, judged: Judged) -> Iterator[Pack]:
        """Take judgements; yield the packs that are full."""
        start = 0
        while start < len(judged.anchors):
            start += self._take(judged, start)
            if start < len(judged.anchors):
                yield from self._cut(before=judged.ids[judged.anchors[start]])

    def rest(self) -> Iterator[Pack]:
        """Yield what is not yet in a pack."""
        yield from self._cut(before=None)

    def _take(self, judged: Judged, start: int) -> int:
        """Take as many judgements from ``start`` on as there is room for; return how many."""
        end = min(start + MATCHES - self._count, len(judged.anchors))
        both = np.stack([judged.anchors[start:end], judged.matches[start:end]], axis=1)
        row_of = np.full(len(judged.ids), -1, np.int64)
        documents = both.ravel()
        for place in numbered(documents)[0].tolist():
            document = int(documents[place])
            content = judged.contents[document]
            if self._carried.size + size_of(content) > BYTES and (self._count or place > 1):
                end = start + place // 2
                break
            row_of[document] = self._carried.take(judged.ids[document], content)
        both = both[: end - start]
        rows = row_of[both]
        kept = (rows >= 0).all(axis=1)
        if not kept.all():
            clashing = np.where(rows[:, 0] < 0, both[:, 0], both[:, 1])
            self._refuse(judged, start + np.flatnonzero(~kept), clashing[~kept])
        self._anchors.append(rows[kept, 0])
        self._matches.append(rows[kept, 1])
        self._labels.append(judged.labels[start:end][kept])
        self._weights.append(judged.weights[start:end][kept])
        self._count += int(kept.sum())
        return end - start

    def _refuse(self, judged: Judged, judgements: Rows, documents: Rows) -> None:
        # a triplet is two judgements and one row
        clashing = {
            judged.place(judgement): judged.ids[document]
            for judgement, document in zip(judgements.tolist(), documents.tolist(), strict=True)
        }
        for place, name in clashing.items():
            self._refusals.refuse(place, _clash(name))

    def _cut(self, *, before: str | None) -> Iterator[Pack]:
        """Yield what was taken, without an anchor at its end that goes on in the row before which it is cut."""
        carried = self._carried
        if not self._count:
            self._begin()
            return
        anchors, matches = np.concatenate(self._anchors), np.concatenate(self._matches)
        labels, weights = np.concatenate(self._labels), np.concatenate(self._weights)
        starts = np.flatnonzero(np.append(True, anchors[1:] != anchors[:-1]))
        end = len(anchors)
        if before == carried.ids[anchors[-1]] and len(starts) > 1:
            end, starts = int(starts[-1]), starts[:-1]
        yield _pack(carried, starts, anchors[:end], matches[:end], labels[:end], weights[:end])
        self._begin()
        left = Judged(
            carried.ids, carried.contents, anchors[end:], matches[end:], labels[end:], weights[end:], str
        )
        taken = self._take(left, 0)
        assert taken == len(anchors) - end, "a part of a pack fits into a pack"


def _pack(
    carried: _Carried, starts: Rows, anchors: Rows, matches: Rows, labels: Numbers, weights: Numbers
) -> Pack:
    documents = np.stack([anchors, matches], axis=1).ravel()
    used: list[int] = documents[numbered(documents)[0]].tolist()
    used.sort(key=lambda document: carried.contents[document] is None)  # those with content first
    row_of = np.empty(len(carried.ids), np.int64)
    row_of[used] = np.arange(len(used))
    texts, blobs = _columns([carried.contents[document] for document in used])
    return Pack(
        start=0,
        ids=[carried.ids[document] for document in used],
        texts=texts,
        blobs=blobs,
        anchors=row_of[anchors[starts]],
        offsets=np.append(starts, len(anchors)),
        matches=row_of[matches],
        labels=labels,
        weights=None if (weights == 1).all() else weights,
    )


def _columns(contents: Sequence[str | Array | None]) -> tuple[list[str] | None, Array | None]:
    """Return contents as texts or as one array; all are of one kind."""
    texts = [content for content in contents if isinstance(content, str)]
    arrays = [content for content in contents if isinstance(content, np.ndarray)]
    return texts or None, np.array(arrays) if arrays else None
