"""The registry: immutable model versions on disk, and which of them is active.

    <root>/versions/v3/   model.safetensors, model.json, card.md (a transformer brings its own files along)
    <root>/active.json    {"version": "v3", "before": ["v0", "v1"]}, replaced atomically

A version is written aside and renamed, so it is whole or not there. ``model.json`` lists the SHA-256 of every other
file; a version is checked against it whenever it is loaded.
"""

import json
import os
import re
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from finetuner.durable import sync, sync_tree
from finetuner.errors import DamagedVersionError, UnknownVersionError
from finetuner.lifecycle.version import DamagedVersion, Version, write_version
from finetuner.models import EncoderSpec

_NAME = re.compile(r"v(\d+)")


class Registry:
    """The versions under a root folder."""

    def __init__(self, root: Path) -> None:
        self._versions = root / "versions"
        self._active = root / "active.json"
        self._lock = threading.Lock()
        self._versions.mkdir(parents=True, exist_ok=True)
        for left_over in self._versions.glob(".*.part"):
            shutil.rmtree(left_over)

    def register(self, weights: Path, spec: EncoderSpec, about: dict[str, Any]) -> Version:
        """Copy a folder of weights into a new version.

        Args:
            weights: What :meth:`Encoder.save` wrote.
            spec: The encoder that the weights belong to.
            about: What else ``model.json`` shall tell: run, parent, evaluation.
        """
        aside = self._versions / f".{uuid4().hex}.part"
        shutil.copytree(weights, aside)
        with self._lock:
            name = f"v{max((int(one.name[1:]) for one in self._folders()), default=-1) + 1}"
            version = write_version(aside, spec, {"version": name, **about})
            sync_tree(aside)
            aside.rename(self._versions / name)
            sync(self._versions)
        return replace(version, folder=self._versions / name)

    @property
    def folder(self) -> Path:
        """Where the versions are, each in a folder of its name."""
        return self._versions

    def versions(self) -> list[Version | DamagedVersion]:
        """Return all versions, the oldest first, those too whose description cannot be read."""
        return [_read(folder) for folder in self._folders()]

    def _folders(self) -> list[Path]:
        # a version that is damaged has its name all the same
        folders = [one for one in self._versions.iterdir() if _NAME.fullmatch(one.name)]
        return sorted(folders, key=lambda one: int(one.name[1:]))

    def get(self, name: str) -> Version:
        """Return a version; ``active`` and ``base`` are names too.

        Raises:
            UnknownVersionError: If there is none of that name.
        """
        wanted = {"active": self.active, "base": "v0"}.get(name, name)
        if wanted is None or not _NAME.fullmatch(wanted) or not (self._versions / wanted).is_dir():
            known = ", ".join(folder.name for folder in self._folders())
            raise UnknownVersionError(f"there is no version {name!r}; known are {known}, and active and base")
        return Version.read(self._versions / wanted)

    @property
    def active(self) -> str | None:
        """The name of the active version, or None before the first."""
        pointer = self._pointer()
        return str(pointer["version"]) if pointer else None

    def activate(self, name: str) -> None:
        """Make a version active; the one before it is remembered for :meth:`previous`."""
        pointer = self._pointer()
        before = [*pointer["before"], pointer["version"]] if pointer else []
        self._point({"version": name, "before": before})

    def previous(self) -> str:
        """Return the version that was active before this one.

        Raises:
            UnknownVersionError: If there was none.
        """
        pointer = self._pointer()
        if not pointer or not pointer["before"]:
            raise UnknownVersionError(
                "no version was active before this one: there is nothing to roll back to"
            )
        return str(pointer["before"][-1])

    def step_back(self) -> None:
        """Make the previous version active, and forget the one that was."""
        pointer = self._pointer() or {}
        self._point({"version": pointer["before"][-1], "before": pointer["before"][:-1]})

    def _pointer(self) -> dict[str, Any] | None:
        if not self._active.exists():
            return None
        pointer: dict[str, Any] = json.loads(self._active.read_text(encoding="utf-8"))
        return pointer

    def _point(self, pointer: dict[str, Any]) -> None:
        aside = self._active.with_suffix(".part")
        with aside.open("w", encoding="utf-8") as file:
            json.dump(pointer, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._active)
        sync(self._active.parent)


def _read(folder: Path) -> Version | DamagedVersion:
    try:
        return Version.read(folder)
    except DamagedVersionError as error:
        return DamagedVersion(folder.name, str(error))
