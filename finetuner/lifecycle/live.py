"""The version that serves: the registry's active one, loaded, and swapped when another becomes active."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import RLock
from typing import Any

import numpy as np

from finetuner.contents import Contents
from finetuner.errors import DamagedVersionError, EncoderError, ReplicaError, UnknownVersionError
from finetuner.lifecycle.registry import Registry
from finetuner.lifecycle.version import DamagedVersion, Version
from finetuner.models import Embeddings, Encoder, EncoderSpec, Side, build_encoder
from finetuner.serving import Engine, Served

Heard = Callable[[Contents, Side, Embeddings, str], None]
"""Is told what was embedded, as what, the embeddings, and the version that made them."""


class Live:
    """Serves what is active in a registry.

    Another version is loaded, verified and warmed up beside the one that serves, which goes on meanwhile, and then takes
    its place by one assignment. One that cannot be loaded never does.

    The versions that served last stay warm, which is loaded: a request can name one of them, and one that serves again is
    not loaded again. Its files are verified all the same, though the copy in memory was made of them when they were
    whole: what becomes active has to load in other replicas, and here at the next start.

    Args:
        registry: The registry; a version is active.
        spec: The encoder that all its versions are of.
        batch_size: Contents in one forward pass at most.
        keep_warm: How many versions stay loaded, at least 1; while another one is loaded it is one more.

    Raises:
        DamagedVersionError: If the active version is not what was registered.

    Attributes:
        swapping: Held while another version takes its place; who decides about that holds it meanwhile.
        heard: Called after each request that named no version; it must neither fail nor take time.
    """

    RETRY_SECONDS = 5.0
    """Until a version that could not be loaded is tried again."""
    TIDY_SECONDS = 60.0
    """Until it is looked again whether versions that are warm were deleted by another process."""

    def __init__(self, registry: Registry, spec: EncoderSpec, *, batch_size: int, keep_warm: int = 1) -> None:
        self.swapping = RLock()
        self.heard: Heard | None = None
        self._registry = registry
        self._spec = spec
        self._sample: tuple[Contents, Side] | None = None
        self._refused: dict[str, str] = {}
        self._retry_at = 0.0
        self._tidy_at = time.monotonic() + self.TIDY_SECONDS
        self._seen = registry.store.stamp()
        self._engine = Engine(self._loaded("active"), batch_size=batch_size, keep_warm=keep_warm)

    @property
    def version(self) -> str:
        """The version that serves now."""
        return self._engine.served.version

    @property
    def encoder(self) -> Encoder:
        """Its encoder."""
        return self._engine.served.encoder

    @property
    def warm(self) -> list[str]:
        """The versions that are loaded, the one that serves first."""
        return [one.version for one in self._engine.warm]

    def embed(self, contents: Contents, side: Side, version: str | None = None) -> tuple[Embeddings, str]:
        """Return embeddings, float32 (N, D), and the one version that made all of them.

        Args:
            contents: N texts, or an array (N, ...).
            side: What they are embedded as.
            version: The name of a version that is warm, or base; active, as None, is the one that serves.

        Raises:
            NotWarmError: If that version is not loaded.
            EncoderError: If the encoder does not take such contents.
        """
        pinned = None if version in (None, "active") else "v0" if version == "base" else version
        embeddings, made_by = self._engine.embed(contents, side, pinned)
        first = np.array(contents[:1]) if isinstance(contents, np.ndarray) else contents[:1]
        self._sample = (first, side)
        heard = self.heard
        if heard is not None and pinned is None:
            heard(contents, side, embeddings, made_by)
        return embeddings, made_by

    def promote(self, name: str, *, by: str, why: str = "") -> str:
        """Make a version active and serve it; return its name.

        Args:
            name: Its name, or base.
            by: Who wants it, for the audit log.
            why: And why.

        Raises:
            UnknownVersionError: If there is none of that name.
            DamagedVersionError: If its files are not as registered; what served goes on.
            ReplicaError: If another process holds the registry.
        """
        with self.swapping:
            version = self._registry.get(name).name
            is_active = version == self._registry.active
            if not is_active or version != self.version:
                served = self._ready(version)  # first: what cannot be loaded must not become active
                if not is_active:
                    self._registry.activate(version, by=by, why=why)
                self._engine.swap(served)
            return version

    def rollback(self, *, by: str) -> str:
        """Serve the version that was active before this one; return its name.

        Args:
            by: Who wants it, for the audit log.

        Raises:
            UnknownVersionError: If there was none.
            DamagedVersionError: If its files are not as registered; what served goes on.
            ReplicaError: If another process holds the registry.
        """
        with self.swapping:
            served = self._ready(self._registry.previous())
            self._registry.step_back(by=by)
            self._engine.swap(served)
            return served.version

    def follow(self) -> None:
        """Serve what is active, if that has changed; what cannot be loaded is tried again some seconds later.

        Versions that were deleted are let go of, within a minute if another process did that.

        Raises:
            RegistryError: If the registry cannot be reached; what served goes on.
        """
        if len(self._engine.warm) > 1 and time.monotonic() > self._tidy_at:
            self.drop_deleted()
        stamp = self._registry.store.stamp()
        if stamp == self._seen and not (self._refused and time.monotonic() > self._retry_at):
            return
        with self.swapping:
            active = self._registry.active
            if active is not None and active != self.version:
                self._follow_to(active)
            else:
                self._refused = {}
            self._seen = stamp

    def _follow_to(self, active: str) -> None:
        try:
            self._engine.swap(self._ready(active))
        # the last two say that there is no memory for another version, which must not end the watch over the registry
        except (DamagedVersionError, EncoderError, UnknownVersionError, MemoryError, RuntimeError) as error:
            self._refused = {active: str(error)}
            self._retry_at = time.monotonic() + self.RETRY_SECONDS
        else:
            self._refused = {}

    def drop_deleted(self) -> None:
        """Let go of the versions that were deleted; the one that serves stays."""
        self._tidy_at = time.monotonic() + self.TIDY_SECONDS
        with self.swapping:
            self._engine.keep_only(self._registry.store.names())

    def _ready(self, name: str) -> Served:
        version = self._registry.get(name)  # deleted ones are no longer to be had, warm or not
        for one in self._engine.warm:
            if one.version == version.name:
                with contextlib.suppress(
                    DamagedVersionError
                ):  # loading fetches it once more, or says what is wrong
                    version.check(self._spec)
                    return one
        return self._loaded(version.name)

    def _loaded(self, name: str) -> Served:
        version = self._registry.get(name).name
        encoder = self._registry.load(version, self._spec)
        if self._sample is not None:  # the first pass of a network is slower than the next ones
            contents, side = self._sample
            encoder.embed(contents, side=side)
        return Served(version, encoder)

    def models(self) -> list[dict[str, Any]]:
        """Return what is known of each version, the oldest first, and which one is active.

        ``warm`` tells whether it is loaded here, ``refused`` why the active one does not serve here.
        """
        active, kept, warm = self._registry.active, self._registry.kept, self.warm
        found = []
        for version in self._registry.versions():
            told = {
                **_told(version),
                "active": version.name == active,
                "kept": version.name in kept,
                "warm": version.name in warm,
            }
            if version.name in self._refused:
                told["refused"] = self._refused[version.name]
            found.append(told)
        return found


def begin(registry: Registry, spec: EncoderSpec, *, seed: int, wait_seconds: float = 30.0) -> None:
    """Return once a version is active: a new base is registered, unless another process holds the registry and does.

    Args:
        registry: The registry.
        spec: The encoder.
        seed: Draws the weights of a new base.
        wait_seconds: For that other process.

    Raises:
        ReplicaError: If it does not do so in time.
        EncoderError: If the encoder cannot be built.
        RegistryError: If the registry cannot be reached.
    """
    until = time.monotonic() + wait_seconds
    while not registry.hold() and registry.active is None:
        if time.monotonic() > until:
            raise ReplicaError(
                f"registry {registry.store.where}: {registry.holder} holds it, and no version is active after "
                f"{wait_seconds:g} s; look at that process"
            )
        time.sleep(registry.store.poll_seconds)
    if registry.active is not None:
        return
    if not registry.versions():  # it is there if an earlier start was killed before activating it
        with TemporaryDirectory() as folder:
            build_encoder(spec, seed=seed).save(Path(folder))
            about = {"parent": None, "run": None, "seed": seed}
            registry.register(Path(folder), spec, about, by="first start")
    registry.activate("v0", by="first start")


def _told(version: Version | DamagedVersion) -> dict[str, Any]:
    if isinstance(version, DamagedVersion):
        return {"version": version.name, "damaged": version.reason}
    return {name: value for name, value in version.about.items() if name not in ("files", "seal")}
