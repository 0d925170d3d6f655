"""Segments of anchors by a tag: from documents as from packs, whatever a value is."""

from typing import Any

import numpy as np
import pytest

from finetuner.documents import Document, labelled
from finetuner.errors import OptionError
from finetuner.matches import MatchSetBuilder
from finetuner.packing import packed
from finetuner.reports.segments import Segments

VALUES = ["red", 3.0, 2.5, True, None, ["red"], "", 3]


def documents() -> list[Document]:
    """Return an anchor for each value of the tag ``colour``; their match is met before the last of them, which it is."""
    blobs = [np.array([at, 1], np.float32) for at in range(len(VALUES))]
    match = Document(id="shared", blob=blobs[-1], tags=labelled({"colour": "of a match"}, 1))
    return [
        Document(id=f"a{at}", blob=blobs[at], tags={"colour": value, "size": 1}, matches=[match])
        for at, value in enumerate(VALUES)
    ]


EXPECTED = {"a0": "red", "a1": "3", "a2": "2.5", "a3": "true", "a6": "", "shared": "3"}
"""By the id of the first document with the content; a list names nothing, nor does None."""


def test_texts_numbers_and_truth_values_name_segments() -> None:
    """A whole number is the same however it came, and the id is that by which the match set knows the content."""
    builder, segments = MatchSetBuilder(), Segments("colour")
    for document in documents():
        segments.note(builder.add(document), document.tags)
    assert segments.of(builder.build()) == EXPECTED


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (1234567890123, "1234567890123"),
        (1234567890124.0, "1234567890124"),
        (0.1, "0.1"),
        (-3.0, "-3"),
        (10**400, None),
    ],
)
def test_numbers_that_differ_name_different_segments(value: float, name: str | None) -> None:
    """Long ones too, such as keys of a customer; one that no float holds names none."""
    builder, segments = MatchSetBuilder(), Segments("key")
    for identity, number in (("a", value), ("b", 1)):
        document = Document(id=identity, blob=np.array([number == 1, 1], np.float32), tags={"key": number})
        segments.note(builder.add(document), document.tags)
    assert segments.of(builder.build()).get("a") == name


def test_packs_tell_what_documents_tell() -> None:
    """Their tags are JSON beside the anchors; a pack without any tells nothing."""
    builder, segments = MatchSetBuilder(), Segments("colour")
    for pack in packed(documents()):
        segments.note_all(builder.extend(pack), pack.anchor_tags)
    segments.note_all(np.array([0]), None)
    assert segments.of(builder.build()) == EXPECTED


def test_an_anchor_that_comes_again_keeps_its_segment() -> None:
    """The first value stands."""
    builder, segments = MatchSetBuilder(), Segments("colour")
    for colour in ("red", "blue"):
        document = Document(id="a", blob=np.ones(2, np.float32), tags={"colour": colour})
        segments.note(builder.add(document), document.tags)
    assert segments.of(builder.build()) == {"a": "red"}


@pytest.mark.parametrize(("tags", "said"), [({"size": 1, "finetuner": {"label": 1}}, "size$"), ({}, "none$")])
def test_a_tag_that_no_anchor_has_is_refused(tags: dict[str, Any], said: str) -> None:
    """It was probably misspelt; the tags that there are, are named, without ours."""
    builder, segments = MatchSetBuilder(), Segments("colour")
    document = Document(id="a", blob=np.ones(2, np.float32), tags=tags)
    segments.note(builder.add(document), document.tags)
    with pytest.raises(OptionError, match=f"'colour': none of the 1 anchors .* they have: {said}"):
        segments.of(builder.build())
