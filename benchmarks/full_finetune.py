"""All weights of MiniLM on 256 pairs of question and answer: our loop against sentence-transformers' trainer.

The same texts, batches, steps, loss and optimiser; the losses of all steps are compared first. Both turn dropout off, since
they would drop different numbers. What is timed begins with a model in memory and ends with a trained one.
"""

import torch

from benchmarks._pair_training import Training, by_them, by_us, compared, encoder, model_of, options, pairs

PAIRS = 256
ROUNDS = 5
RATE = 2e-5
THREADS = 2
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

    compared("full_finetune", ours, theirs, rounds=ROUNDS, goal=GOAL)


if __name__ == "__main__":
    main()
