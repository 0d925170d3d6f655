"""Rows that a door does not take: it tells them, and goes on."""

from finetuner.errors import MatchDataError
from finetuner.packs import REFUSALS, Refusal


class Refusals:
    """Counts the refused rows of a file, and keeps the first.

    Args:
        strict: Raise the first one instead.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict
        self.count = 0
        self.first: list[Refusal] = []

    def refuse(self, place: str, error: MatchDataError) -> None:
        """Refuse what is at a place.

        Raises:
            LabelError: If the first refusal shall raise, and it is about a label or a weight.
            ContentError: If the first refusal shall raise, and it is about a document.
        """
        if self._strict:
            raise type(error)(f"{place}: {error}")
        self.count += 1
        if len(self.first) < REFUSALS:
            self.first.append(Refusal(place, str(error)))
