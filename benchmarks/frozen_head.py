"""A head on frozen MiniLM, ten epochs on 256 pairs: ours, which embeds once, against sentence-transformers' trainer.

There the head is a Dense layer behind the frozen transformer, with the same weights at first. The same texts, batches,
steps, loss and optimiser; the losses of all steps are compared first. What is timed begins with a model in memory and
ends with a trained head; embedding is part of it, for us too.
"""

import copy

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize
from torch import nn

from benchmarks._pair_training import Training, by_them, by_us, compared, encoder, model_of, options, pairs
from finetuner.models import Encoder, HeadSpec

PAIRS = 256
EPOCHS = 10
ROUNDS = 5
RATE = 1e-3
WIDTH = 384
THREADS = 2
GOAL = 8


def main() -> None:
    """Train in turns, compare, and print the figures."""
    torch.set_num_threads(THREADS)
    data = pairs(PAIRS)
    chosen = options("head", epochs=EPOCHS, batch_size=16, learning_rate=RATE)
    base = with_head()

    def ours() -> Training:
        return by_us(copy.deepcopy(base), data, chosen)

    def theirs() -> Training:
        return by_them(with_dense(copy.deepcopy(base)), data, chosen, rate=RATE)

    compared("frozen_head", ours, theirs, rounds=ROUNDS, goal=GOAL)


def with_head() -> Encoder:
    """Return an encoder with a projection that was drawn from a seed."""
    made = encoder()
    torch.manual_seed(0)
    made.heads.append(HeadSpec("projection", WIDTH, WIDTH))
    return made


def with_dense(made: Encoder) -> SentenceTransformer:
    """Return the same as modules of sentence-transformers, of which only the layer learns."""
    model = model_of(made)
    model.requires_grad_(False)
    layer = made.heads.layers[0]
    assert isinstance(layer, nn.Linear)
    dense = Dense(WIDTH, WIDTH, activation_function=nn.Identity())
    dense.linear.load_state_dict(layer.state_dict())
    model.append(dense)
    model.append(Normalize())
    return model


if __name__ == "__main__":
    main()
