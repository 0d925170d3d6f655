"""The registry of sources: what a service emits by name."""

from pathlib import Path

import pytest

from finetuner.documents import label_of
from finetuner.errors import OptionError, SourceError, UnknownCollectionError
from finetuner.sources import SOURCES, emit


def test_every_option_is_documented() -> None:
    """A client that asks what a source accepts finds a sentence for each option."""
    fields = [field for source in SOURCES.values() for field in source.options.__fields__.values()]
    assert len(fields) == 10 + 8
    assert all(str(field.field_info.description).endswith(".") for field in fields)


@pytest.mark.parametrize(("name", "matches"), [("fashion_mnist", 4), ("covid_qa", 3)])
def test_emits_by_name_with_numbers_as_they_come_from_jina(name: str, matches: int) -> None:
    """Whole numbers that arrive as floats are whole numbers; labels are what was asked for."""
    anchors = list(emit(name, {"num_total": 2.0, "num_neg": 2.0, "pos_value": 3.0, **_pos(name)}))
    assert [len(anchor.matches) for anchor in anchors] == [matches] * 2
    assert label_of(anchors[0].matches[0]) == 3


def _pos(name: str) -> dict[str, float]:
    return {"num_pos": 2.0} if name == "fashion_mnist" else {}


def test_unknown_collection_names_the_known_ones() -> None:
    """The error comes at the call."""
    with pytest.raises(UnknownCollectionError, match="'mnist' to make; known are covid_qa, fashion_mnist"):
        emit("mnist", {})


@pytest.mark.parametrize("name", ["fashion_mnist", "covid_qa"])
def test_wrong_parameter_is_an_option_error_at_the_call(name: str) -> None:
    """Nothing has to be asked of the iterator to learn that a parameter is unknown or out of range."""
    with pytest.raises(OptionError, match=f"collection '{name}': unknown option 'folder'; accepted are "):
        emit(name, {"folder": "/etc"})
    with pytest.raises(OptionError, match=f"collection '{name}': option 'num_neg' is -1"):
        emit(name, {"num_neg": -1})
    with pytest.raises(OptionError, match="give at most"):
        emit(name, {"num_neg": 1e9})


@pytest.mark.parametrize("name", ["fashion_mnist", "covid_qa"])
def test_missing_files_are_a_source_error_at_the_call(name: str, tmp_path: Path) -> None:
    """A folder that lacks the files is named before the first document is asked for."""
    with pytest.raises(SourceError, match=str(tmp_path)):
        emit(name, {}, folder=tmp_path)
