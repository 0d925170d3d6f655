"""What frozen encoders made of contents, kept on disk: each content goes through the same encoder once."""

from finetuner.features.cache import FeatureCache, FeatureRows

__all__ = ["FeatureCache", "FeatureRows"]
