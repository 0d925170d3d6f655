"""What a service does about the registry by itself: it follows what is active, and takes over when nobody holds it."""

import contextlib
import logging
import threading
from collections.abc import Callable

from finetuner.errors import FinetunerError
from finetuner.lifecycle.live import Live
from finetuner.lifecycle.registry import Registry

_log = logging.getLogger(__name__)


class Watch:
    """A thread that looks at the registry several times a second.

    Args:
        registry: The registry.
        live: What serves.
        take_over: Called when this process has come to hold the registry.
        step_down: Called when another one has, which happens to a lease that could not be renewed.
        tidy: Called in the holder after :meth:`tidy_soon`.
    """

    RETRY_SECONDS = 1.0
    """After a look that failed, until the next one."""

    def __init__(
        self,
        registry: Registry,
        live: Live,
        *,
        take_over: Callable[[], None],
        step_down: Callable[[], None],
        tidy: Callable[[], object],
    ) -> None:
        self._registry = registry
        self._live = live
        self._take_over = take_over
        self._step_down = step_down
        self._tidy = tidy
        self._untidy = threading.Event()
        self._holds = False
        self._trouble = ""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="registry", daemon=True)

    def start(self) -> None:
        """Begin; if the registry is held already, with taking over."""
        self._look_who_holds()
        self._thread.start()

    @property
    def trouble(self) -> str:
        """Why the last look failed, or an empty string."""
        return self._trouble

    def tidy_soon(self) -> None:
        """Have the registry tidied: a fault of that is none of what has just come to its end."""
        self._untidy.set()

    def close(self) -> None:
        """End; return once it has."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        pause = self._registry.store.poll_seconds
        while not self._closing.wait(max(pause, self.RETRY_SECONDS if self._trouble else 0)):
            try:
                self._look()
            except Exception as error:  # noqa: BLE001  what serves goes on, and the next look may do better
                told = str(error) or type(error).__name__
                if told != self._trouble:
                    trace = None if isinstance(error, (FinetunerError, OSError)) else error
                    _log.warning("registry %s: %s", self._registry.store.where, told, exc_info=trace)
                self._trouble = told
            else:
                self._trouble = ""

    def _look(self) -> None:
        self._live.follow()
        self._look_who_holds()
        if not self._holds:
            self._registry.hold()
            self._look_who_holds()
        if self._holds and self._untidy.is_set():
            self._untidy.clear()  # first: while it is tidied, more may come
            with contextlib.ExitStack() as if_it_fails:
                if_it_fails.callback(self._untidy.set)
                self._tidy()
                if_it_fails.pop_all()

    def _look_who_holds(self) -> None:
        held = self._registry.held
        if held and not self._holds:
            self._take_over()
        elif self._holds and not held:
            self._step_down()
        self._holds = held
