"""Match data in columns: every content once, and judgements as integers.

Sixty thousand anchors with twenty inline matches are 4 GB of repeated images as documents, and 200 MB, judgements
included, as a :class:`MatchSet`. Nothing in the library loops over documents once a MatchSet is built.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetuner.contents import ContentRows, Contents, load_contents, save_contents
from finetuner.documents import ContentKind, MatchDocumentLike, content_kind, label_of, weight_of
from finetuner.errors import ContentError, LabelError, MatchDataError, SourceError
from finetuner.judgements import Judgements
from finetuner.pack_checks import check_follows
from finetuner.packs import Pack
from finetuner.splits import chosen, sides

Rows = NDArray[np.int64]
Labels = NDArray[np.float32]


@dataclass(frozen=True)
class Findings:
    """What a builder met and how it was settled.

    Attributes:
        documents: Match Documents read.
        merged_anchors: Anchors whose content an earlier anchor had; their matches were joined.
        self_matches: Matches with the content of their own anchor; dropped, since they teach nothing.
        repeated: Judgements that were there already with the same label.
        contradicted: Judgements that were there with another label; the later one holds.
        unjudged: Matches without a label; they belong to the corpus and are neither positive nor negative.
    """

    documents: int = 0
    merged_anchors: int = 0
    self_matches: int = 0
    repeated: int = 0
    contradicted: int = 0
    unjudged: int = 0


@dataclass(frozen=True)
class MatchSet:
    """Anchors, their judged matches and the corpus, in columns.

    Attributes:
        contents: Every unique content once: N texts, or an array (N, ...), perhaps memory-mapped.
        ids: For each content, the id of the first document that carried it, N.
        hashes: For each content, its 128-bit hash, uint8 (N, 16).
        anchors: Rows of the contents that are anchors, in the order in which they came, (A,).
        offsets: Judgements ``offsets[i]:offsets[i + 1]`` are those of anchor i, (A + 1,).
        matches: Rows of the judged matches, (J,).
        labels: Their labels, float32 (J,): above 0 positive, below 0 negative.
        weights: How much each of them counts, float32 (J,), above 0.
        findings: What the builder settled.
    """

    contents: Contents
    ids: Sequence[str]
    hashes: NDArray[np.uint8]
    anchors: Rows
    offsets: Rows
    matches: Rows
    labels: Labels
    weights: Labels
    findings: Findings = Findings()

    @classmethod
    def from_documents(
        cls, documents: Iterable[MatchDocumentLike], *, kind: ContentKind | None = None, floats: bool = False
    ) -> "MatchSet":
        """Read match Documents, once and one by one.

        Args:
            documents: Anchors with matches; anything with the attributes of a document.
            kind: Which content to take from documents that carry both; by default the first anchor decides,
                and an array goes before a text.
            floats: Take integers as float32 numbers, not as token ids.

        Raises:
            ContentError: If a document lacks that content, or its shape differs from the first one's.
            LabelError: If a label is no number.
        """
        builder = MatchSetBuilder(kind, floats=floats)
        for document in documents:
            builder.add(document)
        return builder.build()

    @property
    def kind(self) -> ContentKind:
        """Which content this is: ``text`` or ``blob``."""
        return "blob" if isinstance(self.contents, np.ndarray) else "text"

    def __len__(self) -> int:
        """Return the number of anchors."""
        return len(self.anchors)

    @property
    def anchor_of(self) -> Rows:
        """For each judgement, the index of its anchor, (J,)."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.offsets))

    def owners(self, judgements: Rows) -> Rows:
        """Return the indices of the anchors of some judgements, (j,): as :attr:`anchor_of` has them, without all others."""
        return np.searchsorted(self.offsets, judgements, side="right") - 1

    def take(self, rows: Rows) -> Contents:
        """Return the contents of some rows, as a new list or array."""
        if isinstance(self.contents, np.ndarray):
            return self.contents[rows]
        return [self.contents[row] for row in rows]

    def only(self, anchors: NDArray[Any]) -> "MatchSet":
        """Return the set with some of the anchors (indices or a mask) over the same contents, uncopied."""
        chosen = np.arange(len(self), dtype=np.int64)[anchors]
        counts = np.diff(self.offsets)[chosen]
        picked = np.repeat(self.offsets[:-1][chosen] - np.cumsum(counts) + counts, counts)
        picked += np.arange(len(picked))
        return replace(
            self,
            anchors=self.anchors[chosen],
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            matches=self.matches[picked],
            labels=self.labels[picked],
            weights=self.weights[picked],
        )

    def with_values(self, positive_label: float | None, negative_label: float | None) -> "MatchSet":
        """Return the set with the user's own label values turned into +1 and -1, or without labels of 0.

        Going by sign, a label of 0 judges nothing.

        Args:
            positive_label: The value that means positive, or None to go by sign.
            negative_label: The value that means negative; it comes with ``positive_label`` or not at all.

        Raises:
            LabelError: If only one is given, both are equal, or a judgement has a third value.
        """
        if positive_label is None and negative_label is None:
            return self._judged_only()
        if positive_label is None or negative_label is None or positive_label == negative_label:
            raise LabelError(
                f"positive_label={positive_label!r}, negative_label={negative_label!r}: give two different numbers"
            )
        positive = self.labels == np.float32(positive_label)
        negative = self.labels == np.float32(negative_label)
        strange = np.flatnonzero(~(positive | negative))
        if len(strange):
            match = self.ids[self.matches[strange[0]]]
            raise LabelError(
                f"match {match!r}: label {self.labels[strange[0]]:g} is neither positive_label={positive_label:g} "
                f"nor negative_label={negative_label:g} ({len(strange)} such judgements)"
            )
        return replace(self, labels=np.where(positive, 1, -1).astype(np.float32))

    def _judged_only(self) -> "MatchSet":
        judges = self.labels != 0
        if judges.all():
            return self
        counts = np.bincount(self.anchor_of[judges], minlength=len(self))
        return replace(
            self,
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            matches=self.matches[judges],
            labels=self.labels[judges],
            weights=self.weights[judges],
        )

    def split(self, ratio: float, *, seed: int) -> tuple["MatchSet", "MatchSet"]:
        """Split by anchor into (rest, part), where ``ratio`` of the anchors are expected in the part.

        The content of an anchor and the seed alone decide its side, so it keeps it when data is added, and
        equal contents never are on both sides. Contents of the part may still be matches in the rest.
        """
        part = chosen(self.hashes[self.anchors], ratio, seed)
        return self.only(~part), self.only(part)

    def parts(self, *, validation: float, holdout: float, seed: int) -> "Parts":
        """Split by anchor into (training, validation, holdout), see :func:`finetuner.splits.sides`."""
        side = sides(self.hashes[self.anchors], validation=validation, holdout=holdout, seed=seed)
        training, validating, held_out = (self.only(side == number) for number in range(3))
        return training, validating, held_out

    def save(self, folder: Path) -> None:
        """Write the set into a new folder; it is complete once ``matches.json`` is there."""
        folder.mkdir(parents=True, exist_ok=True)
        save_contents(self.contents, folder)
        columns = {
            name: getattr(self, name)
            for name in ("hashes", "anchors", "offsets", "matches", "labels", "weights")
        }
        np.savez(folder / "judgements.npz", **columns)
        about = {"ids": list(self.ids), "findings": asdict(self.findings)}
        aside = folder / "matches.json.part"
        aside.write_text(json.dumps(about), encoding="utf-8")
        aside.replace(folder / "matches.json")

    @classmethod
    def load(cls, folder: Path) -> "MatchSet":
        """Open a saved set; arrays are memory-mapped.

        Raises:
            SourceError: If the folder holds no complete set.
        """
        if not (folder / "matches.json").exists():
            raise SourceError(f"{folder}: no complete match set is here (matches.json is missing)")
        about = json.loads((folder / "matches.json").read_text(encoding="utf-8"))
        with np.load(folder / "judgements.npz", allow_pickle=False) as columns:
            return cls(
                contents=load_contents(folder),
                ids=about["ids"],
                findings=Findings(**about["findings"]),
                **{name: columns[name] for name in columns.files},
            )


Parts = tuple[MatchSet, MatchSet, MatchSet]
"""Anchors for training, for validation and held out."""


class MatchSetBuilder:
    """Reads match Documents, one by one or packed, into columns; each content is kept once."""

    def __init__(self, kind: ContentKind | None = None, *, floats: bool = False) -> None:
        self._floats = floats
        self._rows: ContentRows | None = None if kind is None else ContentRows(kind, floats=floats)
        self._row_of_stream = np.zeros(0, np.int64)
        self._judgements = Judgements()

    def add(self, document: MatchDocumentLike) -> int:
        """Take in one match Document; return the row of its anchor.

        Raises:
            ContentError: If a document lacks the content, or its shape differs from the first one's.
            LabelError: If a label or weight is no number.
        """
        if self._rows is None:
            self._rows = ContentRows(content_kind(document), floats=self._floats)
        anchor = self._rows.add(document)
        judged = [(label_of(match), weight_of(match), self._rows.add(match)) for match in document.matches]
        self._judgements.add(
            anchor,
            (row for _, _, row in judged),
            (math.nan if label is None else label for label, _, _ in judged),
            (weight for _, weight, _ in judged),
        )
        return anchor

    def extend(self, pack: Pack) -> Rows:
        """Take in the next pack of a stream; return the rows of its anchors.

        Raises:
            ContentError: If a content is missing, or differs in shape or dtype from the first.
            StreamError: If a pack before it is missing.
        """
        check_follows(pack, len(self._row_of_stream))
        if self._rows is None:
            self._rows = ContentRows("text" if pack.blobs is None else "blob", floats=self._floats)
        contents = (pack.texts if self._rows.kind == "text" else pack.blobs) if pack.ids else ()
        if contents is None or len(contents) < len(pack.ids):
            raise ContentError(f"document {pack.ids[-1]!r} has no .{self._rows.kind}, which is needed here")
        new = [self._rows.append(content, name) for content, name in zip(contents, pack.ids, strict=True)]
        rows = np.concatenate([self._row_of_stream[: pack.start], np.array(new, np.int64)])
        self._row_of_stream = rows
        weights = np.ones(len(pack.labels)) if pack.weights is None else pack.weights
        counts = np.diff(pack.offsets)
        anchors = rows[pack.anchors]
        self._judgements.extend(anchors, counts, rows[pack.matches], pack.labels, weights)
        return anchors

    def build(self) -> MatchSet:
        """Return the set; the builder is spent.

        Raises:
            MatchDataError: If no document was added.
        """
        if self._rows is None or not len(self._judgements):
            raise MatchDataError("no match Document was given; at least one anchor is needed")
        contents, ids, hashes = self._rows.finish()
        settled = self._judgements.settle()
        return MatchSet(
            contents=contents,
            ids=ids,
            hashes=hashes,
            anchors=settled.anchors,
            offsets=settled.offsets,
            matches=settled.matches,
            labels=settled.labels,
            weights=settled.weights,
            findings=Findings(documents=len(self._judgements), **settled.counts),
        )
