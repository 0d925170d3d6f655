"""The gate: whether a candidate may serve."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Policy = Literal["if_better", "always", "never"]

FEWEST = 6
"""Anchors below which nothing is decided: even if all gain, a sign test cannot tell five wins from chance at 5 %
(two-sided, 2 / 2^5), and the bootstrap of one anchor is an interval without width."""


@dataclass(frozen=True)
class Decision:
    """Whether to promote, and why, for people."""

    promote: bool
    reason: str


def decide(evaluation: Mapping[str, Any], policy: Policy, *, rival: str) -> Decision:
    """Return whether the candidate of a run becomes active.

    Under ``if_better`` it does if the 95 % interval of its gain in MAP over the rival, on anchors that the run
    held out, lies above 0, and these anchors are at least :data:`FEWEST`. So chance rarely promotes, and too
    little data never does.

    Args:
        evaluation: What :func:`finetuner.training.compare.compare` found.
        policy: ``if_better``, ``always`` or ``never``.
        rival: The name in the evaluation of the version that serves now.
    """
    if policy == "never":
        return Decision(False, "the run was told never to promote; /promote does it by hand")
    if policy == "always":
        return Decision(True, "the run was told to promote in any case")
    if evaluation["anchors"] < FEWEST:
        return Decision(
            False,
            f"{evaluation['anchors']} held-out anchors could be ranked, at least {FEWEST} are needed: too little data",
        )
    mean, low, high = evaluation["gain"][rival]
    found = f"MAP on {evaluation['anchors']} held-out anchors {mean:+.4f} (95 % interval {low:+.4f} to {high:+.4f})"
    if low > 0:
        return Decision(True, f"better than the active version: {found}")
    if high < 0:
        return Decision(False, f"worse than the active version: {found}")
    return Decision(False, f"not clearly better than the active version: {found}")


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
