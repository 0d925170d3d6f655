"""Our losses against those of pytorch-metric-learning: 512 embeddings of 128 numbers and 64 classes, there and back.

Both begin at embeddings of any length and the classes, and end at the gradient of the embeddings; each embedding is an
anchor, and a content to all others, and both are told so: ours by one tensor for both sides, theirs by no other
embeddings. Equal values and gradients are shown first, in double precision, since in single
precision triplets within a rounding error of their margin count here and not there. Then both take turns, in single
precision.

Where definitions differ, options of pytorch-metric-learning make it compute ours:

* its triplet loss is told cosines, whose differences are half those of our squared distances, so its margin is half
  ours and its loss is doubled;
* hard triplets are averaged over all anchors (MeanReducer);
* its contrastive loss is squared and averaged over all pairs, as in the paper, by a reducer of five lines.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from pytorch_metric_learning import distances, losses, miners, reducers
from torch import Tensor
from torch.nn.functional import normalize

from finetuner.losses import Contrastive, CosineObjective, InfoNCE, Loss, Relations, Triplet

EMBEDDINGS, DIM, CLASSES = 512, 128, 64
ROUNDS = 9
LEAST = 0.05  # seconds that are timed at once at least
ALIKE = 1e-6
GOAL = 2.0

Compute = Callable[[Tensor, Tensor], Tensor]
"""A loss of embeddings (N, D) and classes (N,)."""


@dataclass(frozen=True)
class Case:
    """A loss that both have."""

    name: str
    ours: Compute
    theirs: Compute
    classes: int = CLASSES


class HalfSquares(reducers.BaseReducer):
    """Half the squares of positive and negative pairs, divided by the number of both."""

    def pos_pair_reduction(self, values, pairs, embeddings, labels):  # type: ignore[no-untyped-def]
        """Return the share of the positives, or of the negatives."""
        return 0.5 * values.square().sum() / (len(labels) * (len(labels) - 1))

    neg_pair_reduction = pos_pair_reduction


def main() -> None:
    """Show that both compute the same, time both, and print the figures."""
    torch.manual_seed(0)
    print(
        f"{EMBEDDINGS} embeddings, {DIM} numbers, {torch.get_num_threads()} threads; medians of {ROUNDS} rounds"
    )
    print(
        f"{'loss':<18}{'value':>10}{'gradient':>10}{'ours ms':>10}{'theirs ms':>11}{'ratio':>8}  min and max"
    )
    ratios = {case.name: measured(case) for case in cases()}
    figures = {"benchmark": "losses", "vs_pml": ratios, "min_ratio": min(ratios.values())}
    print(json.dumps(figures))


def cases() -> list[Case]:
    """Return what is compared."""
    cosine = distances.CosineSimilarity()
    half = losses.TripletMarginLoss(margin=0.1, distance=cosine)
    half_mean = losses.TripletMarginLoss(margin=0.1, distance=cosine, reducer=reducers.MeanReducer())
    hard = miners.BatchHardMiner(distance=cosine)
    semi_hard = miners.TripletMarginMiner(margin=0.1, type_of_triplets="semihard", distance=cosine)
    # of a cosine s these are 1 - s and s - 0.5: the paper's d and margin - d, with d = 1 - s and a margin of 0.5
    contrastive = losses.ContrastiveLoss(pos_margin=1, neg_margin=0.5, distance=cosine, reducer=HalfSquares())
    supcon, ntxent = losses.SupConLoss(temperature=0.2), losses.NTXentLoss(temperature=0.2)
    return [
        Case("infonce", ours(InfoNCE(0.2)), supcon),
        Case("infonce_one", ours(InfoNCE(0.2)), ntxent, classes=EMBEDDINGS // 2),
        Case("contrastive", ours(Contrastive(0.5)), contrastive),
        Case("triplet", ours(Triplet(0.2)), lambda x, y: 2 * half(x, y)),
        Case("triplet_hard", ours(Triplet(0.2, "hard")), lambda x, y: 2 * half_mean(x, y, hard(x, y))),
        Case(
            "triplet_semi_hard", ours(Triplet(0.2, "semi-hard")), lambda x, y: 2 * half(x, y, semi_hard(x, y))
        ),
    ]


def ours(loss: Loss) -> Compute:
    """Return one of our losses as a function of embeddings and classes."""
    objective = CosineObjective(loss)

    def compute(embeddings: Tensor, classes: Tensor) -> Tensor:
        different = classes[:, None] != classes
        same = ~different
        relations = Relations(same.fill_diagonal_(False), different)
        unit = normalize(embeddings)
        value: Tensor = objective(unit, unit, relations)
        return value

    return compute


def measured(case: Case) -> float:
    """Compare both and return how many times as fast ours is, the median of the rounds."""
    embeddings = torch.randn(EMBEDDINGS, DIM, requires_grad=True)
    classes = (torch.arange(EMBEDDINGS) % case.classes)[torch.randperm(EMBEDDINGS)]
    value, gradient = differences(case, embeddings.detach().double().requires_grad_(), classes)
    rounds = []
    for number in range(ROUNDS):
        pair = [(case.ours, 0), (case.theirs, 1)]
        timed = sorted(
            (place, seconds(one, embeddings, classes)) for one, place in (pair if number % 2 else pair[::-1])
        )
        rounds.append((timed[0][1], timed[1][1]))
    ratios = [theirs / ours for ours, theirs in rounds]
    ratio = statistics.median(ratios)
    our_ms, their_ms = (1000 * statistics.median(column) for column in zip(*rounds, strict=True))
    print(
        f"{case.name:<18}{value:>10.1e}{gradient:>10.1e}{our_ms:>10.2f}{their_ms:>11.2f}{ratio:>8.2f}"
        f"  {min(ratios):.2f} to {max(ratios):.2f}{'' if ratio >= GOAL else '  below the goal'}"
    )
    return round(ratio, 2)


def differences(case: Case, embeddings: Tensor, classes: Tensor) -> tuple[float, float]:
    """Return how much values and gradients differ at most; more than 1e-6 ends the benchmark."""
    values = [compute(embeddings, classes) for compute in (case.ours, case.theirs)]
    ours, theirs = (torch.autograd.grad(value, embeddings)[0] for value in values)
    if not ours.count_nonzero():
        raise SystemExit(f"{case.name}: nothing is compared, since all gradients are 0")
    found = (values[0] - values[1]).abs().item(), (ours - theirs).abs().max().item()
    if max(found) > ALIKE:
        raise SystemExit(f"{case.name}: value and gradient differ by {found}, and may by {ALIKE}")
    return found


def seconds(compute: Compute, embeddings: Tensor, classes: Tensor) -> float:
    """Return what one value with its gradient takes."""
    runs, started = 0, time.perf_counter()
    while (taken := time.perf_counter() - started) < LEAST:
        embeddings.grad = None
        compute(embeddings, classes).backward()  # type: ignore[no-untyped-call]  # so in torch
        runs += 1
    return taken / runs


if __name__ == "__main__":
    main()
