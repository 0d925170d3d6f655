"""Encoders: what the built-in networks take and give, how others are named, and weights on disk."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from finetuner.contents import Contents
from finetuner.errors import EncoderError
from finetuner.models import Encoder, EncoderSpec, build_encoder, load_encoder
from finetuner.models.encoder import WEIGHTS
from tests.two_classes import SPEC, encoder, points

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((5, 28, 28), dtype=np.float32)
TOKENS = RANDOM.integers(2, 40, size=(5, 9))


@pytest.mark.parametrize(
    ("name", "options", "contents", "dim"),
    [
        ("mlp", {}, IMAGES, 32),
        ("mlp", {"in_features": 12, "hidden": 3, "dim": 7}, IMAGES[:, :3, :4], 7),
        ("cnn", {}, IMAGES, 64),
        ("cnn", {"channels": 3, "dim": 5}, RANDOM.random((5, 3, 17, 23), dtype=np.float32), 5),
        ("cnn", {}, IMAGES[:, None, :4, :4], 64),
        ("bilstm", {"vocabulary": 40, "dim": 6}, TOKENS, 6),
        ("bilstm", {}, TOKENS[:, :1], 32),
    ],
)
def test_a_built_in_network_makes_unit_vectors(
    name: str, options: dict[str, int], contents: Contents, dim: int
) -> None:
    """Every size it promises to take becomes float32 (N, D) of length 1, and different contents differ."""
    built = build_encoder(EncoderSpec(name, options))
    embeddings = built.embed(contents)
    assert (embeddings.dtype, embeddings.shape, built.kind) == (np.dtype(np.float32), (5, dim), "blob")
    assert np.allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    assert len(np.unique(embeddings, axis=0)) == 5


def test_padding_on_the_left_does_not_change_an_embedding() -> None:
    """The BiLSTM sees the tokens alone: rows of different lengths, padded more or less, embed the same."""
    built = build_encoder(EncoderSpec("bilstm", {"vocabulary": 40}))
    ragged = TOKENS.copy()
    for row in range(5):
        ragged[row, : 2 * row] = 0
    wide = np.pad(ragged, ((0, 0), (11, 0)))
    alone = [built.embed(ragged[row : row + 1, 2 * row :])[0] for row in range(5)]
    assert np.allclose(built.embed(ragged), alone, atol=1e-6)
    assert np.allclose(built.embed(wide), alone, atol=1e-6)


def test_the_tokens_order_counts() -> None:
    """The BiLSTM is no bag of words."""
    built = build_encoder(EncoderSpec("bilstm", {"vocabulary": 40}))
    assert not np.allclose(built.embed(TOKENS), built.embed(TOKENS[:, ::-1]), atol=1e-3)


def test_a_row_of_padding_alone_has_an_embedding() -> None:
    """A text without a known place for a token is no NaN, and disturbs no other row."""
    built = build_encoder(EncoderSpec("bilstm", {"vocabulary": 40}))
    embeddings = built.embed(np.concatenate([np.zeros((1, 9), np.int64), TOKENS]))
    assert np.isfinite(embeddings).all()
    assert np.allclose(embeddings[1:], built.embed(TOKENS), atol=1e-6)


def test_dropout_is_off_when_embedding() -> None:
    """A network that was left in training mode embeds the same twice."""
    built = build_encoder(EncoderSpec("mlp", {"dropout": 0.5}))
    built.train()
    assert np.array_equal(built.embed(IMAGES), built.embed(IMAGES))


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_the_batch_size_does_not_change_embeddings(size: int) -> None:
    """Batches are put together in order, whatever their size."""
    assert np.allclose(encoder().embed(points(5), batch_size=size), encoder().embed(points(5)), atol=1e-6)


def test_a_seed_decides_the_weights_and_nothing_else() -> None:
    """The same seed gives the same embeddings, another one others; the caller's random numbers go on."""
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first, same, other = (encoder(seed).embed(points(5)) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert np.array_equal(first, same)
    assert not np.allclose(first, other)


@pytest.mark.parametrize(
    ("name", "options", "contents"),
    [
        ("mlp", {"in_features": 784, "dropout": 0.5}, IMAGES),
        ("cnn", {}, IMAGES),
        ("bilstm", {"vocabulary": 40}, TOKENS),
        ("tests.two_classes:scaled", {"sign": -1}, IMAGES.reshape(5, -1)),
    ],
)
def test_saved_weights_embed_the_same_bit_for_bit(
    tmp_path: Path, name: str, options: dict[str, Any], contents: Contents
) -> None:
    """An encoder that was saved and loaded cannot be told from the one that was saved."""
    built = build_encoder(EncoderSpec(name, options), seed=5)
    built.save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [WEIGHTS]
    assert np.array_equal(load_encoder(built.spec, tmp_path).embed(contents), built.embed(contents))


def test_batch_statistics_are_saved(tmp_path: Path) -> None:
    """What a training leaves beside the weights, such as the CNN's running means, is part of them."""
    built = build_encoder(EncoderSpec("cnn"))
    fresh = built.embed(IMAGES)
    built.train()
    built(torch.from_numpy(IMAGES))
    built.save(tmp_path)
    loaded = load_encoder(built.spec, tmp_path).embed(IMAGES)
    assert np.array_equal(loaded, built.embed(IMAGES))
    assert not np.allclose(loaded, fresh)


def test_weights_that_are_missing_foreign_or_torn_are_refused(tmp_path: Path) -> None:
    """No file, weights of another network and a file that was cut are errors that name the file."""
    for make in (
        lambda file: None,
        lambda file: save_file({"strange": torch.ones(2)}, file),
        lambda file: file.write_bytes(b"\x10"),
    ):
        make(tmp_path / WEIGHTS)
        with pytest.raises(EncoderError, match=r"model\.safetensors: not the weights of encoder 'mlp'"):
            load_encoder(SPEC, tmp_path)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("resnet", r"'resnet' is not known; use mlp, cnn, bilstm, the path .* or package\.module:factory"),
        ("no_such_package:factory", "cannot be imported"),
        ("tests.two_classes:no_such_factory", "cannot be imported"),
        (":factory", "cannot be imported"),
        (".relative:factory", "cannot be imported"),
        ("tests.two_classes:points", "returned a ndarray, not a torch.nn.Module"),
    ],
)
def test_an_encoder_that_cannot_be_found_is_refused(name: str, fault: str) -> None:
    """A wrong name says what would be right; a factory of something else says what it returned."""
    with pytest.raises(EncoderError, match=fault):
        build_encoder(EncoderSpec(name, {"count": 2} if name.endswith("points") else {}))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mlp", {"width": 3}),
        ("mlp", {"dim": "wide"}),
        ("mlp", {"dim": -1}),
        ("mlp", {"dropout": 2}),
        ("bilstm", {"vocabulary": 0}),
    ],
)
def test_options_that_a_factory_refuses_are_an_encoder_error(name: str, options: dict[str, Any]) -> None:
    """An unknown name, a wrong type and a number out of range end in one error with the options in it."""
    with pytest.raises(EncoderError, match=rf"'{name}' refuses its options .*{next(iter(options))}"):
        build_encoder(EncoderSpec(name, options))


@pytest.mark.parametrize(
    ("name", "contents", "fault"),
    [
        ("mlp", ["a text"], r"takes \.blob contents, not \.text"),
        ("mlp", points(2), r"does not take torch\.float32 \(6,\)"),
        ("bilstm", IMAGES[:, 0], r"does not take torch\.float32 \(28,\)"),
        ("cnn", IMAGES.reshape(5, 7, 7, 16), r"does not take torch\.float32 \(7, 7, 16\)"),
        ("bilstm", TOKENS + 5000, r"does not take torch\.int64 \(9,\)"),
        ("mlp", IMAGES[:0], "was given no content"),
        ("mlp", IMAGES * np.float32(np.nan), "not finite"),
    ],
)
def test_contents_that_an_encoder_does_not_take_are_refused(
    name: str, contents: Contents, fault: str
) -> None:
    """Another kind, shape or dtype, ids beyond the vocabulary and nothing at all name the encoder."""
    with pytest.raises(EncoderError, match=f"encoder '{name}' .*{fault}"):
        build_encoder(EncoderSpec(name)).embed(contents)


def test_training_refuses_contents_in_the_same_words() -> None:
    """The forward pass itself speaks of the encoder, not only the embedding of batches."""
    with pytest.raises(EncoderError, match=r"encoder 'mlp' does not take torch\.float32 \(3,\)"):
        encoder()(torch.ones(2, 3))


@pytest.mark.parametrize("module", [nn.Flatten(0), nn.Identity()])
def test_a_module_that_makes_no_vectors_is_refused(module: nn.Module) -> None:
    """One number a content, or an image a content, is no embedding."""
    with pytest.raises(EncoderError, match=r"float32 \(batch, dimension\) is needed"):
        Encoder(module, EncoderSpec("own")).embed(IMAGES)


def test_a_module_of_ones_own_is_named_by_its_factory() -> None:
    """``package.module:factory`` with its options is imported, called and normalised."""
    built = build_encoder(EncoderSpec("tests.two_classes:scaled", {"sign": -2}))
    expected = -points(3) / np.linalg.norm(points(3), axis=1, keepdims=True)
    assert np.allclose(built.embed(points(3)), expected, atol=1e-6)


def test_a_spec_is_what_json_makes_of_it() -> None:
    """A tuple is a list already, so that a version that was registered is recognised after a restart."""
    assert EncoderSpec("own", {"sizes": (1, 2)}).as_dict() == {"name": "own", "options": {"sizes": [1, 2]}}


def test_a_sentence_transformers_folder_without_the_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package is needed by nobody else, so its lack is an error of this encoder alone."""
    (tmp_path / "modules.json").write_text("[]")
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(EncoderError, match=r"needs: pip install 'finetuner\[text\]'"):
        build_encoder(EncoderSpec(str(tmp_path)))


def test_a_sentence_transformers_folder_refuses_options_that_it_cannot_honour(tmp_path: Path) -> None:
    """An unknown option is an error before anything is loaded."""
    (tmp_path / "modules.json").write_text("[]")
    with pytest.raises(EncoderError, match=r"refuses its options \{'dim': 3\}"):
        build_encoder(EncoderSpec(str(tmp_path), {"dim": 3}))


def test_integers_are_numbers_to_an_encoder_of_numbers() -> None:
    """What JSON writes without a point embeds as the same floats do; only one that looks ids up takes ids."""
    ones = np.ones((1, 28, 28), np.float32)
    mlp = build_encoder(EncoderSpec("mlp"))
    assert np.array_equal(mlp.embed(ones.astype(np.int64)), mlp.embed(ones))
    assert (mlp.takes_floats, build_encoder(EncoderSpec("bilstm")).takes_floats) == (True, False)


def test_a_module_that_makes_no_tensor_is_refused() -> None:
    """A dict, as many libraries return it, is an error that says what is needed."""

    class Named(nn.Module):
        def forward(self, arrays: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"vectors": arrays}

    with pytest.raises(EncoderError, match="made dict; float32"):
        Encoder(Named(), EncoderSpec("own")).embed(points(2))


def test_a_folder_with_pickled_weights_is_refused(tmp_path: Path) -> None:
    """A part whose weights are a pickle alone is named before anything of the folder is loaded."""
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "2_Dense").mkdir()
    (tmp_path / "2_Dense" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(EncoderError, match=r"2_Dense/pytorch_model\.bin: .*never as a pickle"):
        build_encoder(EncoderSpec(str(tmp_path)))
