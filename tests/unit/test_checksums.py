"""Checksums: what they cover, and what they do not mind."""

from dataclasses import replace

import numpy as np
import pytest

from finetuner.checksums import Checksum, DocumentChecksum, PackChecksum
from finetuner.documents import Document, labelled
from finetuner.packing import packed
from finetuner.packs import Pack


def documents() -> list[Document]:
    """Return six anchors with tags, weights, and a match that nobody judged."""
    made = []
    for number in range(6):
        matches = [
            Document(f"a{number}", id=f"a{number}", tags=labelled({"r": number}, 1, 0.5)),
            Document("shared", id="shared", tags={} if number % 2 else labelled({}, -1)),
        ]
        made.append(Document(f"q{number}", tags={"n": number}, id=f"q{number}", matches=matches))
    return made


def summed(packs: list[Pack]) -> str:
    """Return the checksum of packs."""
    checksum = PackChecksum()
    for pack in packs:
        checksum.add(pack)
    return checksum.hexdigest()


@pytest.mark.parametrize("anchors", [1, 2, 5])
def test_a_checksum_does_not_depend_on_how_a_stream_is_cut(anchors: int) -> None:
    """The same stream in packs of other sizes, some of them without tags or weights, sums up to the same."""
    assert summed(list(packed(documents(), anchors=anchors))) == summed(list(packed(documents())))


CHANGES = {
    "ids": lambda pack: replace(pack, ids=[*pack.ids[:-1], "other"]),
    "texts": lambda pack: replace(pack, texts=[*(pack.texts or ())[:-1], "other"]),
    "anchors": lambda pack: replace(pack, anchors=pack.anchors[::-1]),
    "offsets": lambda pack: replace(pack, offsets=np.array([0, 1, *pack.offsets[2:]])),
    "matches": lambda pack: replace(pack, matches=pack.matches[::-1]),
    "labels": lambda pack: replace(pack, labels=-pack.labels),
    "weights": lambda pack: replace(pack, weights=None),
    "anchor_tags": lambda pack: replace(pack, anchor_tags=None),
    "match_tags": lambda pack: replace(pack, match_tags=(pack.match_tags or ())[::-1]),
}


@pytest.mark.parametrize("column", CHANGES)
def test_a_checksum_covers_every_column(column: str) -> None:
    """Whatever changes in a pack changes its checksum."""
    (pack,) = packed(documents())
    assert summed([CHANGES[column](pack)]) != summed([pack])


def test_a_checksum_covers_arrays() -> None:
    """One number in one array is noticed."""
    blobs = np.zeros((2, 3), np.float32)
    (pack,) = packed([Document(blob=blob, id=str(number)) for number, blob in enumerate(blobs)])
    changed = blobs.copy()
    changed[1, 2] = 1e-6
    assert summed([replace(pack, blobs=changed)]) != summed([pack])


def test_ids_cannot_move_their_border() -> None:
    """'ab', 'c' and 'a', 'bc' are different streams, though the letters are the same."""
    first, second = (
        list(packed([Document("x", id=one), Document("y", id=two)]))
        for one, two in (("ab", "c"), ("a", "bc"))
    )
    assert summed(first) != summed(second)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: setattr(document, "id", "other"),
        lambda document: setattr(document, "text", "other"),
        lambda document: setattr(document.matches[0], "tags", labelled({}, -1, 0.5)),
        lambda document: setattr(document.matches[0], "tags", labelled({}, 1)),
        lambda document: setattr(document, "matches", document.matches[:1]),
    ],
)
def test_a_document_checksum_covers_ids_contents_labels_and_weights(change: object) -> None:
    """Whatever a learner would notice changes it."""
    plain, changed = DocumentChecksum(), DocumentChecksum()
    for checksum, is_changed in ((plain, False), (changed, True)):
        document = documents()[0]
        if is_changed:
            change(document)  # type: ignore[operator]
        checksum.add(document)
    assert changed.hexdigest() != plain.hexdigest()


def test_a_document_checksum_does_not_mind_other_tags() -> None:
    """JSON turns 1 into 1.0 on the way, which must not look like a damaged stream."""
    one, other = DocumentChecksum(), DocumentChecksum()
    one.add(Document("q", tags={"n": 1}, id="q"))
    other.add(Document("q", tags={"n": 1.0, "cursor": "x"}, id="q"))
    assert one.hexdigest() == other.hexdigest()


@pytest.mark.parametrize("checksum", [PackChecksum(), DocumentChecksum()])
def test_a_checksum_can_be_asked_for_at_any_time(checksum: Checksum[object]) -> None:
    """Asking does not end it; it has 64 digits."""
    assert checksum.hexdigest() == checksum.hexdigest()
    assert len(checksum.hexdigest()) == 64
