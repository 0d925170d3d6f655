"""Plans of epochs in which the classes of a batch have equal shares."""

import numpy as np

from finetuner.groups import spans
from finetuner.matches import Rows

MEMBERS = 4
"""Contents of a group in a batch with many groups: the K of Hermans et al."""
LONGER = 4
"""An epoch becomes so many times as long at most for the sake of balance."""


class ClassPlan:
    """Deals out the members of groups so that in each batch several groups have equal shares.

    It is PK sampling (Hermans et al. 2017, section 2, arXiv 1703.07737: P classes with K images each), made into an
    epoch that leaves nothing out:

    - K is 4, or more where so few groups would not fill a batch, and at most half a batch. Each group is shuffled
      and cut into parts of nearly K members, at least 2; one with fewer than K comes whole. Nobody is twice in a
      batch, where the paper repeats images of small classes.
    - All parts of a group come, each in another batch. So a large group comes more often than a small one, where the
      paper draws all classes equally often and never says when all images were seen.
    - Small groups come again, cut anew, where a large one would otherwise have a batch for itself. That makes an
      epoch at most ``LONGER`` times as long; what is still too large for that has more than K members in a batch.
    - Contents that are alone in their group are in all batches, as negatives: nearly as many in each, and at most
      half of it. If that is not enough for all of them in an epoch, the others come in the next.

    Args:
        group: The group of each member, of those that have at least two, int64 (A,).
        alone: Contents that are alone, by row, int64 (S,).
        batch_size: Contents in a batch, at least 4.
        seed: With the number of an epoch it decides all that is random.
    """

    def __init__(self, group: Rows, alone: Rows, *, batch_size: int, seed: int) -> None:
        _, self._group, self._sizes = np.unique(group, return_inverse=True, return_counts=True)
        # not [seed, number], which is what epochs draw from
        self._alone = np.random.default_rng([seed, 0, 1]).permutation(alone)
        half = batch_size // 2
        share = _ceil(len(alone), max(1, _ceil(len(group) + len(alone), batch_size)))
        self._set_parts(batch_size - min(share, half))
        self._alone_each = min(_ceil(len(alone), max(1, self._batches)), half)

    def _set_parts(self, room: int) -> None:
        """Find how many batches there are, and in how many parts and how often each group comes."""
        groups, needed = len(self._sizes), _ceil(len(self._group), room)
        most = room if groups < 2 else min(max(MEMBERS, room // groups), room // 2)
        parts: Rows = np.minimum(-(-self._sizes // most), self._sizes // 2)
        self._batches = max(needed, min(int(parts.max(initial=0)), LONGER * needed))
        self._parts = np.minimum(parts, self._batches)
        low, high = 1, self._batches + 1
        while high - low > 1:  # how often a group comes at least
            middle = (low + high) // 2
            members = (np.maximum(self._parts, middle) * (self._sizes / self._parts)).sum()
            low, high = (middle, high) if members <= room * self._batches else (low, middle)
        self._times = np.maximum(self._parts, low)
        if groups > 1:  # a part of 3 in place of 2 leaves too few for two in each batch
            pairs = int(self._times.sum()) // 2
            self._batches = max(int(self._parts.max()), min(self._batches, pairs))

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return self._batches

    def epoch(self, number: int, random: np.random.Generator) -> list[tuple[Rows, Rows]]:
        """Return of each batch which members come, and the rows of contents that are alone."""
        if not self._batches:
            return []
        member, part = self._cut(random)
        order = np.lexsort((random.random(len(self._sizes)), -self._sizes // self._parts))
        before = np.empty_like(self._times)
        before[order] = np.cumsum(self._times[order]) - self._times[order]
        # parts of a group follow each other and are not more than batches, so no two fall into one
        place = random.permutation(self._batches)[(before[self._group[member]] + part) % self._batches]
        by_batch = np.argsort(place, kind="stable")
        cuts = np.searchsorted(place[by_batch], np.arange(1, self._batches))
        return list(zip(np.split(member[by_batch], cuts), self._lonely(number, random), strict=True))

    def _cut(self, random: np.random.Generator) -> tuple[Rows, Rows]:
        """Return members, each at least once, and in which part of its group each is."""
        rounds: Rows = -(-self._times // self._parts)
        member, turn = spans(np.zeros_like(self._group), rounds[self._group])
        group = self._group[member]
        order = np.lexsort((random.random(len(member)), turn, group))
        member, turn, group = member[order], turn[order], group[order]
        sizes, parts = self._sizes[group], self._parts[group]
        begin = np.cumsum(rounds * self._sizes) - rounds * self._sizes
        rank = np.arange(len(member)) - begin[group] - turn * sizes
        part = turn * parts + rank * parts // sizes
        needed = part < self._times[group]
        return member[needed], part[needed]

    def _lonely(self, number: int, random: np.random.Generator) -> Rows:
        count = self._batches * self._alone_each
        if not count:
            return np.zeros((self._batches, 0), np.int64)
        turn = np.arange(count) + number * count
        return random.permutation(self._alone[turn % len(self._alone)]).reshape(self._batches, -1)


def _ceil(number: int, divisor: int) -> int:
    return -(-number // divisor)
