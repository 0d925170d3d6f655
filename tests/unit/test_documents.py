"""Documents: what a label and a content are, and what is refused."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from finetuner.documents import Document, content_kind, content_of, id_of, label_of, labelled
from finetuner.errors import ContentError, LabelError


@pytest.mark.parametrize("label", [1, -0.5, 0, np.float32(0.25), np.float16(-2), np.int8(-3), Fraction(1, 2)])
def test_a_label_may_be_any_finite_number(label: float) -> None:
    """Whatever counts as a real number judges, and comes back as a float of the same value."""
    found = label_of(Document(tags=labelled({}, label)))
    assert (type(found), found) == (float, float(label))


@pytest.mark.parametrize(
    "label",
    ["1", "positive", True, np.True_, float("nan"), float("inf"), -float("inf"), 1e39, 10**400, [1], 1j],
)
def test_other_labels_are_refused_with_the_name_of_the_match(label: Any) -> None:
    """What is no number, or would not be finite as float32, is a LabelError that says whose label it is."""
    with pytest.raises(LabelError, match=r"match 'm7': label .* is not a finite number"):
        label_of(Document(id="m7", tags={"finetuner": {"label": label}}))


def test_the_flat_spelling_of_the_label_is_read() -> None:
    """``tags['finetuner_label']`` judges where ``tags['finetuner']`` does not."""
    assert label_of(Document(tags={"finetuner_label": -2})) == -2
    assert label_of(Document(tags={"finetuner_label": -2, "finetuner": {"model": "v1"}})) == -2


def test_the_nested_spelling_goes_before_the_flat_one() -> None:
    """A document with both labels is judged by the one that is written today, even if that is 0."""
    assert label_of(Document(tags={"finetuner": {"label": 0}, "finetuner_label": 5})) == 0


@pytest.mark.parametrize(
    "tags", [{}, {"finetuner": {}}, {"finetuner": {"label": None}}, {"finetuner": "mine"}]
)
def test_without_a_label_a_match_is_unjudged(tags: dict[str, Any]) -> None:
    """No label, or something else under our key, means that nobody judged."""
    assert label_of(Document(tags=tags)) is None


def test_labelling_copies_the_tags() -> None:
    """The given tags stay as they are at both levels, so a shared document is never relabelled by accident."""
    tags = {"class": 3, "finetuner": {"label": 1, "model": "v0"}}
    assert labelled(tags, -1) == {"class": 3, "finetuner": {"label": -1, "model": "v0"}}
    assert tags == {"class": 3, "finetuner": {"label": 1, "model": "v0"}}


def test_an_array_goes_before_a_text() -> None:
    """A document that carries both is taken for its array."""
    assert content_kind(Document(text="a", blob=np.ones(2))) == "blob"
    assert content_kind(Document(text="a")) == "text"


@pytest.mark.parametrize("text", [None, ""])
def test_a_document_without_content_is_refused(text: str | None) -> None:
    """An empty text is no content; the error names the document and what to give it."""
    with pytest.raises(ContentError, match=r"document 'd1' has no content; give it a \.text or a \.blob"):
        content_kind(Document(id="d1", text=text))


@pytest.mark.parametrize(
    ("blob", "dtype"),
    [
        (np.ones((2, 3), np.float64), np.float32),
        (np.ones((2, 3), np.float16), np.float32),
        (np.ones((2, 3), ">f4"), np.float32),
        (np.asfortranarray(np.ones((2, 3), np.float32)), np.float32),
        (np.ones((2, 3), np.uint8), np.int64),
        ([[1, 1, 1], [1, 1, 1]], np.int64),
    ],
)
def test_content_has_one_form_whichever_way_it_came(blob: Any, dtype: type) -> None:
    """Floats become float32 and integers int64, row by row in memory: equal contents have equal bytes."""
    content = content_of(Document(blob=blob), "blob")
    assert isinstance(content, np.ndarray)
    assert content.flags.c_contiguous
    assert (content.dtype, content.tobytes()) == (np.dtype(dtype), np.ones((2, 3), dtype).tobytes())


@pytest.mark.parametrize(
    ("blob", "fault"),
    [
        (np.empty((0, 4)), r"empty, its shape is \(0, 4\)"),
        (np.array([1.0, np.nan]), "NaN or infinite"),
        (np.array([1.0, -np.inf]), "NaN or infinite"),
        (np.array([1e300]), "NaN or infinite"),
        (np.array([True]), "dtype bool"),
        (np.array([1j]), "dtype complex128"),
        (np.array(["1"]), "dtype <U1"),
        (np.array([None]), "dtype object"),
        ([[1.0], [1.0, 2.0]], "not an array"),
    ],
)
def test_an_unfit_array_is_refused_with_the_name_of_the_document(blob: Any, fault: str) -> None:
    """Nothing that a model could not compute with, float32 overflow included, gets past the door."""
    with pytest.raises(ContentError, match=rf"document 'd9': the \.blob .*{fault}"):
        content_of(Document(id="d9", blob=blob), "blob")


def test_the_other_kind_of_content_is_refused_and_mentioned() -> None:
    """Who asks for a text and meets an array is told so, and the other way round."""
    with pytest.raises(ContentError, match=r"'d1' has no \.text, which is needed here; it has a \.blob"):
        content_of(Document(id="d1", blob=np.ones(2)), "text")
    with pytest.raises(ContentError, match=r"'d2' has no \.blob, which is needed here; it has a \.text"):
        content_of(Document(id="d2", text="a"), "blob")


@pytest.mark.parametrize("given", [None, "", "a\0b", "\ud800", "é" * 1001])
def test_an_id_is_what_every_database_can_keep(given: str | None) -> None:
    """Not empty, Unicode without NUL, and at most 2,000 bytes; else a typed error says so."""
    assert id_of("é" * 1000) == "é" * 1000
    assert id_of(7) == "7"
    with pytest.raises(ContentError, match="id"):
        id_of(given)
