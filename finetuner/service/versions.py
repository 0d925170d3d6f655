"""The versions of the service: what is known of them, and what a person does with them."""

from typing import Any

from finetuner.lifecycle import Live, Registry
from finetuner.lifecycle.store import Entry
from finetuner.lifecycle.watch import Watch


class Versions:
    """The versions of a service, for people.

    Args:
        registry: Where they are.
        live: The one that serves.
        watch: Follows the registry, and knows what is wrong with it.
    """

    def __init__(self, registry: Registry, live: Live, watch: Watch) -> None:
        self._registry = registry
        self._live = live
        self._watch = watch

    def models(self) -> list[dict[str, Any]]:
        """Return what is known of each version, the oldest first, and which one is active.

        ``refused``, at the active one, tells why it does not serve here; ``trouble``, what is wrong with the registry.
        """
        trouble = {"trouble": self._watch.trouble} if self._watch.trouble else {}
        return [{**one, **(trouble if one["active"] else {})} for one in self._live.models()]

    def audit(self, last: int) -> list[Entry]:
        """Return the last entries of the audit log, the oldest first: who changed what, and when."""
        return self._registry.store.entries()[-last:]

    def promote(self, name: str, *, by: str = "/promote") -> str:
        """Make a version active and serve it; return its name. Raises as :meth:`Live.promote`."""
        return self._live.promote(name, by=by)

    def rollback(self, *, by: str = "/rollback") -> str:
        """Serve the version that was active before this one; return its name. Raises as :meth:`Live.rollback`."""
        return self._live.rollback(by=by)

    def keep(self, name: str, kept: bool, *, by: str = "/keep") -> str:
        """Have a version kept for good, or no longer; return its name.

        Raises:
            UnknownVersionError: If there is none of that name.
            ReplicaError: If another service holds the registry.
        """
        version = self._registry.get(name).name
        self._registry.keep(version, kept, by=by)
        return version
