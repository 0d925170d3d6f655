"""A door: a user's file on one side, packs on the other."""

from collections.abc import Iterator
from pathlib import Path

from finetuner.doors import jsonl, parquet, tables
from finetuner.doors.classes import packs_of_classes
from finetuner.doors.gathering import packs_of_rows
from finetuner.doors.judging import Judge
from finetuner.doors.match_documents import packs_of_documents
from finetuner.doors.portions import Portion
from finetuner.doors.refusals import Refusals
from finetuner.doors.roles import Format, Roles
from finetuner.errors import OptionError
from finetuner.packs import Pack, Refusal

SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
"""Formats by the suffix of a file."""


class Door:
    """What comes out of a file.

    Args:
        packs: The packs.
        refusals: What was refused while they were made.

    Attributes:
        packs: Standalone packs, made while they are asked for. A fault of the file ends them with a SourceError,
            after all that was read before it.
    """

    def __init__(self, packs: Iterator[Pack], refusals: Refusals) -> None:
        self.packs = packs
        self._refusals = refusals

    @property
    def refused(self) -> int:
        """How many rows were refused until now."""
        return self._refusals.count

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """The first of them."""
        return tuple(self._refusals.first)


def open_door(path: Path, roles: Roles) -> Door:
    """Return a door to a file; nothing is read yet.

    Args:
        path: The file, see :data:`SUFFIXES`.
        roles: What its columns are. Without any, the file holds match Documents in JSONL.

    Raises:
        OptionError: If its suffix tells no format and none is given, if the format needs roles, or if it is Parquet
            and pyarrow is not installed.
    """
    refusals = Refusals(strict=roles.strict)
    chosen = roles.format or SUFFIXES.get(path.suffix.lower())
    if chosen is None:
        raise OptionError(
            f"{path}: the suffix {path.suffix!r} tells no format; known are {', '.join(SUFFIXES)}; or give 'format'"
        )
    if roles.shape == "documents":
        if chosen != "jsonl":
            raise OptionError(
                f"{path}: no roles are given, and only JSONL can hold match Documents; name the columns of anchor and "
                "match, of anchor, positive and negative, or of content and class_column"
            )
        return Door(packs_of_documents(path, refusals), refusals)
    portions = _portions(path, chosen, roles.columns)
    if roles.shape == "classes":
        return Door(packs_of_classes(portions, roles, refusals), refusals)
    return Door(packs_of_rows(portions, Judge(roles, refusals), refusals), refusals)


def _portions(path: Path, chosen: Format, names: list[str]) -> Iterator[Portion]:
    if chosen == "parquet":
        parquet.pyarrow()  # where it is missing, that is told at once
        return parquet.read_columns(path, names)
    if chosen == "jsonl":
        return jsonl.read_columns(path, names)
    return tables.read_columns(path, names, delimiter="\t" if chosen == "tsv" else ",")
