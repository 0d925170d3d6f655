"""Embeddings with a cache in front of the module: the same ones, made once."""

from pathlib import Path

import numpy as np
import pytest

from finetuner.contents import content_hash
from finetuner.features import FeatureCache
from finetuner.models import CachedEncoder, Encoder
from finetuner.models import cached as module
from finetuner.models.heads import HeadSpec
from tests.two_classes import encoder, points

POINTS = points(20)
HASHES = np.stack([np.frombuffer(content_hash(one), np.uint8) for one in POINTS])
ROWS = np.array([7, 3, 19, 3, 0])


@pytest.mark.parametrize("portion", [2, 100])
@pytest.mark.parametrize("is_cached", [False, True])
def test_it_embeds_as_the_encoder_does(
    portion: int, is_cached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a cache or without, in portions or at once, in the order of the rows, as queries and as documents."""
    monkeypatch.setattr(module, "_PORTION", portion)
    one = encoder()
    one.heads.append(HeadSpec("adapter", 4, 4, queries_only=True))
    list(one.heads.parameters())[-1].data.fill_(0.5)
    some = CachedEncoder(one, FeatureCache(tmp_path, most_bytes=10**7) if is_cached else None)
    for side in ("query", "document"):
        found = some.embed(POINTS, HASHES, ROWS, side)
        np.testing.assert_allclose(found, one.embed(POINTS[ROWS], side=side), atol=1e-6)


def test_what_is_cached_does_not_go_through_the_module_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time every vector is there."""
    cache = FeatureCache(tmp_path, most_bytes=10**7)
    first = CachedEncoder(encoder(), cache).embed(POINTS, HASHES, ROWS)
    monkeypatch.setattr(Encoder, "embed_vectors", None)
    np.testing.assert_array_equal(CachedEncoder(encoder(), cache).embed(POINTS, HASHES, ROWS), first)
