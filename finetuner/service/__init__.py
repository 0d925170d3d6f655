"""The tuning service: runs, versions and serving, put together. The Executors translate to and from it."""

import contextlib
from pathlib import Path

from finetuner.features import FeatureCache
from finetuner.lifecycle import Live, open_registry
from finetuner.lifecycle.live import begin
from finetuner.lifecycle.watch import Watch
from finetuner.models import EncoderSpec
from finetuner.service.encoding import Encoding
from finetuner.service.judging import Judging
from finetuner.service.reembedding import Reembedding
from finetuner.service.shadowing import Shadowing
from finetuner.service.spaces import VersionSpaces
from finetuner.service.tuning import Tuning
from finetuner.service.versions import Versions
from finetuner.service_settings import ServiceSettings
from finetuner.training.needed import needed_versions

__all__ = ["TuningService"]


class TuningService:
    """One encoder with its versions, tuned in the background and served meanwhile.

    Of several services that share a registry one holds it: it trains and changes what is active. The others follow within
    a second, and one of them takes over when the first has ended.

    Args:
        folder: Where runs live, and versions unless the settings name a registry.
        settings: What the operator decided.

    Raises:
        OptionError: If the registry is of a kind for which nothing is installed.
        EncoderError: If the encoder cannot be built.
        DamagedVersionError: If the active version is not what was registered.
        RegistryError: If the registry cannot be reached.

    Attributes:
        spec: The encoder.
        encoding: Documents into embeddings.
        spaces: Embeddings of a version in the space of another one.
        reembedding: Collections embedded again, to rebuild an index.
        tuning: Runs.
        versions: What is known of versions, and which one serves.
        judging: Versions side by side.
        shadowing: A version that embeds, too, and answers nobody.
    """

    def __init__(self, folder: Path, settings: ServiceSettings) -> None:
        self.spec = EncoderSpec(settings.encoder, settings.encoder_options)
        self._keep_versions = settings.keep_versions
        most_bytes = settings.feature_cache_bytes
        cache = FeatureCache(folder / "features", most_bytes=most_bytes) if most_bytes else None
        self._registry = open_registry(settings.registry, folder)
        with contextlib.ExitStack() as if_it_fails:
            if_it_fails.callback(self._registry.release)
            begin(self._registry, self.spec, seed=settings.seed)
            self._live = Live(
                self._registry, self.spec, batch_size=settings.batch_size, keep_warm=settings.keep_warm
            )
            self.encoding = Encoding(self._live)
            self.spaces = VersionSpaces(self._registry)
            self.reembedding = Reembedding(self._registry, self.spec, self.spaces, cache)
            self.tuning = Tuning(
                folder,
                settings,
                self.spec,
                self._registry,
                self._live,
                registered=lambda: self._watch.tidy_soon(),
            )
            self._watch = Watch(
                self._registry,
                self._live,
                take_over=self.tuning.take_over,
                step_down=self.tuning.step_down,
                tidy=self._retire,
            )
            self.versions = Versions(self._registry, self._live, self._watch)
            self.judging = Judging(self._registry, self.spec, cache)
            self.shadowing = Shadowing(self._registry, self.spec, self._live)
            self._watch.start()
            if_it_fails.pop_all()

    @property
    def version(self) -> str:
        """The version that serves now."""
        return self._live.version

    def _retire(self) -> None:
        """Delete the versions that are no longer kept; those that a run may yet start from are, and one in the shadow."""
        needed = {*needed_versions(self.tuning.runs()), *self.shadowing.versions}
        if self._registry.retire(self._keep_versions, needed):
            self._live.drop_deleted()

    def close(self) -> None:
        """Stop the run that is training, if any: it goes on at the next start; and let go of the registry."""
        self._watch.close()
        self.shadowing.close()
        self.tuning.step_down()
        self._registry.release()
