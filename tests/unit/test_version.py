"""A version's description: where it comes from, sealed, and of which format."""

import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import finetuner
from finetuner.errors import DamagedVersionError
from finetuner.lifecycle import Version
from finetuner.lifecycle import version as module
from finetuner.lifecycle.version import write_version
from tests.two_classes import SPEC, encoder

ABOUT: dict[str, Any] = {
    "version": "v1",
    "parent": "v0",
    "run": "r1",
    "recipe": "head",
    "options": {"seed": 7, "epochs": 3},
    "data": {"collection": None, "checksum": "ab"},
    "gate": {"promoted": False, "reason": "too little data"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a version."""
    encoder().save(tmp_path)
    write_version(tmp_path, SPEC, ABOUT)
    return tmp_path


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what a version tells of itself, and seal it again."""
    about = json.loads((folder / "model.json").read_text())
    change(about)
    about["seal"] = module._seal(about)
    (folder / "model.json").write_text(json.dumps(about))


def test_a_version_tells_how_it_was_made(folder: Path) -> None:
    """By what it was given, and by the releases of what has a part in it; for people, too."""
    about = Version.read(folder).about
    assert ABOUT.items() <= about.items()
    assert about["made_with"] == {
        "finetuner": finetuner.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    card = (folder / "card.md").read_text()
    assert (
        f"- with python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}\n"
        in card
    )
    assert "- parent: v0\n- run: r1\n- seed: 7\n- recipe: head\n" in card
    assert '- options: {"seed": 7, "epochs": 3}\n' in card
    assert card.endswith("- gate: not promoted, too little data\n")


def test_a_description_that_was_changed_is_refused(folder: Path) -> None:
    """Each digit of what it tells is sealed, whatever the spaces between."""
    about = folder / "model.json"
    told = about.read_text()
    about.write_text(json.dumps(json.loads(told)))
    Version.read(folder).load(SPEC)
    about.write_text(told.replace('"epochs": 3', '"epochs": 4'))
    with pytest.raises(DamagedVersionError, match="it was changed after it was registered"):
        Version.read(folder)


@pytest.mark.parametrize(
    ("told", "accepted"),
    [
        ({"library": "0.0.9"}, True),
        ({"library": "0.1.99"}, True),
        ({"library": "0.2.0"}, False),
        ({"library": "1.0.0"}, False),
        ({"format": 2}, False),
    ],
)
def test_a_version_of_a_later_library_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, told: dict[str, Any], accepted: bool
) -> None:
    """What it means is not guessed; those of earlier releases load, and those that differ in the last number."""
    monkeypatch.setattr(module, "__version__", "0.1.0")
    rewrite(folder, lambda about: about.update(told))
    if accepted:
        Version.read(folder).load(SPEC)
    else:
        with pytest.raises(
            DamagedVersionError, match=r"made by finetuner .* this is finetuner 0\.1\.0.*upgrade"
        ):
            Version.read(folder).load(SPEC)


def test_a_version_from_before_there_were_formats_loads(folder: Path) -> None:
    """It has neither a format nor a seal."""
    about = json.loads((folder / "model.json").read_text())
    for name in ("format", "seal", "made_with"):
        del about[name]
    (folder / "model.json").write_text(json.dumps(about))
    assert Version.read(folder).load(SPEC).spec == SPEC
