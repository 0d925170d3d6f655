"""The gate: who is promoted, and what people are told."""

from typing import Any

import pytest

from finetuner.lifecycle import Decision, Policy, decide, unless_overtaken


def evaluation(gain: tuple[float, float, float], *, anchors: int = 40) -> dict[str, Any]:
    """Return an evaluation with a gain over the active version; over the base it is another one."""
    return {"anchors": anchors, "metrics": {}, "gain": {"v0": [0.9, 0.8, 1.0], "v1": list(gain)}}


@pytest.mark.parametrize(
    ("gain", "promote", "reason"),
    [
        (
            (0.05, 0.01, 0.09),
            True,
            "better than the active version: MAP on 40 held-out anchors +0.0500 (95 % interval +0.0100 to +0.0900)",
        ),
        (
            (0.05, -0.01, 0.11),
            False,
            "not clearly better than the active version: MAP on 40 held-out anchors +0.0500 "
            "(95 % interval -0.0100 to +0.1100)",
        ),
        (
            (-0.05, -0.09, -0.01),
            False,
            "worse than the active version: MAP on 40 held-out anchors -0.0500 "
            "(95 % interval -0.0900 to -0.0100)",
        ),
    ],
)
def test_a_better_model_is_promoted_if_it_is_clearly_better(
    gain: tuple[float, float, float], promote: bool, reason: str
) -> None:
    """The whole interval of the gain over the active version has to lie above 0; the numbers are told."""
    decision = decide(evaluation(gain), "if_better", rival="v1")
    assert (decision.promote, decision.reason) == (promote, reason)


@pytest.mark.parametrize("gain", [(0.0, 0.0, 0.0), (0.0, -0.1, 0.1), (0.05, 0.0, 0.1)])
def test_no_difference_does_not_promote(gain: tuple[float, float, float]) -> None:
    """An interval that touches 0 is no proof."""
    decision = decide(evaluation(gain), "if_better", rival="v1")
    assert not decision.promote
    assert decision.reason.startswith("not clearly better")


@pytest.mark.parametrize(
    ("policy", "active", "promote"),
    [("if_better", "v1", True), ("if_better", "v7", False), ("always", "v7", True)],
)
def test_who_was_overtaken_is_not_promoted(policy: Policy, active: str, promote: bool) -> None:
    """It was held against a version that no longer serves, unless it is to be promoted in any case."""
    decision = unless_overtaken(Decision(True, "better"), policy, rival="v1", active=active)
    assert decision.promote is promote
    assert decision.reason == ("better" if promote else "v7 became active while this was compared with v1")


@pytest.mark.parametrize(("anchors", "promote"), [(0, False), (1, False), (5, False), (6, True)])
def test_too_few_anchors_decide_nothing(anchors: int, promote: bool) -> None:
    """Below six even a gain on every single one is chance, and the interval of one has no width."""
    found = {"anchors": 0, "metrics": {}, "gain": {}}
    decision = decide(
        evaluation((0.2, 0.2, 0.2), anchors=anchors) if anchors else found, "if_better", rival="v1"
    )
    assert decision.promote is promote
    told = f"{anchors} held-out anchors could be ranked, at least 6 are needed: too little data"
    assert promote or decision.reason == told


@pytest.mark.parametrize("gain", [(0.2, 0.1, 0.3), (-0.2, -0.3, -0.1)])
def test_always_and_never_do_not_look(gain: tuple[float, float, float]) -> None:
    """The operator's word goes before the evaluation, and the reason says that it was his."""
    always = decide(evaluation(gain), "always", rival="v1")
    never = decide(evaluation(gain), "never", rival="v1")
    assert (always.promote, always.reason) == (True, "the run was told to promote in any case")
    assert (never.promote, never.reason) == (
        False,
        "the run was told never to promote; /promote does it by hand",
    )
