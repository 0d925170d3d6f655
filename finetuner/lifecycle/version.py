"""A model version on disk: an immutable folder of weights, described and sealed by its ``model.json``."""

import datetime
import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetuner.errors import DamagedVersionError, EncoderError
from finetuner.lifecycle.card import card
from finetuner.models import BUILTIN, Encoder, EncoderSpec, load_encoder
from finetuner.models.building import transformer_folder
from finetuner.release import __version__

ABOUT = "model.json"
FORMAT = 1
"""Of ``model.json`` and of what lies beside it; another one is not guessed at."""


@dataclass(frozen=True)
class DamagedVersion:
    """A version whose ``model.json`` cannot be read, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Version:
    """A registered version: its name, its folder, and what ``model.json`` says."""

    name: str
    folder: Path
    about: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "Version":
        """Return the version in a folder.

        Raises:
            DamagedVersionError: If ``model.json`` is missing, not readable, or not what was registered.
        """
        try:
            return cls.parse((folder / ABOUT).read_bytes(), folder)
        except OSError as error:
            raise DamagedVersionError(
                f"{folder / ABOUT}: not the description of a version: {error}"
            ) from error

    @classmethod
    def parse(cls, content: bytes, folder: Path) -> "Version":
        """Return the version that a ``model.json`` describes; its files need not be there yet.

        Raises:
            DamagedVersionError: If it is not readable, or not what was registered.
        """
        try:
            about = json.loads(content)
            _ = about["encoder"]["name"], about["files"].items()  # what loading will need
            if about.get("format") == FORMAT and about["seal"] != _seal(about):
                raise ValueError("it was changed after it was registered")
            return cls(about["version"], folder, about)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedVersionError(
                f"{folder / ABOUT}: not the description of a version: {error}"
            ) from error

    def load(self, spec: EncoderSpec) -> Encoder:
        """Return the encoder, after :meth:`check`.

        Raises:
            DamagedVersionError: As :meth:`check`.
            EncoderError: If the weights do not fit.
        """
        self.check(spec)
        return load_encoder(spec, self.folder)

    def check(self, spec: EncoderSpec) -> None:
        """Return if every file is as it was registered.

        Args:
            spec: The encoder that the caller named; a version of another one is refused, since building that one
                would run code that the caller has not named.

        Raises:
            DamagedVersionError: If a file is missing, changed or new, or the version is of another encoder, or of a
                later library.
        """
        if self.about.get("format", FORMAT) != FORMAT or _is_later(str(self.about.get("library"))):
            raise DamagedVersionError(
                f"{self.folder}: made by finetuner {self.about.get('library')} in format "
                f"{self.about.get('format', FORMAT)}; this is finetuner {__version__}, which reads format {FORMAT} of "
                "its own and earlier releases; upgrade, or name another version"
            )
        if self.about["encoder"] != spec.as_dict():
            raise DamagedVersionError(
                f"{self.folder}: made with encoder {self.about['encoder']}, but this is {spec.as_dict()}; "
                "start with that encoder, or in another workspace"
            )
        if changed := changed_files(self.folder, self.about["files"]):
            raise DamagedVersionError(
                f"{self.folder}: not as registered: {', '.join(changed)}; restore the folder from a copy, or name "
                "another version in active.json beside versions/"
            )


def write_version(folder: Path, spec: EncoderSpec, about: Mapping[str, Any]) -> Version:
    """Describe and seal a folder that holds an encoder's weights: it gets its ``card.md`` and ``model.json``.

    Args:
        folder: What :meth:`Encoder.save` has written.
        spec: The encoder that the weights belong to.
        about: What ``model.json`` shall tell besides: ``version``, its name, and perhaps run, parent, seed, evaluation.
    """
    told = {
        **about,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "format": FORMAT,
        "library": __version__,
        "made_with": made_with(),
        "encoder": spec.as_dict(),
    }
    (folder / "card.md").write_text(card(told), encoding="utf-8")
    told["files"] = hashes(folder)
    told = json.loads(json.dumps(told))  # the seal is of what comes back
    told["seal"] = _seal(told)
    (folder / ABOUT).write_text(json.dumps(told, indent=1), encoding="utf-8")
    return Version(told["version"], folder, told)


def made_with() -> dict[str, str]:
    """Return the versions of what has a part in how weights come out."""
    return {
        "finetuner": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }


def load(folder: str | Path, *, encoder: str | None = None) -> Encoder:
    """Return the encoder of a version's folder.

    Args:
        folder: A folder of the registry, or a copy of one.
        encoder: Has to be given if the version was made with a ``package.module:factory`` of somebody's own, and
            has to be the same: what a file says is never run just because it says so.

    Raises:
        EncoderError: If ``encoder`` is needed, or another one than the version's.
        DamagedVersionError: If the folder is not as it was registered.
    """
    version = Version.read(Path(folder))
    told = version.about["encoder"]
    harmless = told["name"] in BUILTIN or transformer_folder(version.folder) is not None
    if encoder != told["name"] and not (encoder is None and harmless):
        raise EncoderError(f"{folder} was made with encoder={told['name']!r}; got encoder={encoder!r}")
    return version.load(EncoderSpec(**told))


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in a version's folder but ``model.json``, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: _sha256(path) for name, path in names.items() if name != ABOUT}


def changed_files(folder: Path, told: Mapping[str, str]) -> list[str]:
    """Return the files of a version's folder that are missing, changed or new, by relative path.

    Args:
        folder: The folder.
        told: The SHA-256 of each file that was registered.
    """
    found = hashes(folder)
    return sorted(name for name in found.keys() | told.keys() if found.get(name) != told.get(name))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(about: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all that ``model.json`` says but the seal."""
    sealed = {name: value for name, value in about.items() if name != "seal"}
    return hashlib.sha256(json.dumps(sealed, sort_keys=True).encode()).hexdigest()


def _is_later(library: str) -> bool:
    """Return whether a release is a later one than this, but for its last number."""
    try:
        return _release(library) > _release(__version__)
    except ValueError:
        return False


def _release(version: str) -> tuple[int, int]:
    major, minor, *_ = version.split(".")
    return int(major), int(minor)
