"""Which documents to embed again first, where an index has to be rebuilt bit by bit.

As FastFill has it (Jaeckle et al. 2023, arXiv 2303.04766), those come first about which the map is wrong most. There a
network is trained to tell; here contents tell that both versions have embedded already, the nearest ones in the old space.
So nothing is embedded to find the order, and documents of one region come together.
"""

import numpy as np

from finetuner.compatibility.maps import Map
from finetuner.compatibility.stamped import Stamped
from finetuner.errors import OptionError
from finetuner.matches import Rows
from finetuner.nearest import nearest

_NEIGHBOURS = 10


def reembed_order(between: Map, old: Stamped, new: Stamped, documents: Stamped) -> Rows:
    """Return documents in the order in which to embed them again, (D,): equal ones by ascending row.

    For a content that both versions have embedded, the map is wrong by 1 - cosine of what it makes of the new embedding,
    and the old one. For a document that is the mean over the ten nearest contents.

    Args:
        between: The map from the new version to the old one.
        old: Embeddings of N contents by the old version.
        new: Embeddings of the same contents by the new version.
        documents: Embeddings of D documents by the old version.

    Raises:
        OtherVersionError: If embeddings are not of the version that the map is from or to.
        OptionError: If there is no content, or not as many old as new ones.
    """
    if len(old) != len(new) or not len(old):
        raise OptionError(
            f"reembed_order: {len(old)} old and {len(new)} new embeddings; give both of the same contents"
        )
    there = old.of(between.target, where="reembed_order: contents")
    made = between.apply(new).of(between.target, where="reembed_order")
    wrong = 1 - np.einsum("nd,nd->n", made, there)
    asking = documents.of(between.target, where="reembed_order: documents")
    found = nearest(asking, there, min(_NEIGHBOURS, len(old)))
    return np.argsort(-wrong[found.rows].mean(axis=1), kind="stable")
