"""Versions side by side in the service: which ones, in which order, and one in memory at a time."""

import gc
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from finetuner.errors import TrainingError
from finetuner.features import FeatureCache
from finetuner.lifecycle import Registry
from finetuner.matches import MatchSet
from finetuner.models import Encoder
from finetuner.reports import of_run
from finetuner.reports.options import JudgeOptions
from finetuner.service.judging import Judging
from finetuner.training.run_folder import RunFolder
from tests.two_classes import SPEC, encoder, match_documents

DATA = MatchSet.from_documents(match_documents(30))


class Versions:
    """Stands for a registry of v0, the base, to v3, of which v1 is active; it knows which encoders are in memory."""

    def __init__(self) -> None:
        self.alive: list[int] = []
        self._loaded: list[weakref.ref[Encoder]] = []

    def get(self, name: str) -> SimpleNamespace:
        """Return a version."""
        return SimpleNamespace(name={"base": "v0", "active": "v1"}.get(name, name))

    def load(self, name: str, spec: object) -> Encoder:
        """Return its encoder."""
        gc.collect()
        self.alive.append(sum(one() is not None for one in self._loaded))
        made = encoder(int(name[1:]))
        self._loaded.append(weakref.ref(made))
        return made


def judging(versions: Versions | None = None) -> Judging:
    """Return what judges versions of such a registry."""
    return Judging(cast(Registry, versions or Versions()), SPEC, None)


@pytest.mark.parametrize(
    ("asked", "ranked"),
    [
        ({}, ["v0", "v1"]),
        ({"version": "v3", "versions": ["v2", "active", "v3"]}, ["v0", "v1", "v2", "v3"]),
        ({"version": "base", "versions": ["v2"]}, ["v1", "v2", "v0"]),
    ],
)
def test_each_version_is_ranked_once(asked: dict[str, Any], ranked: list[str]) -> None:
    """By whichever of its names it was asked for; the one that is judged comes last."""
    told = judging().evaluate(DATA, JudgeOptions(**asked))
    assert told["encoders"] == list(told["metrics"]) == ranked
    assert list(told["gain"]) == ranked[:-1]


def test_one_version_is_in_memory_at_a_time() -> None:
    """Eight versions of a large encoder need no more than one; the next is loaded while the last goes."""
    versions = Versions()
    judging(versions).evaluate(DATA, JudgeOptions(version="v3", versions=["v2"]))
    assert len(versions.alive) == 4
    assert max(versions.alive) <= 1


def test_the_figures_of_the_view_that_decides_stand_by_themselves() -> None:
    """Anchors, means and gains are those of the first view; programs need not look into views."""
    told = judging().evaluate(DATA, JudgeOptions(over="corpus", ks=[3], html=True))
    [view] = told["views"]
    gain = view["differences"]["v0"]["map"]
    assert (told["anchors"], told["metrics"]) == (view["anchors"], view["metrics"])
    assert told["gain"]["v0"] == [gain["mean"], gain["low"], gain["high"]]
    assert told["html"].startswith("<!doctype html>")


def test_the_decision_of_a_run_is_told_with_its_report(tmp_path: Path) -> None:
    """It is the run's last event, which comes after the report was written."""
    run = RunFolder.create(tmp_path / "r1", {})
    with pytest.raises(TrainingError, match="'r1' has no report"):
        judging().report(run)
    cache = FeatureCache(tmp_path / "features", most_bytes=2**20)
    encoders = {"v0": encoder(0), "candidate": encoder(1)}
    of_run(encoders, DATA.only(np.arange(9)), run.path, events=[], cache=cache, seed=0)
    assert judging().report(run)["promotion"]["decision"] is None
    run.report("succeeded", {"version": "v4", "promoted": True, "reason": "better"})
    told = judging().report(run)
    assert told["promotion"]["decision"] == {"promoted": True, "reason": "better"}
    assert "<b>Promoted</b>: better.</p>" in told["html"]
