"""All weights of MiniLM on 256 pairs of question and answer: our loop against sentence-transformers' trainer.

The same texts, batches, steps, loss and optimiser; the losses of all steps are compared first. Both turn dropout off, since
they would drop different numbers. What is timed begins with a model in memory and ends with a trained one.
"""

import json
import statistics

import numpy as np
import torch

from benchmarks._pair_training import Training, by_them, by_us, encoder, model_of, options, pairs

PAIRS = 256
ROUNDS = 5
RATE = 2e-5
THREADS = 2
ALIKE = 1e-4
GOAL = 1.3


def main() -> None:
    """Train in turns, compare, and print the figures."""
    torch.set_num_threads(THREADS)
    data = pairs(PAIRS)
    chosen = options("full", epochs=1, batch_size=16, learning_rate=RATE)

    def ours() -> Training:
        return by_us(encoder(), data, chosen)

    def theirs() -> Training:
        return by_them(model_of(encoder()), data, chosen, rate=RATE)

    rounds = []
    for number in range(ROUNDS):
        made = (ours(), theirs()) if number % 2 else (theirs(), ours())[::-1]
        rounds.append(made)
    differences = [np.abs(np.subtract(one.losses, other.losses)).max() for one, other in rounds]
    print(f"{len(rounds[0][0].losses)} steps; losses differ by {max(differences):.1e} at most")
    print(f"first losses {rounds[0][0].losses[:4]} and {rounds[0][1].losses[:4]}")
    if not max(differences) <= ALIKE:
        raise SystemExit(f"losses have to be alike to {ALIKE}")
    for name, seconds in zip(("ours", "theirs"), zip(*rounds, strict=True), strict=True):
        taken = [one.seconds for one in seconds]
        print(f"{name:<8}{statistics.median(taken):8.2f} s  {min(taken):.2f} to {max(taken):.2f}")
    ratios = [other.seconds / one.seconds for one, other in rounds]
    ratio = statistics.median(ratios)
    print(
        f"ratio   {ratio:8.2f}    {min(ratios):.2f} to {max(ratios):.2f}, goal {GOAL}"
        f"{'' if ratio >= GOAL else ': missed'}"
    )
    figures = {"vs_sentence_transformers": round(ratio, 3), "max_loss_difference": float(max(differences))}
    print(json.dumps({"benchmark": "full_finetune", **figures}))


if __name__ == "__main__":
    main()
