"""Vectors of a batch: pieces give the same gradient as the whole, and frozen ones come from the cache."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from finetuner.documents import Document
from finetuner.matches import MatchSet
from finetuner.models import Encoder, EncoderSpec, build_encoder
from finetuner.training import vectors as training_vectors
from finetuner.training.vectors import LiveVectors
from tests.bag_of_words import BagOfWords
from tests.two_classes import match_documents

DATA = MatchSet.from_documents(match_documents(30))
ROWS = np.arange(30)


def gradients(encoder: Encoder, **options: Any) -> tuple[Tensor, list[Tensor]]:
    """Return a loss of all pairs of a batch and its gradient, by vectors that are made as asked for."""
    torch.manual_seed(0)
    vectors = LiveVectors(encoder, DATA, bfloat16=False, **options)
    made = encoder.finish(vectors.of(ROWS), "document")
    loss = (made @ made.T).exp().mean()
    vectors.backward(loss)
    return loss.detach(), [
        parameter.grad.clone() for parameter in encoder.parameters() if parameter.grad is not None
    ]


def network(dropout: float) -> Encoder:
    """Return a small network."""
    return build_encoder(EncoderSpec("mlp", {"in_features": 6, "hidden": 8, "dim": 4, "dropout": dropout}))


@pytest.mark.parametrize("piece", [1, 7, 29])
def test_pieces_give_the_gradient_of_the_whole(piece: int) -> None:
    """The loss sees all pairs of the batch, however few contents go through the module together."""
    loss, whole = gradients(network(0), piece=None)
    again, pieces = gradients(network(0), piece=piece)
    assert torch.allclose(loss, again, atol=1e-6)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(whole, pieces, strict=True))


def test_both_passes_of_a_piece_drop_the_same() -> None:
    """With dropout the gradient is that of the loss that was seen: it agrees with finite differences."""
    encoder = network(0.5)
    weight = encoder.module[4].bias  # type: ignore[index]
    _, found = gradients(encoder, piece=7)
    losses = []
    for step in (1e-2, -1e-2):
        with torch.no_grad():
            weight[0] += step
        losses.append(gradients(encoder, piece=7)[0])
        with torch.no_grad():
            weight[0] -= step
    assert float(losses[0] - losses[1]) / 2e-2 == pytest.approx(float(found[-1][0]), rel=0.02)


def test_it_can_be_halved_down_to_one() -> None:
    """Each time half as many go together, until there is nothing less than one."""
    vectors = LiveVectors(network(0), DATA, piece=None, bfloat16=False)
    halved = [(vectors.smaller(20), vectors.piece) for _ in range(5)]
    assert halved == [(True, 10), (True, 5), (True, 2), (True, 1), (False, 1)]


def test_without_a_piece_it_is_what_memory_is_meant_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph keeps for each content its six numbers, and the eight in between: 56 bytes, as float32."""
    monkeypatch.setattr(training_vectors, "GRAPH_BYTES", 10 * 56)
    loss, whole = gradients(network(0), piece=10**6)
    encoder = network(0)
    vectors = LiveVectors(encoder, DATA, piece=None, bfloat16=False)
    vectors.of(ROWS)
    assert vectors.piece == 10
    again, pieces = gradients(network(0), piece=None)
    assert torch.allclose(loss, again, atol=1e-6)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(whole, pieces, strict=True))


def test_texts_of_a_length_go_together() -> None:
    """They come out in the order in which they were asked for, though the longest go first."""
    words = ["a b c", "a", "a b", "d " * 40] * 20
    texts = MatchSet.from_documents(
        [Document(text=f"{text} {at}", matches=[]) for at, text in enumerate(words)], kind="text"
    )
    encoder = Encoder(BagOfWords(64, 8), EncoderSpec("own"))
    vectors = LiveVectors(encoder, texts, piece=None, bfloat16=False)
    rows = np.array([3, 0, 70, 8, 1])
    expected = encoder.embed_vectors(texts.take(rows))
    assert np.allclose(vectors.of(rows).detach().numpy(), expected, atol=1e-6)


def test_bfloat16_multiplies_in_it_and_returns_single_precision() -> None:
    """The vectors are close, float32, and not the same."""
    exact, mixed = (
        LiveVectors(network(0), DATA, piece=None, bfloat16=on).of(ROWS).detach() for on in (False, True)
    )
    assert mixed.dtype == torch.float32
    assert torch.allclose(exact, mixed, atol=0.05)
    assert not torch.equal(exact, mixed)


def test_parts_that_are_frozen_do_not_drop() -> None:
    """A module without anything to learn makes the same of a content each time, though it has dropout."""
    encoder = network(0.9)
    head = nn.Linear(4, 4)
    encoder.module = nn.Sequential(encoder.module.requires_grad_(False), head)
    vectors = LiveVectors(encoder, DATA, piece=None, bfloat16=False)
    assert torch.equal(vectors.of(ROWS), vectors.of(ROWS))
