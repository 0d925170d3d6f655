"""The version that serves: the registry's active one, loaded, and swapped when another becomes active."""

import time
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


class Live:
    """Serves what is active in a registry.

    Another version is loaded, verified and warmed up beside the one that serves, which goes on meanwhile, and then takes
    its place by one assignment. One that cannot be loaded never does.

    Args:
        registry: The registry; a version is active.
        spec: The encoder that all its versions are of.
        batch_size: Contents in one forward pass at most.

    Raises:
        DamagedVersionError: If the active version is not what was registered.

    Attributes:
        swapping: Held while another version takes its place; who decides about that holds it meanwhile.
    """

    RETRY_SECONDS = 5.0
    """Until a version that could not be loaded is tried again."""

    def __init__(self, registry: Registry, spec: EncoderSpec, *, batch_size: int) -> None:
        self.swapping = RLock()
        self._registry = registry
        self._spec = spec
        self._sample: tuple[Contents, Side] | None = None
        self._refused: dict[str, str] = {}
        self._retry_at = 0.0
        self._seen = registry.store.stamp()
        self._engine = Engine(self._loaded("active"), batch_size=batch_size)

    @property
    def version(self) -> str:
        """The version that serves now."""
        return self._engine.served.version

    @property
    def encoder(self) -> Encoder:
        """Its encoder."""
        return self._engine.served.encoder

    def embed(self, contents: Contents, side: Side) -> tuple[Embeddings, str]:
        """Return embeddings, float32 (N, D), and the one version that made all of them.

        Args:
            contents: N texts, or an array (N, ...).
            side: What they are embedded as.

        Raises:
            EncoderError: If the encoder does not take such contents.
        """
        embedded = self._engine.embed(contents, side)
        first = np.array(contents[:1]) if isinstance(contents, np.ndarray) else contents[:1]
        self._sample = (first, side)
        return embedded

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
                served = self._loaded(version)  # first: what cannot be loaded must not become active
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
            served = self._loaded(self._registry.previous())
            self._registry.step_back(by=by)
            self._engine.swap(served)
            return served.version

    def follow(self) -> None:
        """Serve what is active, if that has changed; what cannot be loaded is tried again some seconds later.

        Raises:
            RegistryError: If the registry cannot be reached; what served goes on.
        """
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
            self._engine.swap(self._loaded(active))
        except (DamagedVersionError, EncoderError, UnknownVersionError) as error:
            self._refused = {active: str(error)}
            self._retry_at = time.monotonic() + self.RETRY_SECONDS
        else:
            self._refused = {}

    def _loaded(self, name: str) -> Served:
        version = self._registry.get(name).name
        encoder = self._registry.load(version, self._spec)
        if self._sample is not None:  # the first pass of a network is slower than the next ones
            contents, side = self._sample
            encoder.embed(contents, side=side)
        return Served(version, encoder)

    def models(self) -> list[dict[str, Any]]:
        """Return what is known of each version, the oldest first, and which one is active.

        ``refused`` tells why the active one does not serve here.
        """
        active, kept = self._registry.active, self._registry.kept
        found = []
        for version in self._registry.versions():
            told = {**_told(version), "active": version.name == active, "kept": version.name in kept}
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
