"""The right to change a registry in a bucket, where no lock ends with its process.

    lock/00000000000000000017.json      {"holder": "host:pid", "key": "...", "released": false}

Each object is a lease, and the one with the highest number counts. Who holds it creates the next one before it is out; who
wants it creates the next one once the last has stood there for so long, or is released. An object can be created once,
so of several one gets it. Nobody's clock is compared with another's: who waits measures by its own how long the last
lease has not changed.
"""

import contextlib
import json
import threading
import time
from typing import Any
from uuid import uuid4

from finetuner.errors import RegistryError, ReplicaError
from finetuner.lifecycle.lock import here
from finetuner.lifecycle.objects import Objects

LEASES = "lock"


class Lease:
    """A lease, wanted or held.

    Args:
        objects: The bucket.
        seconds: How long one lasts; it is renewed thrice in that time. A holder that could not renew it changes nothing
            any more.
    """

    def __init__(self, objects: Objects, *, seconds: float = 15.0) -> None:
        self._objects = objects
        self._seconds = seconds
        self._key = uuid4().hex
        self._seen: tuple[int, float] = (-1, 0.0)
        self._look_again = 0.0
        self._number = -1
        self._until = 0.0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost = False

    def take(self) -> bool:
        """Return whether it is held from now on; a lease of another one has to be out or released."""
        now = time.monotonic()
        if now < self._look_again:
            return False
        self._look_again = (
            now + self._seconds / 5
        )  # it is asked for far more often than anything can have changed
        number, told = self._last()
        if number != self._seen[0]:
            self._seen = (number, now)
        free = not told or told.get("released") or now - self._seen[1] > self._seconds
        if not free or not self._create(number + 1):
            return False
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()
        return True

    def check(self) -> None:
        """Return if the lease holds now, else raise ReplicaError."""
        if self.lost or time.monotonic() > self._until:
            raise ReplicaError(
                f"{self._objects.url}: this process could not renew its lease in time, so another one may change the "
                f"registry now; the last was {self.holder()}. Ask again there, or here once this one has it back"
            )

    def close(self) -> None:
        """Release the lease; where that cannot be told, another one has to wait until it is out."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if not self.lost and self._number >= 0:
            with contextlib.suppress(RegistryError):
                self._create(self._number + 1, released=True)

    def holder(self) -> str:
        """Return who has the last lease, or had it."""
        return str(self._last()[1].get("holder", "nobody"))

    def _renew(self) -> None:
        while not self._ended.wait(self._seconds / 3):
            try:
                self.lost = not self._create(self._number + 1)
            except RegistryError:  # check() tells when it is too late, and the next one may come through
                continue
            if self.lost:
                return

    def _create(self, number: int, *, released: bool = False) -> bool:
        began = time.monotonic()
        told = {"holder": here(), "key": self._key, "released": released}
        created = self._objects.create(_name(number), json.dumps(told).encode())
        if not created and self._told(number).get("key") != self._key:  # it is ours if the answer got lost
            return False
        names = self._objects.names(LEASES)
        if names[-1] != _name(number):  # this process slept since it looked, and others have gone on
            return False
        self._number, self._until = number, began + self._seconds
        self._objects.delete(names[:-2])
        return True

    def _last(self) -> tuple[int, dict[str, Any]]:
        names = self._objects.names(LEASES)
        if not names:
            return -1, {}
        number = int(names[-1].rpartition("/")[2].removesuffix(".json"))
        return number, self._told(number)

    def _told(self, number: int) -> dict[str, Any]:
        content = self._objects.get(_name(number))
        told: dict[str, Any] = json.loads(content) if content is not None else {"holder": "unknown"}
        return told


def _name(number: int) -> str:
    return f"{LEASES}/{number:020d}.json"
