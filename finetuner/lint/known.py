"""What is known of each document and of each content while packs are read, in a few bytes each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finetuner.contents import Contents, content_hash
from finetuner.lint.columns import Column, Names, Numbered, Rows
from finetuner.lint.near import is_fuzzy, signatures
from finetuner.splits import sides

ANCHOR, JUDGED, TWO_CONTENTS = np.uint8(1), np.uint8(2), np.uint8(4)
"""What a document is: an anchor, a match that has a label, one that came with two contents."""


@dataclass(frozen=True)
class Shares:
    """How the anchors would be split; see :func:`finetuner.splits.sides`."""

    validation: float
    holdout: float
    seed: int


class Documents:
    """What is known of each document, by number.

    Attributes:
        names: Its id.
        content: The number of its content, -1 while it is unknown.
        flags: What it is, a sum of the constants above.
        matches: As an anchor, its matches.
        positive: Those that are labelled above 0 and are not the anchor itself.
        negative: Those that are labelled below 0 and are not the anchor itself.
    """

    def __init__(self) -> None:
        self.names = Names()
        self.content = Column(np.int32, fill=-1)
        self.flags = Column(np.uint8)
        self.matches = Column(np.uint32)
        self.positive = Column(np.uint32)
        self.negative = Column(np.uint32)
        self._numbers = Numbered()

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self._numbers)

    def add(self, ids: Sequence[str]) -> Rows:
        """Return the number of each document, int64 (K,); new ones take the next numbers."""
        # Python's hash of a text has 64 bits and a secret of the process, so nobody can make two ids collide
        keys = np.fromiter(map(hash, ids), np.int64, len(ids)).view(np.uint64)
        numbers, new = self._numbers.add(keys)
        self.names.extend([ids[place] for place in new])
        for column in (self.content, self.flags, self.matches, self.positive, self.negative):
            column.lengthen(len(self))
        return numbers

    def carry(self, documents: Rows, contents: Rows) -> None:
        """Note the contents with which documents come, and which of them came with another one before."""
        content = self.content.values
        changed = (content[documents] >= 0) & (content[documents] != contents)
        self.flags.values[documents[changed]] |= TWO_CONTENTS
        content[documents] = contents


class Different:
    """What is known of each different content, by number.

    Attributes:
        signatures: See :mod:`finetuner.lint.near`.
        is_fuzzy: Whether near signatures may differ in a bit.
        sides: On which side an anchor with this content is.
        seen_by: The document of a training anchor that has it as a judged match, -1 for none.
    """

    def __init__(self, shares: Shares) -> None:
        self.signatures = Column(np.uint64, width=2)
        self.is_fuzzy = False
        self.sides = Column(np.int8)
        self.seen_by = Column(np.int32, fill=-1)
        self._shares = shares
        self._numbers = Numbered()

    def __len__(self) -> int:
        """Return the number of contents."""
        return len(self._numbers)

    def add(self, contents: Contents) -> Rows:
        """Return the number of each content, int64 (L,); new ones take the next numbers."""
        hashes = np.frombuffer(b"".join(map(content_hash, contents)), np.uint8).reshape(-1, 16)
        # of ten million contents, half of the hash confuses two once in 300,000 times
        numbers, new = self._numbers.add(hashes[:, :8].copy().view(np.uint64)[:, 0])
        if len(new):
            fresh = contents[new] if isinstance(contents, np.ndarray) else [contents[place] for place in new]
            self.signatures.extend(signatures(fresh))
            self.is_fuzzy = is_fuzzy(fresh)
            shares = self._shares
            sided = sides(hashes[new], validation=shares.validation, holdout=shares.holdout, seed=shares.seed)
            self.sides.extend(sided)
            self.seen_by.lengthen(len(self))
        return numbers
