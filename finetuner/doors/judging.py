"""Rows of a table as judgements, by the roles of its columns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetuner.contents import content_hash
from finetuner.documents import Array
from finetuner.doors.cells import (
    ContentReader,
    Faults,
    label_reader,
    read_column,
    read_id,
    read_weight,
)
from finetuner.doors.portions import Portion
from finetuner.doors.refusals import Refusals
from finetuner.doors.roles import Roles
from finetuner.errors import LabelError

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Judged:
    """J judgements, in the order of their rows.

    Attributes:
        ids: The ids of documents, K; a document may come more than once.
        contents: Their contents; None where the id is all that is known.
        anchors: For each judgement the anchor, a place in ``ids``, int64 (J,).
        matches: The match, in the same way.
        labels: The labels, float64 (J,); NaN for unjudged.
        weights: How much each counts, float64 (J,).
        place: Returns for a number of a judgement where it was.
    """

    ids: Sequence[str]
    contents: Sequence[str | Array | None]
    anchors: Rows
    matches: Rows
    labels: NDArray[np.float64]
    weights: NDArray[np.float64]
    place: Callable[[int], str]


class Judge:
    """Reads portions as judgements; what is wrong with a row refuses it.

    Args:
        roles: The roles of the columns: judgements or triplets.
        refusals: Told what is refused.
        read_label: Reads a label, in place of what the roles say.
    """

    def __init__(
        self, roles: Roles, refusals: Refusals, *, read_label: Callable[[Any], float] | None = None
    ) -> None:
        self._roles = roles
        self._refusals = refusals
        self._read_label = read_label or label_reader(roles)
        self._contents = ContentReader()

    def judged(self, portion: Portion) -> Judged:
        """Return the judgements of a portion.

        Raises:
            LabelError: If refusals raise, and a label or weight is unfit, or a triplet has one content twice.
            ContentError: If refusals raise, and a content or id is unfit.
        """
        roles, faults = self._roles, Faults()
        documents = _Documents(self._contents, portion, faults)
        anchors = documents.add(roles.anchor_id, roles.anchor)
        if roles.shape == "triplets":
            sides = [documents.add(None, roles.positive), documents.add(None, roles.negative)]
            documents.check_apart(*sides)
        else:
            sides = [documents.add(roles.match_id, roles.match)]
        labels = np.tile([1.0, -1.0][: len(sides)], (len(anchors), 1))
        judging = roles.label or roles.score
        if judging is not None:
            labels[:, 0] = self._numbers(portion, judging, self._read_label, faults)
        weights = np.ones(len(anchors))
        if roles.weight is not None:
            weights = self._numbers(portion, roles.weight, read_weight, faults)
        kept = self._kept(portion, faults)
        return Judged(
            ids=documents.ids,
            contents=documents.contents,
            anchors=anchors[kept].repeat(len(sides)),
            matches=np.stack(sides, axis=1)[kept].ravel(),
            labels=labels[kept].ravel(),
            weights=weights[kept].repeat(len(sides)),
            place=lambda number: portion.place(int(kept[number // len(sides)])),
        )

    def _numbers(
        self, portion: Portion, name: str, read: Callable[[Any], float], faults: Faults
    ) -> NDArray[np.float64]:
        column = portion.columns[name]
        return np.array(read_column(column, read, faults, instead=np.nan), np.float64)[column.codes]

    def _kept(self, portion: Portion, faults: Faults) -> Rows:
        """Return the rows without a fault, int64, and refuse the others in their order."""
        for row in sorted(faults):
            self._refusals.refuse(portion.place(row), faults[row])
        kept = np.ones(len(portion.numbers), bool)
        kept[list(faults)] = False
        return np.flatnonzero(kept)


class _Documents:
    """The documents of a portion, from several columns."""

    def __init__(self, reader: ContentReader, portion: Portion, faults: Faults) -> None:
        self._reader = reader
        self._portion = portion
        self._faults = faults
        self.ids: list[str] = []
        self.contents: list[str | Array | None] = []

    def add(self, id_column: str | None, content_column: str | None) -> Rows:
        """Take the documents of two columns, of which one may be missing; return each row's place, int64 (R,)."""
        columns = self._portion.columns
        if content_column is None:
            assert id_column is not None, "roles need one of them"
            ids = self._ids(id_column)
            return self._take(ids, [None] * len(ids), columns[id_column].codes)
        contents = self._contents(content_column)
        codes = columns[content_column].codes
        if id_column is None:
            return self._take([content_hash(content).hex() for content in contents], contents, codes)
        ids = self._ids(id_column)
        pairs, place = np.unique(columns[id_column].codes * len(contents) + codes, return_inverse=True)
        both = [divmod(pair, len(contents)) for pair in pairs.tolist()]
        return self._take([ids[code] for code, _ in both], [contents[code] for _, code in both], place)

    def _ids(self, name: str) -> list[str]:
        read = partial(read_id, what=f"column {name!r}")
        return read_column(self._portion.columns[name], read, self._faults, instead="")

    def _contents(self, name: str) -> Sequence[str | Array]:
        read: Callable[[Any], str | Array] = partial(self._reader.read, what=f"column {name!r}")
        return read_column(self._portion.columns[name], read, self._faults, instead="")

    def _take(self, ids: Sequence[str], contents: Sequence[str | Array | None], codes: Rows) -> Rows:
        places = codes + len(self.ids)
        self.ids += ids
        self.contents += contents
        return places

    def check_apart(self, positives: Rows, negatives: Rows) -> None:
        """Find fault with rows whose positive and negative are the same."""
        pairs = zip(positives.tolist(), negatives.tolist(), strict=True)
        for row, (positive, negative) in enumerate(pairs):
            if self.ids[positive] == self.ids[negative]:
                self._faults.setdefault(row, LabelError("the positive and the negative are the same content"))
