"""The registry: immutable model versions, which of them is active, and who changed what.

A version is whole or not there. ``model.json`` lists the SHA-256 of every other file; a version is checked against it
whenever it is loaded. The pointer says which one is active, and is replaced as a whole. Where all this lies is the
business of a :class:`finetuner.lifecycle.store.Store`: a folder or a bucket. One process at a time may change it.
"""

import contextlib
import shutil
import threading
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetuner.errors import DamagedVersionError, RegistryError, ReplicaError, UnknownVersionError
from finetuner.lifecycle.audit import entry, missing
from finetuner.lifecycle.folder import NAME, FolderStore
from finetuner.lifecycle.pointer import Pointer
from finetuner.lifecycle.retention import outdated
from finetuner.lifecycle.store import Entry, Hold, Store
from finetuner.lifecycle.version import DamagedVersion, Version, write_version
from finetuner.models import Encoder, EncoderSpec


class Registry:
    """The versions of a store.

    What changes it takes the hold for as long as that takes, unless :meth:`hold` has taken it for longer.

    Args:
        store: Where they lie; a path is a folder.

    Attributes:
        store: The store, for what only looks at it: the audit log, the stamp of the pointer.
    """

    def __init__(self, store: Path | Store) -> None:
        self.store: Store = FolderStore(store) if isinstance(store, Path) else store
        self._lock = threading.RLock()
        self._hold: Hold | None = None

    # who may change it

    def hold(self) -> bool:
        """Take the right to change it, for as long as this process runs; return whether this process has it now.

        What a crash has left half-done is brought to its end then.

        Raises:
            RegistryError: If the store cannot be reached.
        """
        with self._lock:
            if not self.held:
                self.release()  # one that was lost still locks the folder of this machine
                self._hold = self.store.hold()
                if self._hold is not None:
                    with contextlib.ExitStack() as if_it_fails:
                        if_it_fails.callback(self.release)  # so that the next time makes it good
                        self.store.sweep()
                        for one in missing(self.store.entries(), self._pointer(), self.store.names()):
                            self.store.append(one)
                        if_it_fails.pop_all()
            return self.held

    @property
    def held(self) -> bool:
        """Whether this process may change it for as long as it runs."""
        return self._hold is not None and not self._hold.lost

    @property
    def holder(self) -> str:
        """Which process may change it, or did last, for people."""
        return self.store.holder()

    def release(self) -> None:
        """Give that right back, so that another process can take it."""
        with self._lock:
            held, self._hold = self._hold, None
            if held is not None:
                held.close()

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Hold]:
        with self._lock:
            if self._hold is not None:
                self._hold.check()
                yield self._hold
                return
            if not self.hold() or self._hold is None:
                who = f"registry {self.store.where}: {self.holder} holds it"
                raise ReplicaError(f"{who}, so only that process changes it; ask there, or end it first")
            try:
                yield self._hold
            finally:
                self.release()

    # versions

    def register(self, weights: Path, spec: EncoderSpec, about: dict[str, Any], *, by: str = "") -> Version:
        """Copy a folder of weights into a new version.

        Args:
            weights: What :meth:`Encoder.save` wrote.
            spec: The encoder that the weights belong to.
            about: What else ``model.json`` shall tell: run, parent, evaluation.
            by: Who wants it, for the audit log.

        Raises:
            ReplicaError: If another process holds the registry.
            RegistryError: If the store cannot be reached.
        """
        aside = self.store.aside()
        try:
            with self._changing() as hold:
                shutil.copytree(weights, aside)
                name = f"v{max((int(one[1:]) for one in self._names()), default=-1) + 1}"
                version = write_version(aside, spec, {"version": name, **about})
                hold.check()  # copying and hashing take their time, and a lease may end meanwhile
                self.store.add(name, aside)
                self.store.append(
                    entry("registered", name, by=by, run=about.get("run"), parent=about.get("parent"))
                )
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return replace(version, folder=self.folder / name)

    @property
    def folder(self) -> Path:
        """Where the versions are on this machine, each in a folder of its name once :meth:`get` has returned it."""
        return self.store.folder

    def versions(self) -> list[Version | DamagedVersion]:
        """Return all versions, the oldest first, those too whose description cannot be read."""
        found: list[Version | DamagedVersion] = []
        for name in self._names():
            try:
                found.append(Version.parse(self.store.describe(name), self.folder / name))
            except (FileNotFoundError, DamagedVersionError) as error:
                found.append(DamagedVersion(name, str(error)))
        return found

    def _names(self) -> list[str]:
        return sorted(self.store.names(), key=lambda name: int(name[1:]))

    def get(self, name: str) -> Version:
        """Return a version, whose folder is on this machine then; ``active`` and ``base`` are names too.

        Raises:
            UnknownVersionError: If there is none of that name.
            DamagedVersionError: If it cannot be read.
            RegistryError: If the store cannot be reached.
        """
        wanted = self._resolved(name)
        with contextlib.suppress(FileNotFoundError):
            if wanted is not None and NAME.fullmatch(wanted):
                return Version.read(self.store.fetch(wanted))
        raise self._unknown(name)

    def _resolved(self, name: str) -> str | None:
        return {"active": self.active, "base": "v0"}[name] if name in ("active", "base") else name

    def _unknown(self, name: str) -> UnknownVersionError:
        known = ", ".join(self._names())
        return UnknownVersionError(f"there is no version {name!r}; known are {known}, and active and base")

    def load(self, name: str, spec: EncoderSpec) -> Encoder:
        """Return the encoder of a version, after checking every file; a spoiled copy is fetched once more.

        Raises:
            UnknownVersionError: If there is none of that name.
            DamagedVersionError: If it is not as registered, or of another encoder.
            EncoderError: If the weights do not fit.
            RegistryError: If the store cannot be reached.
        """
        wanted = self._resolved(name) or name
        try:
            return self.get(wanted).load(spec)
        except DamagedVersionError:
            if not self.store.forget(wanted):
                raise
            return self.get(wanted).load(spec)

    # which one is active

    @property
    def active(self) -> str | None:
        """The name of the active version, or None before the first."""
        pointer = self._pointer()
        return pointer.version if pointer else None

    @property
    def kept(self) -> tuple[str, ...]:
        """The versions that :meth:`retire` leaves alone because somebody said so."""
        pointer = self._pointer()
        return pointer.kept if pointer else ()

    def activate(self, name: str, *, by: str = "", why: str = "") -> None:
        """Make a version active; the one before it is remembered for :meth:`previous`.

        Args:
            name: Its name.
            by: Who wants it, for the audit log.
            why: And why.

        Raises:
            ReplicaError: If another process holds the registry.
        """
        with self._changing():
            pointer = self._pointer()
            before = pointer.version if pointer else None
            moved = pointer.to(name) if pointer else Pointer(name)
            self._point(moved, entry("promoted", name, by=by, why=why, before=before))

    def previous(self) -> str:
        """Return the version that was active before this one.

        Raises:
            UnknownVersionError: If there was none.
        """
        pointer = self._pointer()
        if not pointer or not pointer.before:
            raise UnknownVersionError(
                "no version was active before this one: there is nothing to roll back to"
            )
        return pointer.before[-1]

    def step_back(self, *, by: str = "") -> None:
        """Make the previous version active, and forget the one that was.

        Args:
            by: Who wants it, for the audit log.

        Raises:
            UnknownVersionError: If there was none.
            ReplicaError: If another process holds the registry.
        """
        with self._changing():
            previous, pointer = self.previous(), self._known_pointer()
            told = entry("rolled back", previous, by=by, before=pointer.version)
            self._point(pointer.back(), told)

    # how long a version is kept

    def keep(self, name: str, kept: bool, *, by: str = "") -> None:
        """Have a version kept for good, or no longer.

        Raises:
            UnknownVersionError: If there is none of that name.
            ReplicaError: If another process holds the registry.
        """
        with self._changing():
            pointer = self._known_pointer()
            if name not in self.store.names():
                raise self._unknown(name)
            others = tuple(one for one in pointer.kept if one != name)
            told = entry("kept" if kept else "no longer kept", name, by=by)
            if kept != (name in pointer.kept):
                self._point(replace(pointer, kept=(*others, name) if kept else others), told)

    def retire(self, last: int, needed: Collection[str] = ()) -> list[str]:
        """Delete all versions but the last ones, base, active, those before it, and those to be kept.

        The way back is as long: of the versions that were active before, the last ones can be rolled back to.

        Args:
            last: How many of the newest to keep, at least 1.
            needed: Versions that are in use.

        Returns:
            The names of those that were deleted.

        Raises:
            ReplicaError: If another process holds the registry.
        """
        with self._changing():
            pointer = self._known_pointer()
            if len(pointer.before) > last:
                pointer = replace(pointer, before=pointer.before[-last:])
                self.store.write(pointer.content())
            all_needed = {*needed, pointer.version, *pointer.before, *pointer.kept}
            gone = outdated(self._names(), last=last, needed=all_needed)
            for name in gone:
                self.store.remove(name)
                self.store.append(entry("deleted", name, why=f"older than the last {last}"))
            return gone

    def _point(self, pointer: Pointer, told: Entry) -> None:
        self.store.write(replace(pointer, entry=told).content())
        self.store.append(told)

    def _pointer(self) -> Pointer | None:
        content = self.store.read()
        return None if content is None else Pointer.parse(content, f"{self.store.where}/active.json")

    def _known_pointer(self) -> Pointer:
        pointer = self._pointer()
        if pointer is None:
            raise RegistryError(f"registry {self.store.where}: no version is active yet")
        return pointer
