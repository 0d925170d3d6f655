"""Files for doors, and what came out of them in a form that is easy to compare."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from finetuner.documents import label_of, weight_of
from finetuner.doors import Door, Roles, open_door
from finetuner.errors import SourceError
from finetuner.packing import unpacked
from finetuner.packs import Pack

Judgement = tuple[str, str, float | None]
"""Anchor and match, by their texts if they have any and else by their ids, and the label."""


def opened(path: Path, data: str | bytes | Iterable[object], **roles: Any) -> Door:
    """Write a file, objects as JSON Lines, and return the door to it."""
    if not isinstance(data, str | bytes):
        data = "".join(json.dumps(one) + "\n" for one in data)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return open_door(path, Roles.parse(roles, where="roles"))


def judgements(packs: Iterable[Pack]) -> list[Judgement]:
    """Return all judgements in their order."""
    return [
        (anchor.text or anchor.id, match.text or match.id, label_of(match))
        for anchor in unpacked(packs)
        for match in anchor.matches
    ]


def weights(packs: Iterable[Pack]) -> list[float]:
    """Return the weights of all judgements in their order."""
    return [weight_of(match) for anchor in unpacked(packs) for match in anchor.matches]


def reasons(door: Door) -> list[tuple[str, str]]:
    """Read a door to its end, and return what it refused: the end of each place, from its last colon on, and why."""
    for _ in door.packs:
        pass
    return [(one.place.rpartition(":")[2].strip(), one.reason) for one in door.refusals]


def until_fault(door: Door) -> tuple[list[Pack], str]:
    """Return the packs of a door up to the SourceError that ends it, and its message."""
    packs = []
    try:
        for pack in door.packs:
            packs.append(pack)
    except SourceError as error:
        return packs, str(error)
    raise AssertionError("the file has no fault")
