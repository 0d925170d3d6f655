"""What an operator may say about runs that start by themselves, and of guards."""

import json
from typing import Any

import pytest

from finetuner.continual.options import ContinualOptions
from finetuner.errors import OptionError
from finetuner.service_settings import ServiceSettings

TUNE = {"collection": "feedback", "min_new_judgements": 500}
DATA = "grpc://127.0.0.1:51010"


def tuned(**others: Any) -> ServiceSettings:
    """Return settings with some of ``tune``."""
    return ServiceSettings.from_operator(match_data=DATA, tune={**TUNE, **others})


def test_by_default_no_run_starts_by_itself() -> None:
    """It has to be asked for."""
    assert ServiceSettings.from_operator().tune is None


def test_the_environment_says_the_same_as_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON."""
    monkeypatch.setenv("FINETUNER_TUNE", json.dumps({**TUNE, "options": {"epochs": 3}}))
    monkeypatch.setenv("FINETUNER_GUARDS", '["golden"]')
    monkeypatch.setenv("FINETUNER_MATCH_DATA", DATA)
    found = ServiceSettings.from_operator()
    assert found.guards == ["golden"]
    assert found.tune == tuned(options={"epochs": 3}).tune


def test_an_automatic_run_starts_from_what_is_active() -> None:
    """Not from the base, as /fit does if nobody says otherwise."""
    tune = tuned(options={"epochs": 3, "replay": 2, "guards": ["golden"]}).tune
    assert tune is not None
    options = tune.options
    assert (options.parent, options.epochs, options.replay, options.guards) == ("active", 3, 2, ["golden"])


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"min_new_judgments": 5}, "unknown option 'min_new_judgments'"),
        ({"collection": None}, "option 'collection' is None"),
        ({"collection": "x" * 49}, "option 'collection' is 'xx"),
        ({"min_new_judgements": None}, "give min_new_judgements, every_hours or both"),
        ({"min_new_judgements": 0}, "option 'min_new_judgements' is 0"),
        ({"every_hours": 0}, "option 'every_hours' is 0"),
        ({"options": {"epoch": 3}}, "in options: unknown option 'epoch'"),
        ({"options": {"epochs": 0}}, "in options: option 'epochs' is 0"),
        ({"options": {"parent": "v3"}}, "parent is 'active' for runs that start by themselves"),
        ({"options": {"since": "v3"}}, "since is 'active' for runs that start by themselves"),
        ({"options": {"collection": "other"}}, "in options: unknown option 'collection'"),
        ({"options": 5}, "give a mapping of parameters of /fit"),
    ],
)
def test_what_cannot_be_honoured_is_refused_at_the_start(others: dict[str, Any], said: str) -> None:
    """The message says what is wrong, in the options of the run too."""
    with pytest.raises(OptionError, match=r"settings: tune \(FINETUNER_TUNE\): ") as raised:
        tuned(**others)
    assert said in str(raised.value)


@pytest.mark.parametrize("setting", [{"guards": ["golden"]}, {"tune": TUNE}])
def test_collections_need_a_data_executor(setting: dict[str, Any]) -> None:
    """No run could ever pull them."""
    with pytest.raises(OptionError, match="collections need a data Executor; give match_data="):
        ServiceSettings.from_operator(**setting)


def test_a_run_says_only_what_was_asked_for() -> None:
    """So a run of earlier times with the same options is still the same run."""
    assert ContinualOptions().as_task() == {}
    assert ContinualOptions(guards=["a"]).as_task() == {"guards": ["a"]}
    assert ContinualOptions.parse({"since": 7.0}, where="/fit").as_task() == {"since": "7", "replay": 1.0}
