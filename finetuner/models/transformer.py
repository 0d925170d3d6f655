"""A sentence-transformers folder as an encoder; the package is needed only by those who name such a folder."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from finetuner.errors import EncoderError

FOLDER_MARK = "modules.json"
"""The file that makes a folder a sentence-transformers folder."""


class TransformerModule(nn.Module):
    """Wraps a ``SentenceTransformer``: texts in, its sentence embedding out.

    Args:
        folder: A sentence-transformers folder.
        max_seq_length: Tokens of a text that are read, at least 1; by default what the folder says. Time grows
            at least in proportion to it.

    Raises:
        EncoderError: If the folder cannot be read, or the package is not installed.
    """

    learning_rate = 2e-5
    """Pretrained weights move in small steps; the default of the sentence-transformers trainer is of this size."""

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
        except (OSError, ValueError, KeyError) as error:
            raise EncoderError(
                f"{folder}: cannot be read as a sentence-transformers folder: {error}"
            ) from error

        if max_seq_length is not None:
            if max_seq_length < 1:
                raise ValueError(f"max_seq_length is {max_seq_length}; at least 1 is needed")
            self.model.max_seq_length = max_seq_length

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Return the token tensors of some texts, padded to the longest."""
        features = self.model.preprocess(list(texts))
        return {name: value for name, value in features.items() if isinstance(value, Tensor)}

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return the sentence embeddings, float32 (B, D)."""
        embeddings: Tensor = self.model(dict(features))["sentence_embedding"]
        return embeddings

    def save_folder(self, folder: Path) -> None:
        """Write a sentence-transformers folder, loadable without Finetuner."""
        self.model.save_pretrained(str(folder), create_model_card=False)
