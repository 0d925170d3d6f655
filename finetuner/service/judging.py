"""Versions of the service side by side on match data."""

from collections.abc import Iterator, Mapping
from typing import Any

from finetuner.features import FeatureCache
from finetuner.lifecycle import Registry
from finetuner.matches import MatchSet
from finetuner.models import Encoder, EncoderSpec
from finetuner.reports import report, saved
from finetuner.reports.options import JudgeOptions
from finetuner.reports.runs import BESIDE
from finetuner.training.run_folder import RunFolder


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

    def evaluate(
        self,
        matches: MatchSet,
        options: JudgeOptions,
        segments: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> dict[str, Any]:
        """Return how base, active and other versions rank for the anchors of a match set.

        Versions are in memory one after the other.

        Args:
            matches: The match set.
            options: Which versions, whose gains over the others are told, and what the labels of the match set mean.
            segments: The name of a segment by the id of an anchor.
            name: That of the match set, for people.

        Returns:
            The report as data, see :meth:`finetuner.reports.Report.as_dict`; of its view that decides also ``anchors``,
            ``metrics`` and ``gain`` by themselves, as :func:`finetuner.training.compare.compare` returns them; and if it was
            asked for the page as ``html``.

        Raises:
            UnknownVersionError: If there is none of that name.
            LabelError: If a label is none of the two values.
            MatchDataError: If no anchor can be ranked.
        """
        matches = matches.with_values(options.positive_label, options.negative_label)
        asked = ("base", "active", *options.versions)
        wanted = self._registry.get(options.version).name
        others = dict.fromkeys(self._registry.get(name).name for name in asked)
        found = report(
            _Loaded(self._registry, self._spec, [*(name for name in others if name != wanted), wanted]),
            matches,
            ks=options.ks,
            over=None if options.over == "auto" else options.over,
            beside=BESIDE,
            segments=segments,
            cache=self._cache,
            title=f"Version {wanted}" if name is None else f"Version {wanted} on {name}",
        )
        view = found.views[0]
        gain = {
            name: [told[found.metric].mean, told[found.metric].low, told[found.metric].high]
            for name, told in view.differences.items()
        }
        deciding = {"anchors": view.anchors, "metrics": view.metrics, "gain": gain}
        page = {"html": found.as_html()} if options.html else {}
        return {**found.as_dict(), **deciding, **page}

    def report(self, run: RunFolder) -> dict[str, Any]:
        """Return the report of a run: its data, and the page as ``html``.

        Raises:
            TrainingError: If it has none.
        """
        summary = run.summary()
        decision = {name: summary[name] for name in ("promoted", "reason")} if "promoted" in summary else None
        data, page = saved(run.path, decision)
        return {**data, "html": page}


class _Loaded(Mapping[str, Encoder]):
    """Versions by name, each loaded when it is taken out and not kept.

    Args:
        registry: Where they are.
        spec: The encoder.
        names: Those that there are.
    """

    def __init__(self, registry: Registry, spec: EncoderSpec, names: list[str]) -> None:
        self._registry = registry
        self._spec = spec
        self._names = names

    def __getitem__(self, name: str) -> Encoder:
        return self._registry.load(name, self._spec)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
