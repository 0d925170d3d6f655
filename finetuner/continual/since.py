"""The state of a collection since which a run learns what is new."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finetuner.errors import ChangedDataError, OptionError


@dataclass(frozen=True)
class Since:
    """A state of a collection.

    Attributes:
        position: The feed up to which it reaches; 0 for nothing.
        version: Which version learnt from it, if that is how it was named.
        parameters: With which exactly it is emitted again; None for those of the new run.
        checksum: Of what was emitted then, if it is known.
    """

    position: int
    version: str | None = None
    parameters: Mapping[str, Any] | None = None
    checksum: str | None = None

    @classmethod
    def of_version(cls, version: str, about: Mapping[str, Any], collection: str) -> "Since":
        """Return what a version learnt from; for a base, which has learnt from nothing, that is nothing.

        Args:
            version: Its name.
            about: What it tells of itself.
            collection: From which collection a run shall go on.

        Raises:
            OptionError: If it learnt from another collection, from documents, or from a collection without positions.
        """
        data = about.get("data")
        if data is None:
            return cls(0, version)
        if data["collection"] != collection:
            other = f"collection {data['collection']!r}" if data["collection"] else "documents"
            raise OptionError(
                f"since: version {version!r} learnt from {other}, so what is new in collection {collection!r} since then "
                "is not known; name another version or a position, or leave since out"
            )
        if not data["position"]:
            raise OptionError(
                f"since: collection {collection!r} is made and has no positions; give one that is fed"
            )
        return cls(data["position"], version, data["parameters"], data["checksum"])

    def check(self, snapshot: Mapping[str, Any]) -> None:
        """Raise ChangedDataError if what was emitted again is not what it was then."""
        if self.checksum is not None and snapshot["checksum"] != self.checksum:
            raise self.gone(snapshot["collection"])

    def gone(self, collection: str) -> ChangedDataError:
        """Return the error that tells that what held then is no longer there."""
        return ChangedDataError(
            f"since: collection {collection!r} at position {self.position} is no longer what version {self.version!r} "
            "learnt from: some of it was deleted; give the position as a number to compare with what is left, or leave "
            "since out to learn from all"
        )

    def as_figures(self) -> dict[str, Any]:
        """Return it for people."""
        return {"position": self.position, **({"version": self.version} if self.version else {})}
