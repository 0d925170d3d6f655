"""How the learning rate goes over the steps of a training."""

import math

from finetuner.training.options import TrainingOptions


def rate(step: int, steps: int, options: TrainingOptions) -> float:
    """Return the share of the peak learning rate: a linear rise, then what the schedule says."""
    rise = max(1, round(options.warmup * steps))
    if step < rise:
        return (step + 1) / rise
    done = (step - rise) / max(1, steps - rise)
    falls = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}
    return falls[options.schedule]
