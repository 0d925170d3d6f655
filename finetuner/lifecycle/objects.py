"""Objects under a URL of fsspec, such as ``s3://bucket/prefix``: read, written and created, with errors of ours."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetuner.errors import OptionError, RegistryError

_OPTIONS: dict[str, dict[str, Any]] = {
    # else minutes pass until a server is given up: botocore tries each of the five tries of s3fs five times
    "s3": {"config_kwargs": {"connect_timeout": 5, "read_timeout": 10, "retries": {"total_max_attempts": 1}}}
}


class Objects:
    """The objects under a prefix, by names relative to it.

    What an object store keeps to is taken for granted: an object is written as a whole or not at all, it is read as it was
    written last, and of several who create one name, one succeeds.

    Args:
        url: Such as ``s3://bucket/prefix``; who may and at which address is the business of the file system's own
            settings, such as ``AWS_ACCESS_KEY_ID`` and ``AWS_ENDPOINT_URL``.

    Raises:
        OptionError: If nothing is installed that can read such URLs.
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        self.url = url.rstrip("/")
        protocol = url.partition("://")[0]
        try:
            self._files, self._root = url_to_fs(
                self.url,
                use_listings_cache=False,
                skip_instance_cache=True,  # an instance of before may know another address, or older keys
                **_OPTIONS.get(protocol, {}),
            )
        except (ImportError, ValueError) as error:
            raise OptionError(
                f"registry {url!r} cannot be opened: {error}; pip install 'finetuner[s3]' for s3://, or name a folder"
            ) from error
        self._faults = _faults()

    def get(self, name: str) -> bytes | None:
        """Return an object, or None if there is none."""
        with self._typed(f"reading {name}"), contextlib.suppress(FileNotFoundError):
            content: bytes = self._files.cat_file(self._path(name))
            return content
        return None

    def get_all(self, names: list[str]) -> list[bytes]:
        """Return objects in the order of their names; one that is gone meanwhile is left out."""
        if not names:
            return []
        paths = [self._path(name) for name in names]
        with self._typed(f"reading {names[0]} and others"):
            found = self._files.cat(paths, on_error="omit")
        found = {key.lstrip("/"): content for key, content in found.items()}
        return [found[path.lstrip("/")] for path in paths if path.lstrip("/") in found]

    def put(self, name: str, content: bytes) -> None:
        """Write an object, whether there is one or not."""
        with self._typed(f"writing {name}"):
            self._files.pipe_file(self._path(name), content)

    def create(self, name: str, content: bytes) -> bool:
        """Write an object if there is none, and return whether there was none."""
        with self._typed(f"writing {name}"), contextlib.suppress(FileExistsError):
            self._files.pipe_file(self._path(name), content, mode="create")
            return True
        return False

    def upload(self, file: Path, name: str) -> bool:
        """Write what a file holds if there is no such object, and return whether there was none."""
        with self._typed(f"writing {name}"), contextlib.suppress(FileExistsError):
            self._files.put_file(str(file), self._path(name), mode="create")
            return True
        return False

    def download(self, name: str, file: Path) -> None:
        """Write an object into a file, if there is one."""
        with self._typed(f"reading {name}"), contextlib.suppress(FileNotFoundError):
            self._files.get_file(self._path(name), str(file))

    def names(self, folder: str) -> list[str]:
        """Return the names of all objects under a folder, at any depth, sorted."""
        found: list[str] = []
        with self._typed(f"listing {folder}"), contextlib.suppress(FileNotFoundError):
            found = self._files.find(self._path(folder), refresh=True)
        start = len(self._root.strip("/")) + 1
        names = [path.strip("/")[start:] for path in found]
        # s3fs names the folder itself if its first object comes while it looks
        return sorted(name for name in names if name.startswith(f"{folder}/"))

    def delete(self, names: list[str]) -> None:
        """Delete objects; one that is gone already is no fault."""
        with self._typed("deleting"):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    self._files.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextlib.contextmanager
    def _typed(self, doing: str) -> Iterator[None]:
        try:
            yield
        except self._faults as error:
            raise RegistryError(
                f"{self.url}: {doing} failed: {type(error).__name__}: {error}; check the address, the bucket and who "
                "may write there"
            ) from error


def _faults() -> tuple[type[Exception], ...]:
    """Return what tells that a store cannot be reached; botocore's errors are no OSErrors."""
    try:
        from botocore.exceptions import BotoCoreError
    except ImportError:
        return (OSError,)
    return OSError, BotoCoreError
