"""Model versions: registered once, promoted by a gate, rolled back by one step."""

from finetuner.lifecycle.gate import Decision, Gate, Policy, decide, unless_known, unless_overtaken
from finetuner.lifecycle.live import Live
from finetuner.lifecycle.opening import open_registry
from finetuner.lifecycle.registry import Registry
from finetuner.lifecycle.version import DamagedVersion, Version, load

__all__ = [
    "DamagedVersion",
    "Decision",
    "Gate",
    "Live",
    "Policy",
    "Registry",
    "Version",
    "decide",
    "load",
    "open_registry",
    "unless_known",
    "unless_overtaken",
]
