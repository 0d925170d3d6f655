"""The comparison that lets an export through, or not."""

import numpy as np
import pytest

from finetuner.contents import Contents
from finetuner.errors import EncoderError
from finetuner.exporting.parity import compare
from finetuner.models import Embeddings, HeadSpec, Side
from tests.two_classes import encoder, points


def test_the_same_embeddings_differ_by_nothing() -> None:
    """An encoder compared with itself."""
    made = encoder()
    parity = compare(made, lambda contents, side: made.embed(contents, side=side), points(5), tolerance=1e-7)
    assert (parity.contents, parity.difference) == (5, 0)
    assert parity.cosine == pytest.approx(1)


@pytest.mark.parametrize("wrong", [1e-3, np.nan])
def test_one_number_that_differs_is_refused(wrong: float) -> None:
    """Also one that is no number at all."""
    made = encoder()

    def embed(contents: Contents, side: Side) -> Embeddings:
        embeddings = made.embed(contents, side=side)
        embeddings[-1, 0] += wrong
        return embeddings

    with pytest.raises(EncoderError, match="nothing was written"):
        compare(made, embed, points(5), tolerance=1e-4)


def test_a_content_alone_is_compared_too() -> None:
    """What goes wrong with a batch of one is found."""
    made = encoder()
    with pytest.raises(EncoderError, match="differ by up to"):
        compare(
            made,
            lambda contents, side: made.embed(contents) * (1 if len(contents) > 1 else -1),
            points(5),
            tolerance=1e-4,
        )


def test_queries_are_compared_as_queries() -> None:
    """What embeds all contents as documents is refused if an encoder tells them apart."""
    made = encoder()
    made.heads.append(HeadSpec("adapter", 4, 4, queries_only=True))
    made.heads.layers[0].linear.bias.data += 1  # type: ignore[union-attr,operator]
    with pytest.raises(EncoderError, match="differ by up to"):
        compare(made, lambda contents, side: made.embed(contents), points(5), tolerance=1e-4)
