"""Which registry an operator means."""

from pathlib import Path

from finetuner.lifecycle.bucket import BucketStore
from finetuner.lifecycle.folder import FolderStore
from finetuner.lifecycle.registry import Registry

_FILE = "file://"


def open_registry(where: str | None, home: Path) -> Registry:
    """Return the registry at a place.

    Args:
        where: A folder, a URL of fsspec such as ``s3://bucket/prefix``, or None for the home.
        home: The folder of this service, where its runs are; who holds the registry holds it, too.

    Raises:
        OptionError: If nothing is installed that can read such a URL.
    """
    if where is not None and "://" in where and not where.startswith(_FILE):
        return Registry(BucketStore(where, home))
    root = home if where is None else Path(where.removeprefix(_FILE))
    return Registry(FolderStore(root, home))
