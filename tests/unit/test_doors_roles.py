"""Roles: which columns go together."""

from typing import Any

import pytest

from finetuner.doors import Roles
from finetuner.errors import OptionError


@pytest.mark.parametrize(
    ("given", "shape", "columns"),
    [
        ({}, "documents", []),
        ({"anchor": "q", "match": "d"}, "judgements", ["d", "q"]),
        (
            {"anchor_id": "i", "match_id": "j", "label": "l", "weight": "w"},
            "judgements",
            ["i", "j", "l", "w"],
        ),
        (
            {"anchor": "q", "match_id": "j", "score": "s", "score_range": [0, 5]},
            "judgements",
            ["j", "q", "s"],
        ),
        ({"anchor": "q", "anchor_id": "q", "match": "d"}, "judgements", ["d", "q"]),
        ({"anchor": "a", "positive": "p", "negative": "n"}, "triplets", ["a", "n", "p"]),
        ({"content": "c", "class_column": "k", "num_pos": 3.0}, "classes", ["c", "k"]),
    ],
)
def test_roles_tell_the_shape_of_a_row(given: dict[str, Any], shape: str, columns: list[str]) -> None:
    """Each way to judge is known by its roles, and only the columns with roles are read, each once."""
    roles = Roles.parse(given, where="roles")
    assert (roles.shape, roles.columns) == (shape, columns)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"anchr": "q"}, "unknown option 'anchr'"),
        ({"anchor": "q"}, "judgements need a column for match or match_id"),
        ({"match": "q"}, "judgements need a column for anchor or anchor_id"),
        ({"label": "l"}, "label alone says nothing"),
        ({"labels": {"a": 1}}, "labels or score_range alone says nothing"),
        ({"anchor": "q", "positive": "p"}, "triplets need a column for negative"),
        (
            {"anchor": "q", "positive": "p", "negative": "n", "label": "l"},
            "label does not go with anchor, negative, positive",
        ),
        ({"anchor": "q", "match": "d", "negative": "n"}, "match does not go with anchor, negative"),
        ({"content": "c"}, "classes need a column for class_column"),
        (
            {"content": "c", "class_column": "k", "anchor": "q"},
            "anchor does not go with class_column, content",
        ),
        (
            {"anchor": "q", "match": "d", "label": "l", "score": "s", "score_range": [0, 1]},
            "label and score are two ways",
        ),
        ({"anchor": "q", "match": "d", "labels": {"a": 1}}, "labels belongs to the column 'label'"),
        ({"anchor": "q", "match": "d", "score_range": [0, 1]}, "score_range belongs to the column 'score'"),
        ({"anchor": "q", "match": "d", "score": "s"}, "score needs score_range"),
        ({"anchor": "q", "match": "d", "score": "s", "score_range": [5, 0]}, "score_range is 5.0 to 0.0"),
        (
            {"anchor": "q", "match": "d", "score": "s", "score_range": [0, float("nan")]},
            "score_range is 0.0 to nan",
        ),
        ({"anchor": "q", "match": "d", "label": "l", "labels": {"a": float("inf")}}, "'a' is inf"),
        ({"anchor": "q", "match": "d", "num_neg": 3}, "num_neg belongs to the column 'class_column'"),
        ({"anchor": "q", "match": "q"}, "anchor and match are both the column 'q'"),
        ({"content": "c", "class_column": "k", "num_pos": -1}, "option 'num_pos' is -1"),
        ({"anchor": "q", "match": "d", "format": "xlsx"}, "option 'format' is 'xlsx'"),
    ],
)
def test_roles_that_make_no_sense_together_are_refused(given: dict[str, Any], fault: str) -> None:
    """One OptionError says which roles do not go together, or which one is missing."""
    with pytest.raises(OptionError, match=r"^roles: ") as raised:
        Roles.parse(given, where="roles")
    assert fault in str(raised.value)


def test_every_role_is_described() -> None:
    """A client that lists the options can tell what each is for."""
    assert [name for name, field in Roles.__fields__.items() if not field.field_info.description] == []
