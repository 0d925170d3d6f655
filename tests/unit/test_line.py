"""The line between the weights before and after a training."""

import numpy as np
import pytest
import torch

from finetuner.models import Encoder, HeadSpec
from finetuner.training.line import Line, chosen
from tests.two_classes import encoder, points

BLOBS = points(6)


def moved(one: Encoder) -> Encoder:
    """Return an encoder with all of its weights elsewhere."""
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return one


def weights(one: Encoder) -> torch.Tensor:
    """Return all weights, one after the other."""
    return torch.cat([parameter.detach().flatten() for parameter in one.parameters()])


@pytest.mark.parametrize("best", [0.0, 0.3, 1.0])
def test_it_ends_where_the_score_is_highest(best: float) -> None:
    """At the start, at the end, or at the share between both, to the last bit at the ends."""
    one = encoder(0)
    start, line = weights(one), Line(one, all_weights=True)
    end = weights(moved(one))

    def score(candidate: Encoder) -> float:
        share = float(((weights(candidate) - start) @ (end - start)) / (end - start).norm() ** 2)
        return -abs(share - best)

    scores = line.walk(one, [0.3], score)
    assert list(scores) == [0, 0.3, 1]
    assert chosen(scores) == best
    if best == 0.3:
        torch.testing.assert_close(weights(one), start + 0.3 * (end - start))
    else:
        assert torch.equal(weights(one), end if best else start)


def test_of_equal_shares_the_largest_is_taken() -> None:
    """Where validation anchors cannot tell, what was learnt stays."""
    assert chosen({0.0: 0.5, 0.25: 0.7, 1.0: 0.7}) == 1


def test_a_new_adapter_starts_at_nothing() -> None:
    """With a share of 0 the encoder embeds as it did without it."""
    one = encoder(0)
    before, line = one.embed(BLOBS), Line(one, all_weights=False)
    one.heads.append(HeadSpec("adapter", 4, 4))
    moved(one.heads)  # type: ignore[arg-type]
    assert not np.allclose(one.embed(BLOBS), before)
    line.walk(one, [0.5], lambda candidate: -float(np.abs(candidate.embed(BLOBS) - before).max()))
    np.testing.assert_allclose(one.embed(BLOBS), before, atol=1e-7)


def test_an_adapter_that_was_there_starts_where_it_was() -> None:
    """A run that goes on from it can go back to it."""
    one = encoder(0)
    one.heads.append(HeadSpec("adapter", 4, 4))
    moved(one.heads)  # type: ignore[arg-type]
    before, line = one.embed(BLOBS), Line(one, all_weights=False)
    moved(one.heads)  # type: ignore[arg-type]
    line.walk(one, [], lambda candidate: -float(np.abs(candidate.embed(BLOBS) - before).max()))
    assert np.array_equal(one.embed(BLOBS), before)


def test_a_new_projection_has_no_start() -> None:
    """Nothing stood in its place; it stays as it was trained."""
    one = encoder(0)
    line = Line(one, all_weights=False)
    one.heads.append(HeadSpec("projection", 4, 2))
    after = weights(one)
    assert line.walk(one, [0.5], lambda candidate: 0.25) == {1.0: 0.25}
    assert torch.equal(weights(one), after)
