"""What an evaluation can be told, and what is refused."""

from typing import Any

import pytest

from finetuner.errors import OptionError
from finetuner.reports.options import JudgeOptions


def test_ranks_come_as_jina_sends_them() -> None:
    """Every number of a request is a float there, and a whole one is a rank."""
    assert JudgeOptions.parse({"ks": [3.0, 20.0]}, where="/evaluate").ks == [3, 20]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ks": [1, 2.5]}, "2.5 is not a whole number from 1 to 1000"),
        ({"ks": [0]}, "0 is not a whole number"),
        ({"ks": [float("inf")]}, "inf is not a whole number"),
        ({"ks": [True]}, "True is not a whole number"),
        ({"ks": [1001]}, "1001 is not a whole number from 1 to 1000"),
        ({"ks": [10**400]}, "is not a whole number from 1 to 1000"),
        ({"ks": []}, "'ks'"),
        ({"ks": list(range(1, 12))}, "'ks'"),
        ({"over": "all"}, "'over'"),
        ({"versions": ["v1"] * 9}, "'versions'"),
    ],
)
def test_what_cannot_be_ranked_is_refused(given: dict[str, Any], said: str) -> None:
    """Ranks are whole and bounded, as are versions; what is ranked is one of three."""
    with pytest.raises(OptionError, match=r"^/evaluate: option ") as refused:
        JudgeOptions.parse(given, where="/evaluate")
    assert said in str(refused.value)
