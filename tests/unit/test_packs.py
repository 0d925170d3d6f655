"""Packs: the same match data as documents, each content once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executors.documents import pack_from_wire, pack_to_wire
from finetuner.documents import Document, labelled
from finetuner.errors import ContentError, LabelError
from finetuner.matches import MatchSet, MatchSetBuilder
from finetuner.packing import packed


def documents(*, blobs: bool, anchors: int = 40, contents: int = 25, seed: int = 0) -> list[Document]:
    """Return anchors and matches drawn from few contents, with labels, without, and anchors that come again."""
    random = np.random.default_rng(seed)

    def document(number: int, label: float | None = None) -> Document:
        tags = {} if label is None else labelled({}, label)
        blob = np.full((2, 3), number, np.float32) if blobs else None
        return Document(id=f"d{number}", text=f"text {number}", blob=blob, tags=tags)

    made = []
    for _ in range(anchors):
        anchor = document(int(random.integers(contents)))
        drawn = random.choice(contents, 5, replace=False)
        anchor.matches = [
            document(int(number), label) for number, label in zip(drawn, (1, -1, None, 2.5, 0), strict=True)
        ]
        made.append(anchor)
    return made


def same(a: MatchSet, b: MatchSet) -> bool:
    """Return whether two match sets are equal in every column."""
    columns = ("hashes", "anchors", "offsets", "matches", "labels")
    return (
        np.array_equal(np.asarray(a.contents), np.asarray(b.contents))
        and (a.ids, a.findings) == (b.ids, b.findings)
        and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in columns)
    )


@pytest.mark.parametrize("blobs", [True, False])
@pytest.mark.parametrize("anchors", [1, 7, 1000])
def test_a_packed_set_is_the_set_of_its_documents(blobs: bool, anchors: int) -> None:
    """However they are portioned, and over the wire and back, packs build what the documents themselves build."""
    builder = MatchSetBuilder()
    for pack in packed(documents(blobs=blobs), anchors=anchors):
        builder.extend(pack_from_wire(pack_to_wire(pack)))
    assert same(builder.build(), MatchSet.from_documents(documents(blobs=blobs)))


def test_each_content_travels_once() -> None:
    """Over all packs of a stream no id comes twice, though matches come with many anchors."""
    ids = [one for pack in packed(documents(blobs=True), anchors=3) for one in pack.ids]
    assert len(ids) == len(set(ids)) == 25


def test_packs_come_while_documents_are_made() -> None:
    """The first pack needs no more documents than it holds."""
    left = iter(documents(blobs=False))
    next(packed(left, anchors=4))
    assert len(list(left)) == 36


def test_the_kind_can_be_chosen() -> None:
    """Of documents with both, both go by default, and the text alone if it is asked for."""
    assert next(packed(documents(blobs=True))).blobs is not None
    assert next(packed(documents(blobs=True), kind="text")).blobs is None


def test_no_documents_are_no_packs() -> None:
    """An empty stream has no pack."""
    assert list(packed([])) == []


def test_an_array_of_another_shape_is_named() -> None:
    """What cannot be sent with the others is an error with its id, also in a later pack."""
    odd = Document(id="odd", blob=np.zeros((3, 2), np.float32))
    with pytest.raises(ContentError, match="'odd'"):
        list(packed([*documents(blobs=True), odd], anchors=10))


def test_a_label_that_is_no_number_is_named() -> None:
    """A string for a label is an error with the id of the match."""
    match = Document(id="m", text="x", tags={"finetuner": {"label": "yes"}})
    with pytest.raises(LabelError, match="'m'"):
        list(packed([Document(text="q", matches=[match])]))


JUDGED = st.lists(st.tuples(st.integers(0, 6), st.sampled_from([1.0, -1.0, 0.0, 2.5, None])), max_size=5)


@settings(max_examples=40, deadline=None)
@given(
    asked=st.lists(st.tuples(st.integers(0, 6), JUDGED), min_size=1, max_size=12),
    anchors=st.integers(1, 5),
)
def test_whatever_is_packed_is_what_its_documents_are(
    asked: list[tuple[int, list[tuple[int, float | None]]]], anchors: int
) -> None:
    """For anchors that come again, match themselves, or contradict themselves, too."""
    match_documents = [
        Document(
            id=f"d{anchor}",
            text=f"text {anchor}",
            matches=[
                Document(
                    id=f"d{match}", text=f"text {match}", tags={} if label is None else labelled({}, label)
                )
                for match, label in judged
            ],
        )
        for anchor, judged in asked
    ]
    builder = MatchSetBuilder()
    for pack in packed(match_documents, anchors=anchors):
        builder.extend(pack_from_wire(pack_to_wire(pack)))
    assert same(builder.build(), MatchSet.from_documents(match_documents))
