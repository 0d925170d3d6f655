"""A sentence-transformers folder as an encoder; the package is needed only by those who name such a folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor, nn

from finetuner.errors import EncoderError
from finetuner.models.packed_bert import PackedBert, can_pack
from finetuner.models.routes import take_query_maps

FOLDER_MARK = "modules.json"
"""The file that makes a folder a sentence-transformers folder."""


class TransformerModule(nn.Module):
    """Wraps a ``SentenceTransformer``: texts in, its sentence embedding out.

    Prompts of the folder play no part: texts are embedded as they are, and what is written has no prompts either.

    Where queries of the folder go through linear maps of their own, those are not part of it: ``query_maps`` holds them.

    Args:
        folder: A sentence-transformers folder.
        max_seq_length: Tokens of a text that are read, at least 1; by default what the folder says. Time grows
            at least in proportion to it.

    Raises:
        EncoderError: If the folder cannot be read, or the package is not installed.
    """

    learning_rate = 2e-5
    """Pretrained weights move in small steps; the default of the sentence-transformers trainer is of this size."""

    is_pretrained = True

    def __init__(self, folder: Path, *, max_seq_length: int | None = None) -> None:
        super().__init__()
        for pickle in (*folder.rglob("*.bin"), *folder.rglob("*.pt"), *folder.rglob("*.pkl")):
            if not any(pickle.parent.glob("*.safetensors")):
                raise EncoderError(
                    f"{pickle}: weights are read as safetensors, never as a pickle; convert them"
                )
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise EncoderError(
                f"{folder} is a sentence-transformers folder, which needs: pip install 'finetuner[text]'"
            ) from error
        try:
            self.model = SentenceTransformer(
                str(folder),
                device="cpu",
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},  # never a pickle
            )
            self.query_maps = take_query_maps(self.model)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise EncoderError(
                f"{folder}: cannot be read as a sentence-transformers folder: {error}"
            ) from error
        self.model.prompts, self.model.default_prompt_name = {}, None
        if not _knows_words(self.model.tokenizer):
            raise EncoderError(
                f"{folder}: its tokenizer knows no word; is tokenizer.json or vocab.txt missing?"
            )
        if max_seq_length is not None:
            if max_seq_length < 1:
                raise ValueError(f"max_seq_length is {max_seq_length}; at least 1 is needed")
            self.model.max_seq_length = max_seq_length
        self._packed = PackedBert(self.model[0].auto_model) if can_pack(self.model[0]) else None

    @property
    def packs(self) -> bool:
        """Whether texts share rows of tokens, so that little is padding whatever their lengths."""
        return self._packed is not None

    @property
    def preprocessing(self) -> str:
        """What is done to a text before the weights see it."""
        tokenizer = getattr(self.model.tokenizer, "backend_tokenizer", None)
        rules = {} if tokenizer is None else json.loads(tokenizer.to_str())
        for changing in ("padding", "truncation"):  # as the last call left them
            rules.pop(changing, None)
        return json.dumps([self.model.max_seq_length, rules])

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Return the token tensors of some texts, padded to the longest."""
        features = self.model.preprocess(list(texts))
        return {name: value for name, value in features.items() if isinstance(value, Tensor)}

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return the sentence embeddings, float32 (B, D)."""
        made = dict(features)
        rows = None if self._packed is None else self._packed.plan(features)
        if self._packed is None or rows is None:
            made = self.model(made)
        else:
            made["token_embeddings"] = self._packed.token_embeddings(features, rows)
            for later in list(self.model)[1:]:
                made = later(made)
        embeddings: Tensor = made["sentence_embedding"]
        return embeddings

    def save_folder(self, folder: Path) -> None:
        """Write a sentence-transformers folder, loadable without Finetuner."""
        self.model.save_pretrained(str(folder), create_model_card=False)


def _knows_words(tokenizer: Any) -> bool:
    """Return whether a tokenizer has a vocabulary; transformers makes an empty one up where its file is missing."""
    words = tokenizer.get_vocab() if hasattr(tokenizer, "get_vocab") else {}
    return not words or any(word not in getattr(tokenizer, "all_special_tokens", ()) for word in words)
