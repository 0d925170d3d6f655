"""The generators under the import path, the names and the arguments that callers know."""

from collections.abc import Callable
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docarray import DocList

from executors.documents import MatchDocument
from finetuner.errors import OptionError
from finetuner.sources import covid_qa, fashion_mnist
from tests.data_generator import (
    fashion_doc_generator,
    fashion_match_doc_generator,
    fashion_match_documentarray,
    qa_data_generator,
    qa_match_doc_generator,
    qa_match_documentarray,
)

pytestmark = pytest.mark.usefixtures("covid_qa_read_once")

FASHION = {
    "num_total": 60000,
    "num_pos": 10,
    "num_neg": 10,
    "pos_value": 1,
    "neg_value": -1,
    "upsampling": 1,
    "channels": 0,
    "channel_axis": -1,
    "is_testset": False,
}
QA = {
    "num_total": 481,
    "num_neg": 5,
    "pos_value": 1,
    "neg_value": -1,
    "to_ndarray": True,
    "max_seq_len": 100,
    "is_testset": False,
}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (fashion_match_doc_generator, FASHION),
        (fashion_match_documentarray, FASHION),
        (qa_match_doc_generator, QA),
        (qa_match_documentarray, QA),
    ],
)
def test_arguments_are_the_known_ones_in_the_known_order(
    function: Callable[..., object], expected: dict[str, object]
) -> None:
    """What may be given by position has its place and its default; what was added is keyword-only."""
    parameters = signature(function).parameters.values()
    by_place = {one.name: one.default for one in parameters if one.kind is Parameter.POSITIONAL_OR_KEYWORD}
    assert list(by_place.items()) == list(expected.items())
    added = {one.name: one.default for one in parameters if one.kind is Parameter.KEYWORD_ONLY}
    assert added == {"seed": 0, "folder": None, "download": False}


def test_fashion_documents_are_those_of_the_library() -> None:
    """Arguments by position reach the option that they name, and the documents are wire documents."""
    given = (2, 3, 4, 5, 0, 2, 3, 1, True)
    named = dict(zip(FASHION, given, strict=True), seed=9)
    options = fashion_mnist.FashionMnistOptions.parse(named, where="test")
    made = list(fashion_match_doc_generator(*given, seed=9))
    for wire, document in zip(made, fashion_mnist.match_documents(options), strict=True):
        assert isinstance(wire, MatchDocument)
        assert (wire.id, wire.tags) == (document.id, document.tags)
        np.testing.assert_array_equal(wire.blob, document.blob)
        assert [(m.id, m.tags) for m in wire.matches] == [(m.id, m.tags) for m in document.matches]


def test_qa_documents_are_those_of_the_library() -> None:
    """Text, word ids, tags and matches are carried over as they are."""
    given = (2, 3, 5, 0, True, 20, True)
    named = dict(zip(QA, given, strict=True), seed=9)
    options = covid_qa.CovidQaOptions.parse(named, where="test")
    made = list(qa_match_doc_generator(*given, seed=9))
    for wire, document in zip(made, covid_qa.match_documents(options), strict=True):
        assert (wire.id, wire.text, wire.tags) == (document.id, document.text, document.tags)
        np.testing.assert_array_equal(wire.blob, document.blob)
        assert [(m.id, m.text, m.tags) for m in wire.matches] == [
            (m.id, m.text, m.tags) for m in document.matches
        ]


@pytest.mark.parametrize("array", [fashion_match_documentarray, qa_match_documentarray])
def test_document_arrays_hold_what_the_generator_yields(array: Callable[..., Any]) -> None:
    """A document array of the type that clients post."""
    documents = array(num_total=3)
    assert isinstance(documents, DocList[MatchDocument])
    assert len(documents) == 3


def test_documents_without_matches_are_the_anchors() -> None:
    """Both plain generators yield the anchors alone."""
    assert [d.id for d in fashion_doc_generator(num_total=3)] == [
        d.id for d in fashion_match_doc_generator(3)
    ]
    assert [d.id for d in qa_data_generator(num_total=3)] == [d.id for d in qa_match_doc_generator(3)]
    assert not any(d.matches for d in (*fashion_doc_generator(num_total=3), *qa_data_generator(num_total=3)))


def test_labels_in_yielded_wire_documents_never_change() -> None:
    """Tags of wire documents are not shared either: what was yielded stays as it was."""
    seen = [(anchor, str([match.tags for match in anchor.matches])) for anchor in qa_match_doc_generator()]
    assert all(str([match.tags for match in anchor.matches]) == before for anchor, before in seen)


@pytest.mark.parametrize(
    "call",
    [
        lambda: fashion_match_doc_generator(channel_axis=0),
        lambda: qa_match_doc_generator(max_seq_len=0),
        lambda: qa_data_generator(max_seq_len=0),
        lambda: fashion_doc_generator(upsampling=0),
    ],
)
def test_wrong_argument_raises_at_the_call(call: Callable[[], object]) -> None:
    """No document has to be asked for to learn of it, and the error names the function."""
    with pytest.raises(OptionError, match=r"_generator: option"):
        call()


def test_nothing_is_downloaded_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The download gets the folder, and what it returns is read."""
    asked: list[Path | None] = []

    def to_sample(folder: Path | None = None) -> None:
        asked.append(folder)

    monkeypatch.setattr(fashion_mnist, "download", to_sample)
    monkeypatch.setattr(covid_qa, "download", to_sample)
    for generator in (
        fashion_match_doc_generator,
        qa_match_doc_generator,
        fashion_doc_generator,
        qa_data_generator,
    ):
        next(generator(num_total=1))
        assert asked == []
        next(generator(num_total=1, folder=tmp_path, download=True))
        assert asked.pop() == tmp_path
