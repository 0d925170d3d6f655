"""Encoders: what maps content to an embedding."""

from finetuner.models.building import build_encoder, load_encoder
from finetuner.models.builtin import BUILTIN
from finetuner.models.cached import CachedEncoder
from finetuner.models.encoder import Embeddings, Encoder, EncoderSpec, Features
from finetuner.models.heads import Heads, HeadSpec, Side

__all__ = [
    "BUILTIN",
    "CachedEncoder",
    "Embeddings",
    "Encoder",
    "EncoderSpec",
    "Features",
    "HeadSpec",
    "Heads",
    "Side",
    "build_encoder",
    "load_encoder",
]
