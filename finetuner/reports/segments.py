"""Segments of anchors: what a tag of theirs says, gathered while match data is read."""

import json
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from finetuner.documents import TAG
from finetuner.errors import OptionError
from finetuner.matches import MatchSet

_NAMED = 20  # tags that an error names


class Segments:
    """Notes the value of one tag, by the row of an anchor; of an anchor that comes again the first value stands.

    Args:
        tag: The name of the tag.
    """

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._values: dict[int, str] = {}
        self._names: dict[str, str] = {}  # each kept once, however many anchors have it
        self._others: dict[str, None] = {}

    def note(self, row: int, tags: Mapping[str, Any]) -> None:
        """Take in the tags of an anchor; a text, a number that a float can hold, or a truth value names a segment, all else none."""
        name = _name(tags.get(self._tag))
        if name is not None:
            self._values.setdefault(int(row), self._names.setdefault(name, name))
        if len(self._others) < _NAMED:
            self._others.update(dict.fromkeys(one for one in tags if one != TAG))

    def note_all(self, rows: Iterable[int], tags: Sequence[str] | None) -> None:
        """Take in the tags of the anchors of a pack, as JSON."""
        if tags is not None:
            for row, told in zip(rows, tags, strict=True):
                self.note(row, json.loads(told) if told else {})

    def of(self, matches: MatchSet) -> dict[str, str]:
        """Return the name of the segment by the id of an anchor.

        Args:
            matches: What was built of the same anchors.

        Raises:
            OptionError: If no anchor has the tag.
        """
        if not self._values:
            known = ", ".join(list(self._others)[:_NAMED]) or "none"
            raise OptionError(
                f"segment {self._tag!r}: none of the {len(matches)} anchors has a text or number under this tag; "
                f"tags that they have: {known}"
            )
        return {matches.ids[row]: name for row, name in self._values.items()}


def _name(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, numbers.Real):
        try:
            return repr(float(value)).removesuffix(".0")  # over the wire a whole number is 3.0
        except OverflowError:
            return None
    return value if isinstance(value, str) else None
