"""Where the files of a data set lie: the bundled sample, a folder of the user, or the cache of downloads."""

import os
from pathlib import Path

from finetuner.errors import SourceError

DATASETS_VARIABLE = "FINETUNER_DATASETS"
"""Environment variable: a folder to use in place of the bundled ``datasets/``, with one folder a data set."""


def source_folder(name: str, folder: Path | None = None) -> Path:
    """Return the folder with the files of a data set.

    Args:
        name: The data set, e.g. ``fashion_mnist``.
        folder: The user's own folder with its files; by default ``$FINETUNER_DATASETS/<name>`` where that is
            set, else the bundled sample.

    Raises:
        SourceError: If there is no such folder.
    """
    found = folder if folder is not None else _datasets() / name
    if not found.is_dir():
        raise SourceError(
            f"{found}: there is no such folder, so the data set {name!r} cannot be read; give its folder, set "
            f"{DATASETS_VARIABLE} to a folder that holds {name}/, or install from a checkout, which has datasets/"
        )
    return found


def cache_folder(name: str) -> Path:
    """Return where the full set is downloaded to, unless the user names a folder; it need not exist."""
    return Path.home() / ".cache" / "finetuner" / name


def _datasets() -> Path:
    named = os.environ.get(DATASETS_VARIABLE)
    return Path(named) if named else Path(__file__).resolve().parents[2] / "datasets"
