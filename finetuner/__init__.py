"""Tune, gate and serve embeddings from match data.

>>> import finetuner
>>> result = finetuner.fit("mlp", documents)
>>> result.evaluation["gain"]["base"]
>>> embeddings = result.encoder.embed(images)
"""

from finetuner.documents import Document
from finetuner.exporting import Exported, export
from finetuner.lifecycle import load
from finetuner.matches import MatchSet
from finetuner.models import Encoder, EncoderSpec, build_encoder
from finetuner.release import __version__
from finetuner.training.compare import evaluate
from finetuner.training.fit import FitResult, fit

__all__ = [
    "Document",
    "Encoder",
    "EncoderSpec",
    "Exported",
    "FitResult",
    "MatchSet",
    "__version__",
    "build_encoder",
    "evaluate",
    "export",
    "fit",
    "load",
]
