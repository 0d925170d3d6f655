"""What the columns of a user's file are."""

import math
from typing import Any, Literal

from pydantic import Field, root_validator

from finetuner.documents import LARGEST
from finetuner.settings import Options

Format = Literal["csv", "tsv", "jsonl", "parquet"]
Shape = Literal["documents", "judgements", "triplets", "classes"]

_COLUMNS = {
    "judgements": {"anchor", "anchor_id", "match", "match_id", "label", "score", "weight"},
    "triplets": {"anchor", "anchor_id", "positive", "negative", "weight"},
    "classes": {"content", "class_column"},
}


class Roles(Options):
    """The names of the user's columns by what they mean, and how to read the file.

    A file has one of four shapes: judgements (a pair a row), triplets, class labels, or, in JSONL and without any
    role, match Documents.
    """

    anchor: str | None = Field(default=None, description="The column with the contents of the anchors.")
    match: str | None = Field(default=None, description="The column with the contents of the matches.")
    anchor_id: str | None = Field(
        default=None,
        description="The column with the ids of the anchors; by default an id is the hash of the content. Without "
        "'anchor' it names documents that the collection knows.",
    )
    match_id: str | None = Field(
        default=None, description="The column with the ids of the matches, in the same way."
    )
    label: str | None = Field(
        default=None,
        description="The column with the labels: above 0 positive, below 0 negative, empty for unjudged; without "
        "it, and without a score, each pair is judged with 1.",
    )
    labels: dict[str, float] | None = Field(
        default=None,
        description="What the values of the label column mean as numbers, such as {'E': 1, 'S': 0.5, 'I': -1}; a row "
        "with another value is refused.",
    )
    score: str | None = Field(
        default=None, description="The column with scores, instead of labels; empty for unjudged."
    )
    score_range: tuple[float, float] | None = Field(
        default=None,
        description="The lowest and the highest score; they become the labels -1 and 1, and those between them are "
        "mapped linearly.",
    )
    weight: str | None = Field(
        default=None, description="The column with how much a judgement counts, above 0; empty for 1."
    )
    positive: str | None = Field(
        default=None,
        description="In triplets, the column with contents that match the anchor; their label is 1.",
    )
    negative: str | None = Field(
        default=None, description="In triplets, the column with contents that do not; their label is -1."
    )
    content: str | None = Field(default=None, description="With class labels, the column with the contents.")
    class_column: str | None = Field(
        default=None,
        description="The column with the class of each content; contents without one are brought, but not judged.",
    )
    num_pos: int = Field(
        default=10, ge=0, description="With class labels, matches of the anchor's own class, with label 1."
    )
    num_neg: int = Field(
        default=10, ge=0, description="With class labels, matches of other classes, with label -1."
    )
    seed: int = Field(default=0, ge=0, description="With class labels, decides which matches are drawn.")
    format: Format | None = Field(
        default=None, description="The format of the file; by default its suffix tells it."
    )
    strict: bool = Field(
        default=False,
        description="Whether the first row that cannot be taken ends the reading with its error.",
    )

    @root_validator(skip_on_failure=True)
    def _go_together(cls, values: dict[str, Any]) -> dict[str, Any]:
        shape = _shape(values)
        for name in ("num_pos", "num_neg", "seed"):
            if shape != "classes" and values[name] != cls.__fields__[name].default:
                raise ValueError(f"{name} belongs to the column 'class_column', which is not given")
        given = {name for name in set().union(*_COLUMNS.values()) if values[name] is not None}
        if shape == "documents":
            if given or values["labels"] is not None or values["score_range"] is not None:
                raise ValueError(
                    f"{_told(given or {'labels or score_range'})} alone says nothing; name the columns of anchor and "
                    "match (or of their ids), of anchor, positive and negative, or of content and class_column"
                )
            return values
        odd = given - _COLUMNS[shape]
        if odd:
            raise ValueError(
                f"{_told(odd)} does not go with {_told(given - odd)}; {shape} have the roles {_told(_COLUMNS[shape])}"
            )
        _check_needed(shape, values)
        _check_labels(values)
        _check_distinct(values)
        return values

    @property
    def shape(self) -> Shape:
        """What a row of the file is."""
        return _shape(self.dict())

    @property
    def columns(self) -> list[str]:
        """The columns that are read, each once."""
        given = self.dict()
        roles = _COLUMNS.get(self.shape, set())
        return sorted({given[role] for role in roles if given[role] is not None})


def _told(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _shape(values: dict[str, Any]) -> Shape:
    if values["content"] is not None or values["class_column"] is not None:
        return "classes"
    if values["positive"] is not None or values["negative"] is not None:
        return "triplets"
    sides = ("anchor", "anchor_id", "match", "match_id")
    return "judgements" if any(values[side] is not None for side in sides) else "documents"


def _check_needed(shape: Shape, values: dict[str, Any]) -> None:
    needed: dict[str, list[tuple[str, ...]]] = {
        "judgements": [("anchor", "anchor_id"), ("match", "match_id")],
        "triplets": [("anchor", "anchor_id"), ("positive",), ("negative",)],
        "classes": [("content",), ("class_column",)],
    }
    for names in needed[shape]:
        if all(values[name] is None for name in names):
            raise ValueError(f"{shape} need a column for {' or '.join(names)}")


def _check_labels(values: dict[str, Any]) -> None:
    if values["label"] is not None and values["score"] is not None:
        raise ValueError("label and score are two ways to judge; give one of them")
    for name, column in (("labels", "label"), ("score_range", "score")):
        if values[name] is not None and values[column] is None:
            raise ValueError(f"{name} belongs to the column {column!r}, which is not given")
    for value, number in (values["labels"] or {}).items():
        if not abs(number) <= LARGEST:
            raise ValueError(f"labels: {value!r} is {number}; give a finite number")
    if values["score"] is not None and values["score_range"] is None:
        raise ValueError("score needs score_range: the lowest and the highest score, such as [0, 5]")
    low, high = values["score_range"] or (0, 1)
    if not (math.isfinite(high - low) and low < high):
        raise ValueError(f"score_range is {low} to {high}; give the lowest score, then a higher one")


def _check_distinct(values: dict[str, Any]) -> None:
    for names in (
        ("anchor", "match", "positive", "negative"),
        ("anchor_id", "match_id"),
        ("content", "class_column"),
    ):
        given: dict[str, str] = {}
        for name in names:
            column = values[name]
            if column is not None and given.setdefault(column, name) != name:
                raise ValueError(f"{given[column]} and {name} are both the column {column!r}")
