"""A registry in a bucket, or in whatever else fsspec reaches and that is an object store.

    <url>/versions/v3/...              its files; model.json last: without it there is no such version
    <url>/active.json                  the pointer; one small object, replaced by one request
    <url>/audit/<time>-<random>.json   an entry of the audit log each, since objects cannot be appended to
    <url>/lock/<number>.json           leases: who may change the rest

Versions are pulled into a folder of this machine when they are needed, each file checked against its SHA-256.
"""

import contextlib
import hashlib
import json
import shutil
import time
from pathlib import Path, PurePosixPath
from uuid import uuid4

from finetuner.errors import DamagedVersionError, RegistryError
from finetuner.lifecycle.folder import NAME, read_entry
from finetuner.lifecycle.lease import Lease
from finetuner.lifecycle.lock import FolderLock
from finetuner.lifecycle.objects import Objects
from finetuner.lifecycle.store import Entry, Hold
from finetuner.lifecycle.version import ABOUT, Version, changed_files

POINTER = "active.json"


_PULLED_SECONDS = 24 * 3600
"""So long after it was begun, no version is being pulled any more."""


class BucketStore:
    """Versions, pointer and audit log in a bucket; see :class:`finetuner.lifecycle.store.Store`.

    Args:
        url: Such as ``s3://bucket/prefix``.
        home: A folder of this machine: below it are the copies of versions, and the runs of the process that holds the
            registry; who holds it locks that folder, too.
        lease_seconds: How long the right to change the registry lasts where its process died.
    """

    poll_seconds = 0.3

    def __init__(self, url: str, home: Path, *, lease_seconds: float = 15.0) -> None:
        self.where = url
        # v3 of another bucket is another v3
        self.folder = home / "pulled" / hashlib.sha256(url.encode()).hexdigest()[:16]
        self._home = home
        self._objects = Objects(url)
        self._lease_seconds = lease_seconds
        self._lease = Lease(self._objects, seconds=lease_seconds)
        self._described: dict[str, bytes] = {}
        self.folder.mkdir(parents=True, exist_ok=True)

    def aside(self) -> Path:
        """Return a path at which there is nothing yet, beside the copies of versions."""
        return self.folder / f".{uuid4().hex}.part"

    def add(self, name: str, made: Path) -> None:
        """Upload the version that was made aside, its ``model.json`` last, and keep it as this machine's copy.

        Raises:
            RegistryError: If there is one of that name, or the bucket cannot be written.
        """
        about = (made / ABOUT).read_bytes()
        uploaded: list[str] = []
        try:
            for file in json.loads(about)["files"]:
                path = f"versions/{name}/{file}"
                if not self._objects.upload(made / file, path):
                    raise self._taken(name)
                uploaded.append(path)
            if not self._objects.create(_about(name), about):
                raise self._taken(name)
        except RegistryError:
            self._objects.delete(uploaded)  # and nothing that somebody else has written
            raise
        self.forget(name)
        made.rename(self.folder / name)

    def _taken(self, name: str) -> RegistryError:
        return RegistryError(f"{self.where}: there is a version {name} already; nothing of it was changed")

    def names(self) -> list[str]:
        """Return the names of all versions that are whole."""
        paths = [PurePosixPath(one) for one in self._objects.names("versions")]
        return [
            path.parts[1]
            for path in paths
            if path.parts[2:] == (ABOUT,) and NAME.fullmatch(path.parts[1]) is not None
        ]

    def describe(self, name: str) -> bytes:
        """Return the ``model.json`` of a version, or raise FileNotFoundError; it never changes."""
        if name not in self._described:
            content = self._objects.get(_about(name))
            if content is None:
                raise FileNotFoundError(name)
            self._described[name] = content
        return self._described[name]

    def fetch(self, name: str) -> Path:
        """Return this machine's copy of a version, which is pulled if there is none.

        Raises:
            FileNotFoundError: If there is none of that name.
            DamagedVersionError: If what came is not what was registered.
            RegistryError: If the bucket cannot be reached.
        """
        about = self._objects.get(_about(name))  # a copy may outlive its version
        if about is None:
            raise FileNotFoundError(name)
        if not (self.folder / name).is_dir():
            self._pull(name, about)
            self._drop_those_that_are_gone()
        return self.folder / name

    def forget(self, name: str) -> bool:
        """Drop this machine's copy of a version, and return that it can be pulled again."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return True

    def remove(self, name: str) -> None:
        """Delete a version, its ``model.json`` first: what is left is no version."""
        self._objects.delete([_about(name)])
        self._objects.delete(self._objects.names(f"versions/{name}"))
        self.forget(name)

    def stamp(self) -> object:
        """Return the pointer: it is as cheap to read as to ask whether it has changed."""
        return self._objects.get(POINTER)

    def read(self) -> bytes | None:
        """Return the pointer, or None before the first."""
        return self._objects.get(POINTER)

    def write(self, pointer: bytes) -> None:
        """Replace the pointer, by one request."""
        self._objects.put(POINTER, pointer)

    def append(self, entry: Entry) -> None:
        """Add an object to the audit log."""
        self._objects.create(
            f"audit/{time.time_ns():020d}-{uuid4().hex[:8]}.json", json.dumps(entry).encode()
        )

    def entries(self) -> list[Entry]:
        """Return the audit log, by the clocks of those who wrote it."""
        lines = self._objects.get_all(self._objects.names("audit"))
        return [entry for line in lines if (entry := read_entry(line)) is not None]

    def hold(self) -> Hold | None:
        """Return the lease with a lock on the folder of this machine, or None while another process has one of them.

        Where the holder died, the lease is out some seconds later; that it has not changed is seen by asking again.
        """
        lock = FolderLock.take(self._home)
        if lock is None:
            return None
        with contextlib.ExitStack() as if_it_is_taken:
            if_it_is_taken.callback(lock.close)
            if not self._lease.take():
                return None
            if_it_is_taken.pop_all()
        held, self._lease = self._lease, Lease(self._objects, seconds=self._lease_seconds)
        return _Held(lock, held)

    def holder(self) -> str:
        """Return who has the lease, or had it last."""
        return self._lease.holder()

    def sweep(self) -> None:
        """Delete what has no ``model.json``: it was being registered, or deleted; and copies that were never pulled whole."""
        whole = set(self.names())
        halves = [one for one in self._objects.names("versions") if one.split("/")[1] not in whole]
        self._objects.delete(halves)
        for half in self.folder.glob(".*.part"):
            if (
                time.time() - half.stat().st_mtime > _PULLED_SECONDS
            ):  # another process may be pulling right now
                shutil.rmtree(half, ignore_errors=True)

    def _pull(self, name: str, about: bytes) -> None:
        """Copy a version from the bucket, under its name only if each file is as registered."""
        aside = self.aside()
        try:
            aside.mkdir()
            (aside / ABOUT).write_bytes(about)
            told = Version.read(aside).about["files"]
            if any(PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts for file in told):
                raise DamagedVersionError(f"{self.where}/{_about(name)}: names files outside its folder")
            for file in told:
                (aside / file).parent.mkdir(parents=True, exist_ok=True)
                self._objects.download(f"versions/{name}/{file}", aside / file)
            if changed := changed_files(aside, told):
                raise DamagedVersionError(
                    f"{self.where}/versions/{name}: not as registered: {', '.join(changed)}; restore it from a copy, "
                    "or promote another version"
                )
            with contextlib.suppress(OSError):  # another process has pulled the same meanwhile
                aside.rename(self.folder / name)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _drop_those_that_are_gone(self) -> None:
        there = set(self.names())
        for copy in self.folder.iterdir():
            if NAME.fullmatch(copy.name) and copy.name not in there:
                self.forget(copy.name)


class _Held:
    """A lease, and the lock of the folder of this machine."""

    def __init__(self, lock: FolderLock, lease: Lease) -> None:
        self._lock = lock
        self._lease = lease

    @property
    def lost(self) -> bool:
        return self._lease.lost

    def check(self) -> None:
        self._lease.check()

    def close(self) -> None:
        try:
            self._lease.close()
        finally:
            self._lock.close()


def _about(name: str) -> str:
    return f"versions/{name}/{ABOUT}"
