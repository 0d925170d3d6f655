"""Losses: what training makes smaller, from the cosines of a batch and what is known of its pairs."""

from finetuner.losses.by_name import LOSSES, make_objective
from finetuner.losses.contrastive import Contrastive
from finetuner.losses.cosent import CoSENT
from finetuner.losses.cosine import CosineRegression
from finetuner.losses.infonce import InfoNCE
from finetuner.losses.loss import Loss, Ratio
from finetuner.losses.margin_mse import MarginMSE
from finetuner.losses.metric_learning import MetricLearning
from finetuner.losses.objective import CosineObjective, Matryoshka, Objective
from finetuner.losses.relations import Relations
from finetuner.losses.triplet import Triplet

__all__ = [
    "LOSSES",
    "CoSENT",
    "Contrastive",
    "CosineObjective",
    "CosineRegression",
    "InfoNCE",
    "Loss",
    "MarginMSE",
    "Matryoshka",
    "MetricLearning",
    "Objective",
    "Ratio",
    "Relations",
    "Triplet",
    "make_objective",
]
