"""Maps that come with a version: how they lie in its folder, and how they are read from there.

maps/spaces.json    for each version that the new one was compared with: what is known, see :func:`write_spaces`
maps/v0/            the map into the space of v0, if it needs one
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetuner.compatibility.maps import Map
from finetuner.errors import DamagedVersionError

FOLDER = "maps"
"""The folder of the maps in that of a version."""

CANDIDATE = "candidate"
"""What a map calls the version that it comes with: its name is given when it is registered, and the map is there before."""

_SPACES = "spaces.json"

Spaces = dict[str, Map | None]
"""For each version in whose space another one can answer the map; None where its vectors serve as they are."""


def write_map(version: Path, target: str, made: Map) -> None:
    """Write a map into the folder of the version that it comes with.

    Args:
        version: The folder.
        target: The version whose space it leads into.
        made: The map.
    """
    made.save(version / FOLDER / target)


def write_spaces(version: Path, known: Mapping[str, Mapping[str, Any]]) -> None:
    """Write into the folder of a version what is known of the spaces of others.

    Args:
        version: The folder.
        known: For each other version its figures: ``same_documents`` is true where no map is needed, and ``kind`` names
            the map that :func:`write_map` wrote; with neither there is no way.
    """
    (version / FOLDER).mkdir(exist_ok=True)
    (version / FOLDER / _SPACES).write_text(json.dumps(known, indent=1), encoding="utf-8")


def read_spaces(version: Path, name: str) -> Spaces:
    """Return the spaces that a version can answer in but for its own; none if nothing came with it.

    Args:
        version: Its folder.
        name: Its name; the maps that are returned take its embeddings.

    Raises:
        DamagedVersionError: If what is there cannot be read.
    """
    about = version / FOLDER / _SPACES
    if not about.is_file():
        return {}
    try:
        known = json.loads(about.read_text(encoding="utf-8"))
        same = {target for target, told in known.items() if told.get("same_documents")}
        mapped = {target for target, told in known.items() if told.get("kind")} - same
    except (OSError, ValueError, AttributeError) as error:
        raise DamagedVersionError(f"{about}: does not tell of the spaces of versions: {error}") from error
    maps = {target: Map.load(version / FOLDER / target) for target in mapped}
    return dict.fromkeys(same) | {
        target: replace(one, source=name, target=target) for target, one in maps.items()
    }
