"""Exports that need no other library, and what is refused before one is asked."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import finetuner
from finetuner import exporting
from finetuner.contents import Contents
from finetuner.errors import DamagedVersionError, EncoderError, OptionError, SourceError
from finetuner.exporting import Format
from finetuner.exporting.parity import Embed
from finetuner.lifecycle import Registry
from finetuner.models import Encoder, EncoderSpec, HeadSpec, build_encoder
from tests.two_classes import SPEC, encoder, points


def version(folder: Path) -> Path:
    """Return the folder of a registered version."""
    encoder().save(folder / "weights")
    return Registry(folder / "registry").register(folder / "weights", SPEC, {"run": "r1"}).folder


def test_an_encoder_becomes_a_folder_that_load_reads(tmp_path: Path) -> None:
    """It is sealed, and embeds to the same bits, heads and all."""
    made = encoder()
    made.heads.append(HeadSpec("projection", 4, 3))
    exported = finetuner.export(made, tmp_path / "out", format="safetensors")
    assert (exported.folder, exported.format, exported.parity) == (tmp_path / "out", "safetensors", None)
    assert np.array_equal(finetuner.load(tmp_path / "out").embed(points(5)), made.embed(points(5)))
    (tmp_path / "out" / "heads.json").unlink()
    with pytest.raises(DamagedVersionError, match=r"heads\.json"):
        finetuner.load(tmp_path / "out")


def test_a_version_is_exported_as_it_is(tmp_path: Path) -> None:
    """Every byte of its folder, so where it comes from stays told."""
    folder = version(tmp_path)
    finetuner.export(folder, tmp_path / "deep" / "out", format="safetensors")
    files = {path.name: path.read_bytes() for path in (tmp_path / "deep" / "out").iterdir()}
    assert files == {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("format", ["sentence-transformers", "onnx", "safetensors"])
@pytest.mark.parametrize("damage", ["byte", "cut", "gone", "library"])
def test_a_damaged_version_is_not_exported(tmp_path: Path, format: Format, damage: str) -> None:
    """A changed byte, a truncated or lost file, or a library to come: a DamagedVersionError, and nothing is written."""
    folder = version(tmp_path)
    weights, about = folder / "model.safetensors", folder / "model.json"
    content = weights.read_bytes()
    if damage == "gone":
        weights.unlink()
    elif damage == "library":
        about.write_text(json.dumps({**json.loads(about.read_text()), "library": "99.0.0"}))
    else:
        weights.write_bytes(content[:-1] + (bytes([content[-1] ^ 1]) if damage == "byte" else b""))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DamagedVersionError, match=folder.name):
        finetuner.export(folder, tmp_path / "out", format=format)
    assert sorted(tmp_path.iterdir()) == before


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    """Not even an empty folder."""
    (tmp_path / "out").mkdir()
    with pytest.raises(OptionError, match="this is there already"):
        finetuner.export(encoder(), tmp_path / "out", format="safetensors")


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    """With those that there are."""
    with pytest.raises(OptionError, match="accepted are sentence-transformers, onnx, safetensors"):
        finetuner.export(encoder(), tmp_path / "out", format="pickle")  # type: ignore[arg-type]


def test_where_nothing_can_be_written_the_folder_is_named(tmp_path: Path) -> None:
    """Here the folder would be below a file."""
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="out: this cannot be written"):
        finetuner.export(encoder(), tmp_path / "file" / "out", format="safetensors")


def test_an_encoder_of_arrays_is_no_sentence_transformer(tmp_path: Path) -> None:
    """It is refused before anything is written."""
    with pytest.raises(EncoderError, match="none of a sentence-transformers folder"):
        finetuner.export(encoder(), tmp_path / "out", format="sentence-transformers")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spec", "sample", "message"),
    [
        (EncoderSpec("bilstm"), np.ones((2, 3), np.int64), "step by step"),
        (EncoderSpec("tests.bag_of_words:bag_of_words"), None, "reads texts in a way of its own"),
        (SPEC, np.ones((2, 5), np.float32), "in_features is 6"),
    ],
)
def test_what_onnx_cannot_tell_is_refused(
    tmp_path: Path, spec: EncoderSpec, sample: np.ndarray | None, message: str
) -> None:
    """Packed sequences, texts read by code, and contents that the encoder does not take."""
    pytest.importorskip("onnxscript")
    with pytest.raises(EncoderError, match=message):
        finetuner.export(build_encoder(spec), tmp_path / "out", format="onnx", sample=sample)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "sample", "message"),
    [
        ("cnn", None, "takes arrays of a shape"),
        ("mlp", np.ones((0, 784), np.float32), "this is empty"),
    ],
)
def test_onnx_needs_contents_whose_shape_it_can_take(
    tmp_path: Path, name: str, sample: np.ndarray | None, message: str
) -> None:
    """Only of an mlp is the shape known."""
    with pytest.raises(OptionError, match=message):
        finetuner.export(build_encoder(EncoderSpec(name)), tmp_path / "out", format="onnx", sample=sample)


def test_without_the_packages_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is in the message."""
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(OptionError, match=r"finetuner\[onnx\]"):
        finetuner.export(encoder(), tmp_path / "out", format="onnx")


def test_an_export_that_embeds_otherwise_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison comes before the folder gets its name."""

    def write(made: Encoder, folder: Path, sample: Contents) -> None:
        folder.mkdir()

    def reader(folder: Path) -> Embed:
        return lambda contents, side: -encoder().embed(contents)

    maker = exporting.MAKERS["onnx"]._replace(write=write, reader=reader)
    monkeypatch.setitem(exporting.MAKERS, "onnx", maker)
    with pytest.raises(EncoderError, match="nothing was written"):
        finetuner.export(encoder(), tmp_path / "out", format="onnx")
    assert list(tmp_path.iterdir()) == []
