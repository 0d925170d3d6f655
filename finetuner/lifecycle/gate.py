"""The gate: whether a candidate may serve."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Policy = Literal["if_better", "always", "never"]

FEWEST = 6
"""Anchors below which nothing is decided: even if all gain, a sign test cannot tell five wins from chance at 5 %
(two-sided, 2 / 2^5), and the bootstrap of one anchor is an interval without width."""

GUARD_MARGIN = 0.01
"""How much worse a candidate may be on a guard by default."""

SPLIT = ("seed", "validation", "holdout")
"""The options that decide which anchors a run holds out."""

_NAMES = {"map": "MAP", "mrr": "MRR", "map@r": "MAP@R", "r_precision": "R-precision"}


@dataclass(frozen=True)
class Gate:
    """What a candidate has to do to serve.

    Attributes:
        policy: ``if_better``, ``always`` or ``never``.
        min_gain: How much better than its rival it has to be at least, in the primary metric.
        guard_margin: How much worse on a guard its mean may be.
    """

    policy: Policy = "if_better"
    min_gain: float = 0.0
    guard_margin: float = GUARD_MARGIN


@dataclass(frozen=True)
class Decision:
    """Whether to promote, and why, for people."""

    promote: bool
    reason: str


def decide(evaluation: Mapping[str, Any], gate: Gate, *, rival: str) -> Decision:
    """Return whether the candidate of a run becomes active.

    Under ``if_better`` it does if the interval of its gain over the rival, on anchors that the run held out, lies above
    ``min_gain``, and it is not worse on any guard: neither its mean there by more than ``guard_margin``, nor clearly, with
    the whole interval below 0. Both ask for :data:`FEWEST` anchors at least. So chance rarely promotes, too little data
    never does, and labels that lie are found out by a guard whose labels do not.

    Args:
        evaluation: What :func:`finetuner.training.judge.judge` found.
        gate: What it has to do.
        rival: The name in the evaluation of the version that serves now.
    """
    if gate.policy == "never":
        return Decision(False, "the run was told never to promote; /promote does it by hand")
    if gate.policy == "always":
        return Decision(True, "the run was told to promote in any case")
    if evaluation["anchors"] < FEWEST:
        return Decision(
            False,
            f"{evaluation['anchors']} held-out anchors could be ranked, at least {FEWEST} are needed: too little data",
        )
    _, low, high = evaluation["gain"][rival]
    found = _told(evaluation, evaluation, rival, "held-out anchors")
    if high < 0:
        return Decision(False, f"worse than the active version: {found}")
    if not low > gate.min_gain:  # what is no number is no gain either
        asked = f"; asked for is more than {gate.min_gain:g}" if gate.min_gain else ""
        return Decision(False, f"not clearly better than the active version: {found}{asked}")
    for name, guard in evaluation["guards"].items():
        if objection := _objection(name, evaluation, guard, gate, rival):
            return Decision(False, f"{objection}, though better than the active version: {found}")
    held = "".join(f"; not worse on guard {name!r}" for name in evaluation["guards"])
    return Decision(True, f"better than the active version: {found}{held}")


def _objection(
    name: str, evaluation: Mapping[str, Any], guard: Mapping[str, Any], gate: Gate, rival: str
) -> str | None:
    """Return what speaks against a candidate on a guard."""
    if guard["anchors"] < FEWEST:
        left_out = (
            f", {guard['left_out']} were left out since the run has seen them" if guard["left_out"] else ""
        )
        return (
            f"guard {name!r} cannot tell: {guard['anchors']} of its anchors could be ranked, at least {FEWEST} are "
            f"needed{left_out}"
        )
    mean, _, high = guard["gain"][rival]
    if not (mean >= -gate.guard_margin and high >= 0):
        return f"worse on guard {name!r}: {_told(evaluation, guard, rival, 'anchors')}"
    return None


def _told(evaluation: Mapping[str, Any], found: Mapping[str, Any], rival: str, of_what: str) -> str:
    """Return a gain with its interval, for people."""
    mean, low, high = found["gain"][rival]
    metric = _NAMES.get(evaluation["primary"], evaluation["primary"])
    sure = f"{100 * evaluation['confidence']:g} % interval {low:+.4f} to {high:+.4f}"
    return f"{metric} on {found['anchors']} {of_what} {mean:+.4f} ({sure})"


def unless_overtaken(decision: Decision, policy: Policy, *, rival: str, active: str) -> Decision:
    """Return a decision, or why it no longer holds: under ``if_better`` another version than the rival serves by now.

    Args:
        decision: What :func:`decide` returned.
        policy: ``if_better``, ``always`` or ``never``.
        rival: The version that the candidate was held against.
        active: The version that serves now.
    """
    if decision.promote and policy == "if_better" and active != rival:
        return Decision(False, f"{active} became active while this was compared with {rival}")
    return decision


def unless_known(
    decision: Decision, about: Mapping[str, Any], versions: Mapping[str, Mapping[str, Any]], *, rival: str
) -> Decision:
    """Return a decision, or why it cannot be trusted: the candidate may have learnt from its held-out anchors before.

    It may if one of the versions that it comes from was split otherwise, or was deleted, so that nobody knows; and its rival
    need not have: unless it comes from that rival itself, which knows the same.

    Args:
        decision: What :func:`decide` returned under ``if_better``.
        about: What the candidate tells of itself: ``parent`` and ``options``.
        versions: The same of all versions, by name.
        rival: The version that the candidate was held against.
    """
    name = about["parent"]
    while decision.promote and name != rival:
        parent = versions.get(name)
        if parent is not None and not parent.get("options"):  # a base has learnt from nothing
            break
        if parent is None or any(parent["options"][one] != about["options"][one] for one in SPLIT):
            how = "was deleted" if parent is None else f"was split by another {' or '.join(SPLIT)}"
            return Decision(
                False,
                f"{name}, from which it comes, {how}, so it may know anchors that were held out; start from active or base, "
                "or split alike",
            )
        name = parent["parent"]
    return decision
