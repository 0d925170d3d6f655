"""Texts as words: token ids for small text encoders, and texts that say nearly the same."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray

PADDING = 0
UNKNOWN = 1
FIRST_WORD = 2
"""The id of the first word of a vocabulary; below it are padding and the unknown word."""

_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> tuple[str, ...]:
    """Return the lower-cased words of a text; everything but letters and digits separates them."""
    return tuple(_WORD.findall(text.lower()))


def vocabulary_of(texts: Iterable[str], *, at_least: int = 2) -> dict[str, int]:
    """Return an id for each word that the texts hold ``at_least`` times, in order of first appearance."""
    counts = Counter(word for text in texts for word in words_of(text))
    frequent = [word for word, count in counts.items() if count >= at_least]
    return {word: FIRST_WORD + index for index, word in enumerate(frequent)}


def token_ids(text: str, vocabulary: Mapping[str, int], length: int) -> NDArray[np.int64]:
    """Return a text as word ids, int64 (length,): the last words are kept, zeros fill up on the left."""
    kept = words_of(text)[-length:]
    ids = np.full(length, PADDING, np.int64)
    ids[length - len(kept) :] = [vocabulary.get(word, UNKNOWN) for word in kept]
    return ids


def similar_pairs(word_sets: Sequence[AbstractSet[str]], threshold: float) -> Iterator[tuple[int, int]]:
    """Yield (i, j) with i < j for all sets whose Jaccard similarity |A & B| / |A | B| reaches a threshold.

    Two such sets share at least ``threshold`` of the larger one. So, with the words of each set sorted rarest
    first, they share one among the first ``|A| - threshold |A| + 1``: only sets that do are compared.

    Args:
        word_sets: The words of each text.
        threshold: Above 0 and at most 1.
    """
    counts = Counter(word for words in word_sets for word in words)
    seen: defaultdict[str, list[int]] = defaultdict(list)
    for j, words in enumerate(word_sets):
        rarest_first = sorted(words, key=lambda word: (counts[word], word))
        shared_at_least = math.ceil(threshold * len(words) - 1e-9)
        prefix = rarest_first[: len(words) - shared_at_least + 1]
        candidates = {i for word in prefix for i in seen[word]}
        for i in sorted(candidates):
            if len(words & word_sets[i]) >= threshold * len(words | word_sets[i]) - 1e-9:
                yield i, j
        for word in prefix:
            seen[word].append(j)


def connected(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Return, for each of ``count`` things, the first thing that pairs connect it to, itself included."""
    first = list(range(count))

    def first_of(thing: int) -> int:
        while first[thing] != thing:
            first[thing] = first[first[thing]]
            thing = first[thing]
        return thing

    for i, j in pairs:
        one, other = sorted((first_of(i), first_of(j)))
        first[other] = one
    return [first_of(thing) for thing in range(count)]
