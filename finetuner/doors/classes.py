"""Contents with class labels: those of one class match, those of different classes do not.

The judgements of n contents would be n², so of each anchor a few are drawn. First the contents are read and yielded;
28 bytes of each row stay in memory. Then the judgements are drawn and yielded, by ids alone.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetuner.contents import content_hash
from finetuner.documents import Array
from finetuner.doors.cells import ContentReader, Faults, read_column, read_id
from finetuner.doors.gathering import DocumentGatherer, JudgementGatherer
from finetuner.doors.judging import Judged, Rows
from finetuner.doors.portions import Portion
from finetuner.doors.refusals import Refusals
from finetuner.doors.roles import Roles
from finetuner.errors import LabelError, SourceError
from finetuner.packs import MATCHES, Pack


def packs_of_classes(portions: Iterable[Portion], roles: Roles, refusals: Refusals) -> Iterator[Pack]:
    """Yield contents, and then judgements that are drawn by their classes, as standalone packs.

    A content without a class is yielded and not judged. One that comes again counts once; with another class it is
    refused.

    Args:
        portions: The rows.
        roles: The columns of content and class, how many matches each anchor has, and the seed.
        refusals: Told what is refused.

    Raises:
        SourceError: As the portions do; the contents that were read before are yielded first, and nothing is judged.
        ContentError: If refusals raise, and a content is unfit.
        LabelError: If refusals raise, and a class is unfit or contradicts another.
    """
    rows = _ClassedRows(roles, refusals)
    gatherer = DocumentGatherer(refusals)
    try:
        for portion in portions:
            for place, name, content in rows.read(portion):
                yield from gatherer.add(place, name, content)
    except SourceError:
        yield from gatherer.rest()
        raise
    yield from gatherer.rest()
    yield from _judged(rows.contents(), roles, refusals)


class _ClassedRows:
    """Remembers of each row the hash of its content and its class."""

    def __init__(self, roles: Roles, refusals: Refusals) -> None:
        self._roles = roles
        self._refusals = refusals
        self._reader = ContentReader()
        self._names: dict[str, int] = {}
        self._where = ""
        self._hashes = bytearray()  # 16 bytes a row
        self._classes = array("i")
        self._numbers = array("q")

    def read(self, portion: Portion) -> Iterator[tuple[str, str, str | Array]]:
        """Yield place, id and content of the documents of a portion."""
        roles, faults = self._roles, Faults()
        content, class_column = (
            portion.columns[roles.content or ""],
            portion.columns[roles.class_column or ""],
        )
        read: Callable[[Any], str | Array] = partial(self._reader.read, what=f"column {roles.content!r}")
        contents: list[str | Array] = read_column(content, read, faults, instead="")
        codes = read_column(class_column, self._read_class, faults, instead=-1)
        classes = np.array(codes, np.int64)[class_column.codes]
        hashes = np.array([list(content_hash(one)) for one in contents], np.uint8)
        for row in sorted(faults):
            self._refusals.refuse(portion.place(row), faults[row])
        kept = np.setdiff1d(np.arange(len(classes)), list(faults))
        distinct, first = np.unique(content.codes[kept], return_index=True)
        for code, row in zip(distinct.tolist(), kept[first].tolist(), strict=True):
            yield portion.place(row), hashes[code].tobytes().hex(), contents[code]
        kept = kept[classes[kept] >= 0]
        self._where = portion.where
        self._hashes += hashes[content.codes[kept]].tobytes()
        self._classes.extend(classes[kept].tolist())
        self._numbers.extend(portion.numbers[row] for row in kept.tolist())

    def _read_class(self, value: Any) -> int:
        if value is None or value == "":
            return -1
        if isinstance(value, bool):
            value = str(value).lower()
        return self._names.setdefault(read_id(value, what="the class"), len(self._names))

    def contents(self) -> "_ClassedContents":
        """Return the distinct contents with their classes, in the order of their first rows."""
        hashes = np.frombuffer(bytes(self._hashes), np.uint64).reshape(-1, 2)
        classes = np.array(self._classes, np.int64)
        order = np.lexsort(hashes.T)  # equal contents stand together, each in the order of rows
        is_first = np.append(True, (np.diff(hashes[order], axis=0) != 0).any(axis=1))[: len(order)]
        first_of = order[is_first][np.cumsum(is_first) - 1]
        differ = classes[order] != classes[first_of]
        for row, first in sorted(zip(order[differ].tolist(), first_of[differ].tolist(), strict=True)):
            self._refuse(row, first)
        firsts = np.sort(order[is_first])
        return _ClassedContents(hashes[firsts], classes[firsts])

    def _refuse(self, row: int, first: int) -> None:
        names = list(self._names)
        this, other = names[self._classes[row]], names[self._classes[first]]
        reason = (
            f"class {this!r}, but the same content has class {other!r} in {self._where}{self._numbers[first]}"
        )
        self._refusals.refuse(f"{self._where}{self._numbers[row]}", LabelError(reason))


class _ClassedContents:
    """Distinct contents with their classes.

    Args:
        hashes: Their hashes, two halves each, uint64 (D, 2).
        classes: Their classes, int64 (D,).
    """

    def __init__(self, hashes: NDArray[np.uint64], classes: Rows) -> None:
        self.hashes = hashes
        self._by_class = np.argsort(classes, kind="stable")
        self._place_of = np.empty_like(self._by_class)
        self._place_of[self._by_class] = np.arange(len(classes))
        in_order = classes[self._by_class]
        self._starts = np.searchsorted(in_order, classes)
        self._ends = np.searchsorted(in_order, classes, side="right")

    def id_of(self, content: int) -> str:
        """Return the id of a content."""
        data: bytes = self.hashes[content].tobytes()
        return data.hex()

    def draw(self, anchor: int, roles: Roles) -> tuple[Rows, Rows]:
        """Return contents of an anchor's own class, and of others; all there are, where those are too few.

        They depend on the seed, on the anchor's content, and on which contents there are.
        """
        start, end = self._starts[anchor], self._ends[anchor]
        random = np.random.default_rng((roles.seed, *self.hashes[anchor].tolist()))
        there = end - start - 1
        alike = random.choice(there, min(roles.num_pos, there), replace=False)
        alike += alike >= self._place_of[anchor] - start  # the anchor itself is passed over
        there = len(self.hashes) - (end - start)
        unlike = random.choice(there, min(roles.num_neg, there), replace=False)
        unlike += (unlike >= start) * (end - start)  # its class is passed over
        return self._by_class[start + alike], self._by_class[unlike]


def _judged(contents: _ClassedContents, roles: Roles, refusals: Refusals) -> Iterator[Pack]:
    gatherer = JudgementGatherer(refusals)
    at_once = MATCHES // (roles.num_pos + roles.num_neg + 1) + 1
    for start in range(0, len(contents.hashes), at_once):
        anchors = np.arange(start, min(start + at_once, len(contents.hashes)))
        drawn = [side for anchor in anchors.tolist() for side in contents.draw(anchor, roles)]
        counts = [len(side) for side in drawn]
        matches = np.concatenate(drawn)
        used, place = np.unique(
            np.append(np.repeat(np.repeat(anchors, 2), counts), matches), return_inverse=True
        )
        yield from gatherer.add(
            Judged(
                ids=[contents.id_of(content) for content in used.tolist()],
                contents=[None] * len(used),
                anchors=place[: len(matches)],
                matches=place[len(matches) :],
                labels=np.repeat(np.tile([1.0, -1.0], len(anchors)), counts),
                weights=np.ones(len(matches)),
                place=str,
            )
        )
    yield from gatherer.rest()
