"""Heads as plain layers: the same embeddings, in few layers, or a refusal."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from finetuner.errors import EncoderError
from finetuner.exporting.baking import Dense, Layer, Normalize, bake
from finetuner.models import Heads, HeadSpec
from finetuner.models.heads import Side

ADAPTER = HeadSpec("adapter", 4, 4)
FOR_QUERIES = HeadSpec("adapter", 4, 4, queries_only=True)
PROJECTION = HeadSpec("projection", 4, 4)
DEEP = HeadSpec("projection", 4, 4, hidden=6)
SIDES: tuple[Side, ...] = ("query", "document")


def trained(*specs: HeadSpec) -> Heads:
    """Return heads with weights as if they had been trained."""
    torch.manual_seed(0)
    heads = Heads()
    for spec in specs:
        heads.append(spec)
    for parameter in heads.parameters():
        torch.nn.init.normal_(parameter)
    return heads


def vectors(*, of_length_1: bool) -> Tensor:
    """Return vectors of length 1, or of other lengths."""
    made = torch.randn(9, 4, generator=torch.Generator().manual_seed(1))
    return functional.normalize(made, dim=1) if of_length_1 else 3 * made


def applied(layers: list[Layer], given: Tensor) -> Tensor:
    """Return what layers make of vectors."""
    for layer in layers:
        if isinstance(layer, Dense):
            given = functional.linear(given, layer.weight, layer.bias)
            given = given.relu() if layer.relu else given
        else:
            given = functional.normalize(given, dim=1)
    return given


@pytest.mark.parametrize(
    "specs",
    [
        (),
        (ADAPTER,),
        (ADAPTER, ADAPTER),
        (PROJECTION,),
        (DEEP,),
        (DEEP, ADAPTER),
        (FOR_QUERIES,),
        (FOR_QUERIES, FOR_QUERIES),
        (DEEP, FOR_QUERIES),
        (ADAPTER, FOR_QUERIES),
        (FOR_QUERIES, ADAPTER),
        (PROJECTION, ADAPTER, FOR_QUERIES, ADAPTER),
    ],
)
@pytest.mark.parametrize("of_length_1", [True, False])
def test_layers_make_the_embeddings_of_the_heads(specs: tuple[HeadSpec, ...], of_length_1: bool) -> None:
    """For queries and for documents, whether the module's vectors are of length 1 or not."""
    heads, given = trained(*specs), vectors(of_length_1=of_length_1)
    baked = bake(heads, of_length_1=of_length_1)
    for side in SIDES:
        wanted = functional.normalize(heads(given, side), dim=1)
        made = applied([*baked.both, *(baked.query if side == "query" else baked.document)], given)
        assert torch.allclose(made, wanted, atol=1e-5)


@pytest.mark.parametrize("specs", [(ADAPTER, PROJECTION), (FOR_QUERIES, DEEP)])
def test_an_adapter_before_a_projection_needs_vectors_of_length_1(specs: tuple[HeadSpec, ...]) -> None:
    """There its layers are exact; of other vectors the length is lost on which the projection depends."""
    heads, given = trained(*specs), vectors(of_length_1=True)
    baked = bake(heads, of_length_1=True)
    wanted = functional.normalize(heads(given, "query"), dim=1)
    assert torch.allclose(applied([*baked.both, *baked.query], given), wanted, atol=1e-5)
    with pytest.raises(EncoderError, match="export as onnx"):
        bake(heads, of_length_1=False)


def test_an_adapter_without_a_shift_needs_no_length() -> None:
    """It is linear, so nothing stands between it and the projection."""
    heads = trained(ADAPTER, PROJECTION)
    torch.nn.init.zeros_(heads.layers[0].linear.bias)  # type: ignore[arg-type,union-attr]
    baked, given = bake(heads, of_length_1=False), vectors(of_length_1=False)
    assert [type(layer) for layer in baked.both] == [Dense, Dense, Normalize]
    wanted = functional.normalize(heads(given, "query"), dim=1)
    assert torch.allclose(applied(baked.both, given), wanted, atol=1e-5)


def test_what_is_of_length_1_is_not_divided_again() -> None:
    """Without heads, nothing has to follow a module that divides by the length itself."""
    assert bake(Heads(), of_length_1=True) == ([], [], [])
    assert bake(Heads(), of_length_1=False) == ([Normalize()], [], [])


def test_documents_are_not_touched_by_heads_for_queries() -> None:
    """All that they go through behind what is for both is the division by the length."""
    baked = bake(trained(DEEP, FOR_QUERIES), of_length_1=True)
    assert ([type(one) for one in baked.both], baked.document) == ([Dense, Dense], [Normalize()])
    assert [type(one) for one in baked.query] == [Normalize, Dense, Normalize]


def test_a_projection_behind_heads_for_queries_counts_too() -> None:
    """The adapter for both sides is refused, though the one for queries, without a shift, needs no length."""
    heads = trained(ADAPTER, FOR_QUERIES, DEEP)
    torch.nn.init.zeros_(heads.layers[1].linear.bias)  # type: ignore[arg-type,union-attr]
    with pytest.raises(EncoderError, match="export as onnx"):
        bake(heads, of_length_1=False)
