"""Packs from outside: each way in which one can be unfit is a typed error."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from finetuner.documents import Document, labelled
from finetuner.errors import ContentError, LabelError, StreamError
from finetuner.pack_checks import check_follows, checked
from finetuner.packing import packed
from finetuner.packs import Pack


def pack(*, blobs: bool = False) -> Pack:
    """Return two anchors with a match each."""

    def content(number: int) -> dict[str, Any]:
        return {"blob": np.full(3, number, np.float32)} if blobs else {"text": f"text {number}"}

    matches = [Document(**content(9), id="m", tags=labelled({"r": 1}, 1, 2.0))]
    anchors = [Document(**content(n), id=f"q{n}", matches=matches, tags={"n": n}) for n in range(2)]
    return next(packed(anchors))


UNFIT: list[tuple[dict[str, Any], str]] = [
    ({"start": -1}, "start is -1"),
    ({"offsets": np.array([0, 2])}, "offsets are not one more than anchors"),
    ({"offsets": np.array([0, 3, 2])}, "offsets do not ascend"),
    ({"offsets": np.array([1, 1, 2])}, "offsets do not ascend"),
    ({"matches": np.array([0])}, "lengths are"),
    ({"labels": np.zeros(3)}, "lengths are"),
    ({"weights": np.ones(1)}, "lengths are"),
    ({"match_tags": [""]}, "lengths are"),
    ({"anchor_tags": [""]}, "anchor_tags do not fit"),
    ({"matches": np.array([0, 3])}, "a row is out of range"),
    ({"anchors": np.array([-1, 0])}, "a row is out of range"),
    ({"texts": ["a", "b", "c", "d"]}, "4 contents for 3 ids"),
    ({"ids": ["a", "", "c"]}, "no id"),
    ({"ids": ["a", "b", "a"]}, "an id comes twice"),
    ({"blobs": np.zeros((2, 1), np.float32)}, "texts and blobs differ in number"),
    ({"texts": ["a", "", "c"]}, "has no .text"),
]


@pytest.mark.parametrize(("change", "message"), UNFIT, ids=[message for _, message in UNFIT])
def test_columns_that_do_not_fit_together_are_refused(change: dict[str, Any], message: str) -> None:
    """Nothing behind it has to look again."""
    with pytest.raises(ContentError, match=message):
        checked(replace(pack(), **change))


@pytest.mark.parametrize(
    "change",
    [
        {"labels": np.array([1, np.inf])},
        {"labels": np.array([1e39, 1])},
        {"weights": np.array([1.0, 0.0])},
        {"weights": np.array([np.nan, 1.0])},
        {"weights": np.array([1.0, np.inf])},
    ],
)
def test_labels_and_weights_are_finite_and_weights_above_0(change: dict[str, Any]) -> None:
    """An unfit number is named with its place; NaN as a label stands for none."""
    assert np.isnan(checked(replace(pack(), labels=np.array([1, np.nan]))).labels[1])
    with pytest.raises(LabelError, match=r"match \d of a pack"):
        checked(replace(pack(), **change))


def test_arrays_are_taken_in_their_canonical_form() -> None:
    """Doubles and shorts of another client are the contents that documents would have brought."""
    fit = pack(blobs=True)
    assert fit.blobs is not None
    assert checked(replace(fit, blobs=fit.blobs.astype(np.float64))).blobs.dtype == np.float32  # type: ignore[union-attr]
    assert checked(replace(fit, blobs=fit.blobs.astype(np.int16))).blobs.dtype == np.int64  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("blobs", "message"),
    [
        (np.array([[0.0], [np.nan], [0.0]]), "document 'q1'.* NaN"),
        (np.zeros((3, 0)), "empty"),
        (np.zeros(3), "shape"),
        (np.array([["a"], ["b"], ["c"]]), "numbers are accepted"),
    ],
)
def test_an_array_that_is_no_content_is_refused_by_its_id(blobs: Any, message: str) -> None:
    """As it is for a document."""
    fit = pack(blobs=True)
    order = {name: blobs[place] for place, name in enumerate(("q0", "q1", "m"))}
    with pytest.raises(ContentError, match=message):
        checked(replace(fit, blobs=np.array([order[name] for name in fit.ids])))


def test_documents_may_be_known_by_their_ids_alone() -> None:
    """Fewer contents than ids are not unfit: the reader knows the rest."""
    alone = replace(pack(), texts=None)
    assert checked(alone) == alone
    assert alone.carried == 0


@pytest.mark.parametrize(("start", "rows"), [(3, 2), (2, 3)])
def test_a_pack_out_of_its_turn_is_a_stream_error(start: int, rows: int) -> None:
    """One that was lost or came twice would shift every row behind it."""
    check_follows(replace(pack(), start=3), 3)
    check_follows(pack(), 3)
    with pytest.raises(StreamError, match=f"begins at row {start}, and {rows} documents"):
        check_follows(replace(pack(), start=start), rows)
