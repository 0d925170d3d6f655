"""The gate: who is promoted, and what people are told."""

from typing import Any

import pytest

from finetuner.lifecycle import Decision, Gate, Policy, decide, unless_known, unless_overtaken

Gain = tuple[float, float, float]


def evaluation(gain: Gain, *, anchors: int = 40, primary: str = "map", **guards: Gain) -> dict[str, Any]:
    """Return an evaluation with a gain over the active version; over the base it is another one, guards too."""
    found = {"anchors": anchors, "metrics": {}, "gain": {"v0": [0.9, 0.8, 1.0], "v1": list(gain)}}
    judged = {name: {**evaluation(of_guard, anchors=20), "left_out": 0} for name, of_guard in guards.items()}
    return {**found, "primary": primary, "confidence": 0.95, "guards": judged}


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
    decision = decide(evaluation(gain), Gate(), rival="v1")
    assert (decision.promote, decision.reason) == (promote, reason)


@pytest.mark.parametrize("gain", [(0.0, 0.0, 0.0), (0.0, -0.1, 0.1), (0.05, 0.0, 0.1)])
def test_no_difference_does_not_promote(gain: tuple[float, float, float]) -> None:
    """An interval that touches 0 is no proof."""
    decision = decide(evaluation(gain), Gate(), rival="v1")
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
    found = {"anchors": 0, "metrics": {}, "gain": {}, "guards": {}}
    decision = decide(evaluation((0.2, 0.2, 0.2), anchors=anchors) if anchors else found, Gate(), rival="v1")
    assert decision.promote is promote
    told = f"{anchors} held-out anchors could be ranked, at least 6 are needed: too little data"
    assert promote or decision.reason == told


@pytest.mark.parametrize("gain", [(0.2, 0.1, 0.3), (-0.2, -0.3, -0.1)])
def test_always_and_never_do_not_look(gain: tuple[float, float, float]) -> None:
    """The operator's word goes before the evaluation, and the reason says that it was his."""
    always = decide(evaluation(gain), Gate("always"), rival="v1")
    never = decide(evaluation(gain), Gate("never"), rival="v1")
    assert (always.promote, always.reason) == (True, "the run was told to promote in any case")
    assert (never.promote, never.reason) == (
        False,
        "the run was told never to promote; /promote does it by hand",
    )


@pytest.mark.parametrize(("low", "promote"), [(0.02, False), (0.021, True)])
def test_the_gain_has_to_be_as_large_as_was_asked_for(low: float, promote: bool) -> None:
    """The whole interval lies above ``min_gain``, and what was asked for is told."""
    decision = decide(evaluation((0.05, low, 0.08)), Gate(min_gain=0.02), rival="v1")
    assert decision.promote is promote
    assert promote or decision.reason.endswith("; asked for is more than 0.02")


@pytest.mark.parametrize(
    ("on_guard", "promote"),
    [
        ((-0.01, -0.05, 0.03), True),
        ((-0.011, -0.05, 0.03), False),
        ((-0.005, -0.009, -0.001), False),
        ((0.0, 0.0, 0.0), True),
    ],
)
def test_nobody_who_is_worse_on_a_guard_is_promoted(on_guard: Gain, promote: bool) -> None:
    """Its mean may be a little lower there, by chance, but not by more, and not clearly lower at all."""
    decision = decide(evaluation((0.3, 0.2, 0.4), golden=on_guard), Gate(), rival="v1")
    assert decision.promote is promote
    assert promote or decision.reason.startswith("worse on guard 'golden': MAP on 20 anchors -0.0")


NAN = float("nan")


@pytest.mark.parametrize(
    ("gain", "on_guard"), [((NAN, NAN, NAN), (0.1, 0.0, 0.2)), ((0.3, 0.2, 0.4), (NAN, NAN, NAN))]
)
def test_what_is_no_number_promotes_nobody(gain: Gain, on_guard: Gain) -> None:
    """Neither as a gain nor on a guard; a comparison with it is false, whichever way it is written."""
    assert not decide(evaluation(gain, golden=on_guard), Gate(), rival="v1").promote


def test_one_guard_of_several_suffices_to_refuse() -> None:
    """The others may be as pleased as they like."""
    found = evaluation((0.3, 0.2, 0.4), first=(0.5, 0.4, 0.6), second=(-0.5, -0.6, -0.4))
    assert decide(found, Gate(), rival="v1").reason.startswith("worse on guard 'second'")


def test_a_guard_that_cannot_tell_refuses() -> None:
    """Too little data there is said, not guessed away; and how much of it the run had seen."""
    found = evaluation((0.3, 0.2, 0.4), golden=(0.5, 0.4, 0.6))
    found["guards"]["golden"] |= {"anchors": 5, "left_out": 12}
    assert decide(found, Gate(), rival="v1").reason.startswith(
        "guard 'golden' cannot tell: 5 of its anchors could be ranked, at least 6 are needed, 12 were left out"
    )


def test_guards_that_agree_are_named() -> None:
    """Who reads of a promotion reads what it was held against."""
    decision = decide(evaluation((0.3, 0.2, 0.4), golden=(0.1, 0.0, 0.2)), Gate(), rival="v1")
    assert decision.reason.endswith("; not worse on guard 'golden'")


def test_the_metric_that_decided_is_named() -> None:
    """With its name as people write it, and the confidence of its interval."""
    found = {**evaluation((0.3, 0.2, 0.4), primary="hit@1"), "confidence": 0.99}
    decision = decide(found, Gate(), rival="v1")
    assert "hit@1 on 40 held-out anchors +0.3000 (99 % interval +0.2000 to +0.4000)" in decision.reason


def of_a_line(**changed: Any) -> dict[str, dict[str, Any]]:
    """Return what three versions tell: a base, v1 from it, and v2 from that, all split alike but for what is changed."""
    alike = {"seed": 0, "validation": 0.1, "holdout": 0.1}
    return {
        "v0": {"parent": None},
        "v1": {"parent": "v0", "options": {**alike, **changed}},
        "v2": {"parent": "v1", "options": alike},
    }


@pytest.mark.parametrize("changed", [{"seed": 1}, {"validation": 0.2}, {"holdout": 0.2}])
def test_a_candidate_that_may_know_the_held_out_anchors_is_not_promoted(changed: dict[str, Any]) -> None:
    """A version from which it comes was split otherwise, and may have learnt from what is held out now."""
    candidate = {"parent": "v2", "options": {"seed": 0, "validation": 0.1, "holdout": 0.1}}
    decision = unless_known(Decision(True, "better"), candidate, of_a_line(**changed), rival="v3")
    assert not decision.promote
    assert decision.reason.startswith("v1, from which it comes, was split by another seed or")


def test_nobody_knows_how_a_deleted_version_was_split() -> None:
    """So a candidate that comes from it may know the held-out anchors, too."""
    candidate = {"parent": "v2", "options": {"seed": 0, "validation": 0.1, "holdout": 0.1}}
    left = {name: told for name, told in of_a_line().items() if name != "v1"}
    decision = unless_known(Decision(True, "better"), candidate, left, rival="v3")
    assert (decision.promote, decision.reason[:41]) == (False, "v1, from which it comes, was deleted, so ")


@pytest.mark.parametrize(("changed", "rival"), [({}, "v3"), ({"seed": 1}, "v1"), ({"seed": 1}, "v2")])
def test_a_rival_that_knows_the_same_is_a_fair_one(changed: dict[str, Any], rival: str) -> None:
    """So is any where all were split alike."""
    candidate = {"parent": "v2", "options": {"seed": 0, "validation": 0.1, "holdout": 0.1}}
    decision = Decision(True, "better")
    assert unless_known(decision, candidate, of_a_line(**changed), rival=rival) is decision
