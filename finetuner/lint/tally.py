"""One pass over packs: what a report needs of them, and nothing for each judgement."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from finetuner.contents import Alike, Contents
from finetuner.documents import ContentKind
from finetuner.errors import ContentError
from finetuner.lint.columns import Column, Rows
from finetuner.lint.known import ANCHOR, JUDGED, Different, Documents, Shares
from finetuner.lint.near import is_fuzzy, near, salted
from finetuner.packs import Pack

Mask = NDArray[np.bool_]

EXAMPLES = 5
"""Examples that are kept of a finding."""

LABELS = 1000
"""Different label values that are counted one by one."""


class Kept:
    """Judgements of one sort: how many, and the first few as the documents in them."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[tuple[int, ...]] = []

    def add(self, places: Rows, *columns: Rows) -> None:
        """Count judgements at some places of columns of documents."""
        self.count += len(places)
        for place in places[: EXAMPLES - len(self.first)]:
            self.first.append(tuple(int(column[place]) for column in columns))


class Tally:
    """Takes packs in and keeps what a report needs.

    Args:
        shares: How the anchors would be split.
        kind: Which content to look at; None for what the first pack with contents has, an array before a text.

    Attributes:
        documents: What is known of each document.
        contents: What is known of each content.
        labels: How often each label value comes; None once there are too many values.
        counts: Matches, by what their labels are.
        selves: Matches that are their anchor, as (anchor, match).
        zeros: Labels of 0, as (anchor, match).
        both_ways: Positives to which a negative of the same anchor is near, as (anchor, positive, negative).
    """

    def __init__(self, shares: Shares, kind: ContentKind | None) -> None:
        self.documents = Documents()
        self.contents = Different(shares)
        self.labels: Counter[float] | None = Counter()
        self.counts: Counter[str] = Counter()
        self.selves, self.zeros, self.both_ways = Kept(), Kept(), Kept()
        self._kind = kind
        self._alike = Alike()
        self._rows = Column(np.int32)  # the document of each row of the stream

    def take(self, pack: Pack) -> None:
        """Take in the next pack.

        Raises:
            ContentError: If its documents lack the kind of content that is looked at, or its arrays differ in shape
                or dtype from the first one.
        """
        documents = self.documents.add(pack.ids)
        if pack.carried:
            self.documents.carry(documents[: pack.carried], self.contents.add(self._chosen(pack)))
        self._rows.cut(pack.start)
        self._rows.extend(documents)
        anchors = self._rows.values[pack.anchors].astype(np.int64)
        self.documents.flags.values[anchors] |= ANCHOR
        if len(pack.matches):
            owners = np.repeat(anchors, np.diff(pack.offsets))
            self._judge(owners, self._rows.values[pack.matches].astype(np.int64), pack.labels)

    def _chosen(self, pack: Pack) -> Contents:
        if self._kind is None:
            self._kind = "text" if pack.blobs is None else "blob"
        contents = pack.texts if self._kind == "text" else pack.blobs
        if contents is None:
            raise ContentError(f"document {pack.ids[0]!r} has no .{self._kind}, which is needed here")
        if not isinstance(contents, np.ndarray):
            return list(contents)
        if self._alike.first is not None and is_fuzzy(self._alike.first[None]):
            contents = contents.astype(np.float32, copy=False)  # as the store takes them
        self._alike.check(contents[0], pack.ids[0])
        return contents

    def _judge(self, owners: Rows, matches: Rows, labels: NDArray[np.float64]) -> None:
        content = self.documents.content.values
        itself = (owners == matches) | ((content[owners] == content[matches]) & (content[matches] >= 0))
        judged, positive, negative = ~np.isnan(labels), labels > 0, labels < 0
        self._count(labels[judged], unjudged=int((~judged).sum()))
        self.selves.add(np.flatnonzero(itself), owners, matches)
        self.zeros.add(np.flatnonzero(labels == 0), owners, matches)
        np.add.at(self.documents.matches.values, owners, 1)
        np.add.at(self.documents.positive.values, owners[positive & ~itself], 1)
        np.add.at(self.documents.negative.values, owners[negative & ~itself], 1)
        self.documents.flags.values[matches[judged]] |= JUDGED
        known = content[matches] >= 0
        self._see(owners, matches, judged & known & (content[owners] >= 0))
        self._compare(owners, matches, positive & known & ~itself, negative & known & ~itself)

    def _count(self, labels: NDArray[np.float64], *, unjudged: int) -> None:
        positive, negative = int((labels > 0).sum()), int((labels < 0).sum())
        zero = len(labels) - positive - negative
        self.counts.update(positive=positive, negative=negative, zero=zero, unjudged=unjudged)
        if self.labels is not None:
            values, counts = np.unique(labels + 0.0, return_counts=True)  # -0.0 becomes 0.0
            self.labels.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
            if len(self.labels) > LABELS:
                self.labels = None

    def _see(self, owners: Rows, matches: Rows, judged: Mask) -> None:
        content = self.documents.content.values
        owners, seen = owners[judged], content[matches[judged]]
        training = self.contents.sides.values[content[owners]] == 0
        self.contents.seen_by.values[seen[training]] = owners[training]

    def _compare(self, owners: Rows, matches: Rows, positive: Mask, negative: Mask) -> None:
        ours, theirs = np.flatnonzero(positive), np.flatnonzero(negative)
        signatures, content = self.contents.signatures.values, self.documents.content.values
        asked, known = (salted(signatures[content[matches[rows]]], owners[rows]) for rows in (ours, theirs))
        found = near(asked, known, fuzzy=self.contents.is_fuzzy)
        places = np.flatnonzero(found >= 0)
        negatives = matches[theirs[found[places]]]
        self.both_ways.add(np.arange(len(places)), owners[ours[places]], matches[ours[places]], negatives)
