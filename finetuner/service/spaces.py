"""Answers in the space of another version, so that the index that it has built stays of use."""

import threading

from finetuner.compatibility import Map, Spaces, Stamped, read_spaces
from finetuner.compatibility.kept import FOLDER
from finetuner.errors import DamagedVersionError, UnknownSpaceError
from finetuner.lifecycle import Registry, Version
from finetuner.lifecycle.version import changed_files

_MOST = 16  # versions whose maps are in memory


class VersionSpaces:
    """The maps that came with the versions of a registry; those of a version are verified and read once.

    Args:
        registry: Where the versions are.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[str, Spaces] = {}
        self._lock = threading.Lock()

    def answer(self, made: Stamped, space: str) -> Stamped:
        """Return embeddings of a version in the space of another one, stamped with that one.

        They are made to ask with: see :class:`finetuner.compatibility.Map`. Where both versions make the same of documents,
        and in the version's own space, they are as they were.

        Args:
            made: What a version made.
            space: The version in whose space they shall be, or base.

        Raises:
            UnknownSpaceError: If there is no way from one into the other.
            DamagedVersionError: If its maps are not as registered.
            RegistryError: If the registry cannot be reached.
        """
        wanted = "v0" if space == "base" else space
        if wanted == made.version:
            return made
        between = self.between(made.version, wanted)
        return Stamped(wanted, made.vectors) if between is None else between.apply(made)

    def between(self, version: str, space: str) -> Map | None:
        """Return the map from the space of a version into that of another one, None if none is needed.

        Raises:
            UnknownSpaceError: If there is no way from one into the other.
            UnknownVersionError: If there is no such version.
            DamagedVersionError: If its maps are not as registered.
            RegistryError: If the registry cannot be reached.
        """
        known = self._of(version)
        if space not in known:
            others = ", ".join(sorted(known, key=lambda name: (len(name), name)))
            raise UnknownSpaceError(
                f"version {version} cannot answer in the space of {space!r}: it can in its own"
                f"{f', and in those of {others}' if others else ', and in no other'}; a run makes maps to base and to what was "
                "active then. Ask a version that is warm, or embed the documents again: /reembed"
            )
        return known[space]

    def _of(self, version: str) -> Spaces:
        with self._lock:
            found = self._known.get(version)
            if found is None:
                found = _verified(self._registry.get(version))
                while len(self._known) >= _MOST:
                    del self._known[next(iter(self._known))]
                self._known[version] = found
            return found


def _verified(version: Version) -> Spaces:
    """Return the maps of a version, once each of their files is what was registered."""
    within = f"{FOLDER}/"
    told = {
        name.removeprefix(within): digest
        for name, digest in version.about["files"].items()
        if name.startswith(within)
    }
    if changed := changed_files(version.folder / FOLDER, told):
        raise DamagedVersionError(
            f"{version.folder / FOLDER}: not as registered: {', '.join(changed)}; restore the folder from a copy"
        )
    return read_spaces(version.folder, version.name)
