"""Batches for training: anchors with their matches, and by id what is what to whom."""

from finetuner.samplers.batch import Batch, compares
from finetuner.samplers.match_sampler import MatchSampler, Sampling

__all__ = ["Batch", "MatchSampler", "Sampling", "compares"]
