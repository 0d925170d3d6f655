"""Heads: where they start, whom they touch, and that they come back from disk."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from finetuner.errors import EncoderError
from finetuner.models import Encoder, HeadSpec, load_encoder
from finetuner.models.heads import Adapter, Heads
from tests.two_classes import SPEC, encoder, points


def with_head(spec: HeadSpec, *, moved: bool = True) -> Encoder:
    """Return a small encoder with a head, which has been trained a little if asked for."""
    made = encoder()
    torch.manual_seed(0)
    made.heads.append(spec)
    if moved:
        for parameter in made.heads.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return made


def test_a_new_adapter_changes_not_one_bit() -> None:
    """The encoder with it embeds exactly as the one without."""
    adapted = with_head(HeadSpec("adapter", 4, 4), moved=False)
    assert np.array_equal(adapted.embed(points(9)), encoder().embed(points(9)))


def test_an_adapter_adds_a_linear_map_and_a_shift_of_the_same_size() -> None:
    """For x = (3, 4), A x = (4, 0) and b = (0, 1) it is x + (4, 0) + 5 (0, 1) = (7, 9)."""
    adapter = Adapter(2)
    with torch.no_grad():
        adapter.linear.weight.copy_(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
        adapter.linear.bias.copy_(torch.tensor([0.0, 1.0]))
    assert adapter(torch.tensor([[3.0, 4.0]])).tolist() == [[7.0, 9.0]]


def test_the_length_of_a_vector_plays_no_part() -> None:
    """Ten times the vector is adapted to ten times the result, so embeddings are the same."""
    adapter = Adapter(4)
    torch.nn.init.normal_(adapter.linear.bias)
    vectors = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(adapter(10 * vectors), 10 * adapter(vectors), atol=1e-5)


def test_an_adapter_for_queries_leaves_documents_as_they_are() -> None:
    """Documents embed to the same bits as without it, queries do not."""
    adapted = with_head(HeadSpec("adapter", 4, 4, queries_only=True))
    before = encoder().embed(points(9))
    assert np.array_equal(adapted.embed(points(9)), before)
    assert not np.allclose(adapted.embed(points(9), side="query"), before, atol=0.01)
    assert adapted.heads.tell_sides_apart


def test_a_new_projection_nearly_keeps_distances() -> None:
    """Its rows are orthonormal, so as many numbers come out with the same cosines."""
    projected = with_head(HeadSpec("projection", 4, 4), moved=False).embed(points(9))
    before = encoder().embed(points(9))
    assert np.allclose(projected @ projected.T, before @ before.T, atol=1e-5)


@pytest.mark.parametrize("hidden", [0, 7])
def test_a_projection_decides_the_dimension(hidden: int) -> None:
    """Six numbers come out where six were asked for, with a layer in between or without."""
    assert with_head(HeadSpec("projection", 4, 6, hidden=hidden)).embed(points(3)).shape == (3, 6)


def test_heads_come_back_from_disk(tmp_path: Path) -> None:
    """Two heads, one of them for queries alone, embed the same once they are loaded."""
    made = with_head(HeadSpec("projection", 4, 5, hidden=3))
    made.heads.append(HeadSpec("adapter", 5, 5, queries_only=True))
    torch.nn.init.normal_(next(made.heads.layers[1].parameters()))
    made.save(tmp_path)
    loaded = load_encoder(SPEC, tmp_path)
    assert loaded.heads.specs == made.heads.specs
    for side in ("query", "document"):
        assert np.array_equal(loaded.embed(points(5), side=side), made.embed(points(5), side=side))


def test_an_encoder_without_heads_writes_none(tmp_path: Path) -> None:
    """Its folder holds the weights alone."""
    encoder().save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_damaged_heads_are_refused(tmp_path: Path) -> None:
    """Weights of another shape than heads.json says are an EncoderError with the file."""
    with_head(HeadSpec("adapter", 4, 4)).save(tmp_path)
    told = (tmp_path / "heads.json").read_text().replace("4", "5")
    (tmp_path / "heads.json").write_text(told)
    with pytest.raises(EncoderError, match=r"heads\.json: not the heads of an encoder"):
        load_encoder(SPEC, tmp_path)


def test_without_heads_vectors_pass_untouched() -> None:
    """The very tensor comes back."""
    vectors: Tensor = torch.randn(2, 3)
    assert Heads()(vectors, "query") is vectors
