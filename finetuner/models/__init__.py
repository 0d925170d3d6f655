"""Encoders: what maps content to an embedding."""

from finetuner.models.builtin import BUILTIN
from finetuner.models.encoder import Embeddings, Encoder, EncoderSpec, Features, build_encoder, load_encoder

__all__ = ["BUILTIN", "Embeddings", "Encoder", "EncoderSpec", "Features", "build_encoder", "load_encoder"]
