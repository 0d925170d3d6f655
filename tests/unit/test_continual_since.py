"""Since when a run learns what is new."""

from typing import Any

import pytest

from finetuner.continual.since import Since
from finetuner.errors import ChangedDataError, OptionError

DATA: dict[str, Any] = {
    "collection": "c",
    "position": 4,
    "checksum": "5f0c",
    "parameters": {"kind": "blob", "position": 4, "num_total": 9},
}


def test_a_version_tells_what_exactly_it_learnt_from() -> None:
    """Its parameters emit the same again, so what it was not shown then is new."""
    since = Since.of_version("v3", {"data": DATA}, "c")
    assert since == Since(4, "v3", DATA["parameters"], "5f0c")
    assert since.as_figures() == {"position": 4, "version": "v3"}


def test_since_the_base_all_is_new() -> None:
    """It has learnt from nothing."""
    assert Since.of_version("v0", {}, "c") == Since(0, "v0")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({**DATA, "collection": "other"}, "version 'v3' learnt from collection 'other'"),
        ({"collection": None, "checksum": "5f0c"}, "version 'v3' learnt from documents"),
        ({**DATA, "position": 0}, "collection 'c' is made and has no positions"),
    ],
)
def test_what_cannot_be_compared_is_refused(data: dict[str, Any], said: str) -> None:
    """Only positions of the same collection tell what is new in it."""
    with pytest.raises(OptionError, match=said):
        Since.of_version("v3", {"data": data}, "c")


def test_what_was_deleted_since_then_is_noticed() -> None:
    """By the checksum; a bare position is compared with what is left."""
    since = Since.of_version("v3", {"data": DATA}, "c")
    since.check({"collection": "c", "checksum": "5f0c"})
    Since(4).check({"collection": "c", "checksum": "other"})
    with pytest.raises(ChangedDataError, match="position 4 is no longer what version 'v3' learnt from"):
        since.check({"collection": "c", "checksum": "other"})
