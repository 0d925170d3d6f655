"""The anchors of :mod:`tests.store_model` as packs, and packs as it tells them."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from finetuner.documents import Document, labelled
from finetuner.packs import Pack
from tests.store_model import Anchor, Emission


def names_in(anchors: Iterable[Anchor]) -> list[str]:
    """Return the ids of all documents in the order in which they are first named."""
    return list(
        dict.fromkeys(
            name for anchor in anchors for name in (anchor.name, *(match.name for match in anchor.matches))
        )
    )


def documents_of(anchors: Iterable[Anchor], contents: Mapping[str, str | None]) -> Iterator[Document]:
    """Yield match Documents as they are fed; those without a content come with an id alone."""
    for anchor in anchors:
        found = []
        for match in anchor.matches:
            said = json.loads(match.tags or "{}")
            said = said if match.label is None else labelled(said, match.label, match.weight)
            found.append(Document(contents[match.name], id=match.name, tags=said))
        own = json.loads(anchor.tags or "{}")
        yield Document(contents[anchor.name], id=anchor.name, tags=own, matches=found)


def corpus(contents: Mapping[str, str]) -> Pack:
    """Return a pack of documents without anchors."""
    none = np.zeros(0, np.int64)
    return Pack(
        0, list(contents), list(contents.values()), None, none, np.zeros(1, np.int64), none, np.zeros(0)
    )


def read(packs: Iterable[Pack]) -> Emission:
    """Return what packs hold; each tells its own documents, and refers to those before."""
    emission = Emission([], [])
    known: list[tuple[str, str]] = []
    for pack in packs:
        assert pack.texts is not None
        known = [*known[: pack.start], *zip(pack.ids, pack.texts, strict=True)]
        for number, row in enumerate(pack.anchors):
            found = []
            for place in range(pack.offsets[number], pack.offsets[number + 1]):
                label = float(pack.labels[place])
                weight = 1.0 if pack.weights is None else float(pack.weights[place])
                match_tags = "" if pack.match_tags is None else pack.match_tags[place]
                judged = (None if math.isnan(label) else label, weight, match_tags)
                found.append((*known[pack.matches[place]], *judged))
            own = "" if pack.anchor_tags is None else pack.anchor_tags[number]
            emission.anchors.append((*known[row], own, found))
        if not len(pack.anchors):
            emission.alone.extend(zip(pack.ids, pack.texts, strict=True))
    return emission
