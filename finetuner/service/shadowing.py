"""The shadow of a service: a version that embeds what is asked for, too, and answers nobody."""

from threading import Lock
from typing import Any

from finetuner.errors import OptionError
from finetuner.lifecycle import Live, Registry
from finetuner.lifecycle.change_options import ShadowOptions
from finetuner.lifecycle.shadow import Shadow
from finetuner.models import EncoderSpec


class Shadowing:
    """Starts, changes and ends the shadow of one service; there is one at a time, until it ends or the process does.

    Args:
        registry: The versions.
        spec: The encoder that all of them are of.
        live: What serves, whose answers the shadow hears of.
    """

    def __init__(self, registry: Registry, spec: EncoderSpec, live: Live) -> None:
        self._registry = registry
        self._spec = spec
        self._live = live
        self._changing = Lock()
        self._shadow: Shadow | None = None

    @property
    def versions(self) -> list[str]:
        """The version that is in the shadow, if any."""
        shadow = self._shadow
        return [shadow.version] if shadow else []

    def ask(self, options: ShadowOptions) -> list[dict[str, Any]]:
        """Do what is asked for, and return the report of the shadow that there is then, or that has just ended.

        Returns:
            See :meth:`finetuner.lifecycle.shadow.Shadow.report`; nothing if there is no shadow.

        Raises:
            OptionError: If the version serves, or there is no shadow whose share could be changed.
            UnknownVersionError: If there is none of that name.
            DamagedVersionError: If its files are not as registered.
        """
        with self._changing:
            shadow = self._shadow
            if options.share == 0:
                self._end()
            elif options.share is not None:
                shadow = self._changed(shadow, options.version, options.share)
        return [shadow.report()] if shadow else []

    def _changed(self, shadow: Shadow | None, name: str | None, share: float) -> Shadow:
        version = self._registry.get(name).name if name else None
        if shadow is not None and version in (None, shadow.version):
            shadow.share = share
            return shadow
        if version is None:
            raise OptionError("/shadow: there is no shadow whose share could be changed; name a version, too")
        if version == self._live.version:
            raise OptionError(f"/shadow: {version} serves, so there is nothing to compare; name another one")
        started = Shadow(version, self._registry.load(version, self._spec), share)
        self._end()
        self._shadow, self._live.heard = started, started.hear
        return started

    def _end(self) -> None:
        shadow, self._shadow, self._live.heard = self._shadow, None, None
        if shadow is not None:
            shadow.close()

    def close(self) -> None:
        """End the shadow, if there is one."""
        with self._changing:
            self._end()
