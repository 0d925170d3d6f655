"""The one thing in a registry that changes: which version is active, which were before, which are kept."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from finetuner.errors import RegistryError


@dataclass(frozen=True)
class Pointer:
    """What is active, as one small file says, which is replaced as a whole.

    Attributes:
        version: The active version.
        before: Those that were active before it, the last one last.
        kept: Those that retention leaves alone.
        entry: What the audit log tells of the change that made this pointer. It is here too, since a crash may come
            between the change and the log.
    """

    version: str
    before: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    entry: dict[str, Any] | None = None

    @classmethod
    def parse(cls, content: bytes, where: str) -> Self:
        """Return what a pointer's file says.

        Raises:
            RegistryError: If it is no pointer.
        """
        try:
            told = json.loads(content)
            before, kept = told["before"], told.get("kept", [])
            return cls(str(told["version"]), tuple(before), tuple(kept), told.get("entry"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryError(
                f'{where}: not a pointer ({error!r}); write {{"version": "v0", "before": []}} into it, with the version '
                "that shall be active"
            ) from error

    def content(self) -> bytes:
        """Return what its file says."""
        return json.dumps(asdict(self)).encode()

    def to(self, version: str) -> Self:
        """Return the pointer after a promotion."""
        return replace(self, version=version, before=(*self.before, self.version))

    def back(self) -> Self:
        """Return the pointer after a rollback; there has to be a version before."""
        return replace(self, version=self.before[-1], before=self.before[:-1])
