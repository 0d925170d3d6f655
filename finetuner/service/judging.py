"""Versions of the service side by side on match data."""

from typing import Any

from finetuner.features import FeatureCache
from finetuner.lifecycle import Registry
from finetuner.matches import MatchSet
from finetuner.models import EncoderSpec
from finetuner.training.compare import compare
from finetuner.training.run_options import JudgeOptions


class Judging:
    """Judges versions of a service.

    Args:
        registry: Where they are.
        spec: The encoder.
        cache: Where what frozen modules make of contents is kept; None if it is not.
    """

    def __init__(self, registry: Registry, spec: EncoderSpec, cache: FeatureCache | None) -> None:
        self._registry = registry
        self._spec = spec
        self._cache = cache

    def evaluate(self, matches: MatchSet, options: JudgeOptions) -> dict[str, Any]:
        """Return how base, active and another version rank for the anchors of a match set.

        Args:
            matches: The match set.
            options: Which other version, whose gains over the two are told, and what its labels mean.

        Returns:
            See :func:`finetuner.training.compare.compare`.

        Raises:
            UnknownVersionError: If there is none of that name.
            LabelError: If a label is none of the two values.
        """
        matches = matches.with_values(options.positive_label, options.negative_label)
        base, active, wanted = (self._registry.get(name).name for name in ("base", "active", options.version))
        names = [name for name in dict.fromkeys((base, active)) if name != wanted]
        encoders = {name: self._registry.load(name, self._spec) for name in (*names, wanted)}
        return compare(encoders, matches, seed=0, cache=self._cache)
