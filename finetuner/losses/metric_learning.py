"""Any loss of pytorch-metric-learning, by the name of its class.

What is known of a batch reaches such a loss in one of two ways. Most are told which pairs are positive and which are
negative; the others are told classes, and many of them have a proxy of each class, which is trained too.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from finetuner.errors import OptionError
from finetuner.losses.metric_learning_options import FAULTS, OF_PAIRS, OF_PROXIES, PREFIX, make_loss
from finetuner.losses.objective import Objective
from finetuner.losses.relations import Relations

_TRIPLETS = {"MarginLoss", "TripletMarginLoss"}  # given pairs, they need pairs^2 memory
_ONE_LIST = {
    "HistogramLoss",
    "LiftedStructureLoss",
    "ThresholdConsistentMarginLoss",
}  # no list of anchors apart


class MetricLearning(Objective):
    """A loss of pytorch-metric-learning (Musgrave et al. 2020, arXiv 2008.09164) on the relations of a batch.

    A loss of pairs sees the positives and negatives of each anchor, so an anchor is never its own pair, and nothing
    unjudged is pushed. A loss of classes sees each content of the batch once, the anchors as they ask, with the class
    of each. Weights and scores are not known to these losses. They list pairs, triplets, or pairs of pairs, and take
    the memory for it. ``TupletMarginLoss`` is no number where a positive is embedded like its anchor.

    Args:
        name: The class, such as ``CircleLoss``.
        options: Arguments of the class. A ``distance`` or ``reducer`` is the name of a class, or a mapping with this
            ``name`` and its arguments. Number of classes and dimension are filled in.
        dim: The dimension of the embeddings.
        groups: How many classes the data has; None if none.

    Raises:
        OptionError: If the package is not installed, there is no such loss, it cannot work with matches, it needs
            classes where there are none, or its options are not what it takes.
    """

    def __init__(self, name: str, options: Mapping[str, Any], *, dim: int, groups: int | None = None) -> None:
        super().__init__()
        self.loss = make_loss(name, options, dim=dim, groups=groups)
        self.uses_groups = name not in OF_PAIRS
        self._name = name
        self._try_out(dim, groups or 2)

    def forward(self, queries: Tensor, contents: Tensor, relations: Relations) -> Tensor:
        """Return the loss of a batch, see :class:`finetuner.losses.Objective`."""
        wide = torch.promote_types(contents.dtype, torch.float32)
        queries, contents = queries.to(wide), contents.to(wide)
        if not self.teaches(relations).any():
            return 0 * (queries.sum() + contents.sum())
        loss_of = self._of_classes if self.uses_groups else self._of_pairs
        return loss_of(queries, contents, relations).sum()  # some return a row of one

    def teaches(self, relations: Relations) -> Tensor:
        """Return which anchors have a positive and a negative; proxies learn from every one, bool (A,)."""
        if self._name in OF_PROXIES:
            return relations.positive.new_ones(len(relations.positive))
        return relations.contrasting

    def _of_pairs(self, queries: Tensor, contents: Tensor, relations: Relations) -> Tensor:
        if self._name in _TRIPLETS:
            value: Tensor = self.loss(queries, indices_tuple=_triplets(relations), ref_emb=contents)
        elif self._name in _ONE_LIST:
            anchors, positives, others, negatives = _pairs(relations)
            chosen = anchors, positives + len(queries), others, negatives + len(queries)
            value = self.loss(torch.cat([queries, contents]), indices_tuple=chosen)
        else:
            value = self.loss(queries, indices_tuple=_pairs(relations), ref_emb=contents)
        return value

    def _of_classes(self, queries: Tensor, contents: Tensor, relations: Relations) -> Tensor:
        if relations.anchors is not None:
            contents = contents.index_copy(0, relations.anchors, queries)
        value: Tensor = self.loss(contents, relations.groups)
        return value

    def _try_out(self, dim: int, groups: int) -> None:
        """Compute it once, since most classes look at their arguments only then.

        Raises:
            OptionError: If that fails.
        """
        embeddings = normalize(torch.arange(4 * dim).view(4, dim).sin())
        classes = torch.arange(4) % min(2, groups)
        same = classes[:, None] == classes
        relations = Relations(
            same & ~torch.eye(4, dtype=torch.bool), ~same, groups=classes, anchors=torch.arange(4)
        )
        where = f"loss '{PREFIX}{self._name}'"
        try:
            with torch.no_grad():
                value = self(embeddings, embeddings, relations)
        except FAULTS as error:
            raise OptionError(f"{where} cannot be computed with these options: {error}") from error
        if not value.isfinite():
            raise OptionError(f"{where} is {value.item()} with these options, whatever the embeddings")


def _pairs(relations: Relations) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return anchors and positives, then anchors and negatives, as positions in the batch."""
    anchors, positives = relations.positive.nonzero(as_tuple=True)
    others, negatives = relations.negative.nonzero(as_tuple=True)
    return anchors, positives, others, negatives


def _triplets(relations: Relations) -> tuple[Tensor, Tensor, Tensor]:
    """Return the anchors, positives and negatives of all triplets, as positions in the batch."""
    anchors, positives, _, negatives = _pairs(relations)
    counts = relations.negative.sum(dim=1)
    first = (counts.cumsum(dim=0) - counts)[anchors]  # where the negatives of a positive's anchor begin
    counts = counts[anchors]
    ends = counts.cumsum(dim=0)
    within = torch.arange(int(counts.sum()), device=counts.device) - (ends - counts).repeat_interleave(counts)
    chosen = negatives[first.repeat_interleave(counts) + within]
    return anchors.repeat_interleave(counts), positives.repeat_interleave(counts), chosen
