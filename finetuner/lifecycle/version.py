"""A model version on disk: an immutable folder of weights, described and sealed by its ``model.json``."""

import datetime
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetuner.errors import DamagedVersionError, EncoderError
from finetuner.models import BUILTIN, Encoder, EncoderSpec, load_encoder
from finetuner.models.transformer import FOLDER_MARK
from finetuner.release import __version__

ABOUT = "model.json"


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
            DamagedVersionError: If ``model.json`` is missing or not readable.
        """
        try:
            about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            _ = about["encoder"]["name"], about["files"]  # what loading will need
            return cls(about["version"], folder, about)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedVersionError(
                f"{folder / ABOUT}: not the description of a version: {error}"
            ) from error

    def load(self, spec: EncoderSpec) -> Encoder:
        """Return the encoder, after checking every file.

        Args:
            spec: The encoder that the caller named; a version of another one is refused, since building that one
                would run code that the caller has not named.

        Raises:
            DamagedVersionError: If a file is missing, changed or new, or the version is of another encoder.
            EncoderError: If the weights do not fit.
        """
        if self.about["encoder"] != spec.as_dict():
            raise DamagedVersionError(
                f"{self.folder}: made with encoder {self.about['encoder']}, but this is {spec.as_dict()}; "
                "start with that encoder, or in another workspace"
            )
        found, told = hashes(self.folder), self.about["files"]
        changed = sorted(name for name in found.keys() | told.keys() if found.get(name) != told.get(name))
        if changed:
            raise DamagedVersionError(
                f"{self.folder}: not as registered: {', '.join(changed)}; restore the folder from a copy, or name "
                "another version in active.json beside versions/"
            )
        return load_encoder(spec, self.folder)


def write_version(folder: Path, spec: EncoderSpec, about: Mapping[str, Any]) -> Version:
    """Describe and seal a folder that holds an encoder's weights: it gets its ``card.md`` and ``model.json``.

    Args:
        folder: What :meth:`Encoder.save` has written.
        spec: The encoder that the weights belong to.
        about: What ``model.json`` shall tell besides: ``version``, its name, and perhaps run, parent, evaluation.
    """
    told = {
        **about,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "library": __version__,
        "encoder": spec.as_dict(),
    }
    (folder / "card.md").write_text(card(told), encoding="utf-8")
    told["files"] = hashes(folder)
    (folder / ABOUT).write_text(json.dumps(told, indent=1), encoding="utf-8")
    return Version(told["version"], folder, told)


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
    harmless = told["name"] in BUILTIN or (version.folder / FOLDER_MARK).is_file()
    if encoder != told["name"] and not (encoder is None and harmless):
        raise EncoderError(f"{folder} was made with encoder={told['name']!r}; got encoder={encoder!r}")
    return version.load(EncoderSpec(**told))


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in a version's folder but ``model.json``, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: _sha256(path) for name, path in names.items() if name != ABOUT}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def card(about: dict[str, Any]) -> str:
    """Return the version's card in Markdown: what it is and what it is worth, for people."""
    lines = [
        f"# Model version {about['version']}",
        "",
        f"- made {about['created']} by finetuner {about['library']}",
        f"- encoder: {about['encoder']['name']} {json.dumps(about['encoder']['options'])}",
        f"- parent: {about.get('parent') or 'none, this is a base'}",
        f"- run: {about.get('run') or 'none'}",
    ]
    if data := about.get("data"):
        lines.append(f"- match data: {_data(data)}, checksum {data['checksum']}")
    evaluation = about.get("evaluation") or {}
    metrics = evaluation.get("metrics") or {}
    if metrics:
        names = list(next(iter(metrics.values())))
        lines += [
            "",
            f"On {evaluation['anchors']} held-out anchors:",
            "",
            "| metric | " + " | ".join(metrics) + " |",
        ]
        lines += ["|---" * (len(metrics) + 1) + "|"]
        lines += [
            f"| {name} | " + " | ".join(f"{m[name]:.4f}" for m in metrics.values()) + " |" for name in names
        ]
    return "\n".join(lines) + "\n"


def _data(data: dict[str, Any]) -> str:
    if data["collection"] is None:
        return "documents that came with the request"
    where = f" at position {data['position']}" if data["position"] else ""
    return f"collection `{data['collection']}`{where} with {json.dumps(data['parameters'])}"
