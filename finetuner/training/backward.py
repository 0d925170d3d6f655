"""The backward-compatible term: what training adds to its loss so that an index of the old version stays of use.

    loss = objective(new queries, new documents) + weight * objective(new queries, old documents)

It is the influence loss of Shen et al. 2020 (arXiv 2003.11942), eq. 5. There the new model is trained as a classifier, and the
old model's last layer, frozen, classifies its embeddings once more. Encoders here have no classifier, so documents as the
old version embeds them take the place of its rows; and whatever objective is trained with is taken of them too. The old
documents do not move: the term teaches how to ask for them.
"""

import numpy as np
import torch
from torch import Tensor

from finetuner.errors import OptionError
from finetuner.features import FeatureCache
from finetuner.losses import Objective, Relations
from finetuner.matches import MatchSet, Rows
from finetuner.models import Encoder
from finetuner.training.recipes import cached
from finetuner.training.vectors import CachedVectors


class OldDocuments:
    """Documents as an encoder embeds them before it is trained, each content once.

    Args:
        encoder: The encoder, before a recipe changes anything of it.
        matches: Whose contents they are.
        cache: Keeps what its module makes of contents.
        weight: How much the term counts.
    """

    def __init__(self, encoder: Encoder, matches: MatchSet, cache: FeatureCache, *, weight: float) -> None:
        vectors = CachedVectors(encoder, cached(encoder, matches, cache))
        self._embeddings = vectors.embeddings(np.arange(len(matches.ids)), "document")
        self._weight = weight

    def check(self, dim: int) -> None:
        """Raise OptionError unless embeddings of this dimension can ask for them."""
        if dim != self._embeddings.shape[1]:
            raise OptionError(
                f"backward: embeddings will have {dim} numbers, and those of the old version have "
                f"{self._embeddings.shape[1]}; leave head_dim out, or backward"
            )

    def loss(self, objective: Objective, asking: Tensor, rows: Rows, relations: Relations) -> Tensor:
        """Return the term for a batch, a scalar.

        Args:
            objective: What is trained with.
            asking: The anchors' embeddings as they ask, float32 (A, D).
            rows: The contents of the batch, (N,).
            relations: What is known of them.
        """
        documents = torch.from_numpy(self._embeddings[rows]).to(asking.device)
        term: Tensor = objective(asking, documents, relations)
        return self._weight * term
