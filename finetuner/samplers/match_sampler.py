"""The sampler: who comes when, over the epochs."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from finetuner.errors import OptionError
from finetuner.matches import MatchSet, Rows
from finetuner.samplers.batch import Batch, Draft, compares, that_teach
from finetuner.samplers.classes import ClassPlan
from finetuner.samplers.judged import judgements_of, sample
from finetuner.samplers.relations import Likely, Relations

Sampling = Literal["anchors", "classes"]


class MatchSampler:
    """Deals out a match set in batches that can teach.

    By ``anchors``, each anchor comes once an epoch with its judged matches. One with more than ``matches_per_anchor``
    brings a fresh random sample of them each epoch, with at least one positive and one negative if it has them; so
    over the epochs all come.

    By ``classes``, each content is an anchor itself, if it was judged and its group has at least two members. It
    comes at least once an epoch, in a batch of contents that is balanced over groups, see
    :class:`finetuner.samplers.classes.ClassPlan`. Contents that are alone in their group come as negatives.

    What is what to an anchor in a batch:

    - If positive judgements form groups (see :func:`finetuner.groups.positive_groups`), the contents of its group are
      positives, and all others are negatives.
    - If they do not, positive is what is judged positive. Negative is what is judged negative, and what is
      not judged, unless one positive judgement, or two over a third content, connect it with the anchor in
      whichever direction.
    - What is not judged is no negative where it is ``likely`` to be a positive.
    - Mined contents are negatives of the anchor for which they were mined, unless they are of its group, or connected
      with it as above. For other anchors they are what they would be otherwise.
    - Without ``in_batch_negatives`` judgements and mined contents alone count, groups or not.

    All judgements count, not only those of the sample. A label of 0 judges nothing, and is a score of 0. Nothing is a
    positive or a negative of itself.

    The batches of an epoch are planned nearly equal in size. Those that cannot teach are joined to others, see
    :func:`finetuner.samplers.batch.that_teach`: then a batch may hold 8 times as much. An epoch in which nothing at
    all can teach is empty. The plan depends on the seed and the number of the epoch alone, and what is random about
    a planned batch on these and its index.

    Args:
        matches: The match data to learn from.
        batch_size: Anchors in a batch at most, at least 1; by classes contents in a batch, about, at least 4.
        matches_per_anchor: Judged matches that an anchor brings into a batch at most, at least 2; by classes it
            brings none.
        seed: With the number of an epoch it decides all that is random, at least 0.
        in_batch_negatives: Whether contents that came with other anchors may be negatives.
        sampling: What is dealt out.
        scores: Whether batches have the labels as scores.
        teaches: Whether a loss can learn from a batch. It must stay true if more anchors and contents come in.
        likely: Which pairs that nobody judged are too similar to be negatives: called with the rows of a batch's
            anchors (A,) and of its contents (N,), it returns bool (A, N).

    Attributes:
        anchors: The rows of the contents that are dealt out as anchors, int64 (anchors,).

    Raises:
        OptionError: If a number is too small or ``sampling`` unknown; and by classes, if the data has no groups or
            there are to be no in-batch negatives.
    """

    def __init__(
        self,
        matches: MatchSet,
        *,
        batch_size: int,
        matches_per_anchor: int,
        seed: int,
        in_batch_negatives: bool = True,
        sampling: Sampling = "anchors",
        scores: bool = False,
        teaches: Callable[[Batch], bool] = compares,
        likely: Likely | None = None,
    ) -> None:
        _check_at_least(1, "batch_size", batch_size)
        _check_at_least(2, "matches_per_anchor", matches_per_anchor)  # a positive and a negative
        _check_at_least(0, "seed", seed)
        if sampling not in get_args(Sampling):
            raise OptionError(f"sampling is {sampling!r}; give one of {', '.join(get_args(Sampling))}")
        self._matches = matches
        self._batch_size = batch_size
        self._matches_per_anchor = matches_per_anchor
        self._seed = seed
        self._teaches = teaches
        self._relations = Relations(
            matches, in_batch_negatives=in_batch_negatives, scores=scores, likely=likely
        )
        self.anchors = matches.anchors
        self._judges = np.arange(len(matches), dtype=np.int64)
        self._classes: ClassPlan | None = None
        if sampling == "classes":
            self._classes = self._by_classes(in_batch_negatives)

    def _by_classes(self, in_batch_negatives: bool) -> ClassPlan:
        if not in_batch_negatives:
            raise OptionError(
                "sampling is 'classes', where groups tell what is what in a batch, but in_batch_negatives is false; "
                "leave one of them out"
            )
        _check_at_least(4, "with sampling 'classes' batch_size", self._batch_size)  # two groups of two
        groups = self._relations.groups
        if groups is None:
            raise OptionError(
                "sampling is 'classes', but positive judgements form no groups in this data: there is no negative "
                "judgement, or one within a group; give sampling 'anchors'"
            )
        used = np.zeros(len(groups), dtype=np.bool_)
        used[self._matches.anchors] = used[self._matches.matches] = True
        alone = (
            np.bincount(groups)[groups] == 1
        )  # and perhaps not of this set, which may be a part of another
        judges = np.full(len(groups), -1, dtype=np.int64)
        judges[self._matches.anchors] = self._judges
        self.anchors = np.flatnonzero(~alone)
        self._judges = judges[self.anchors]
        return ClassPlan(
            groups[self.anchors],
            np.flatnonzero(used & alone),
            batch_size=self._batch_size,
            seed=self._seed,
        )

    def __len__(self) -> int:
        """Return the number of batches in an epoch at most."""
        return -(-len(self.anchors) // self._batch_size) if self._classes is None else len(self._classes)

    def judged(self) -> MatchSet:
        """Return what :attr:`anchors` judge, in their order; one that is no anchor in the data judges nothing."""
        if self._classes is None:
            return self._matches
        owner, judgement = judgements_of(self._matches, self._judges)
        counts = np.bincount(owner, minlength=len(self.anchors))
        return replace(
            self._matches,
            anchors=self.anchors,
            offsets=np.append(0, np.cumsum(counts)).astype(np.int64),
            matches=self._matches.matches[judgement],
            labels=self._matches.labels[judgement],
            weights=self._matches.weights[judgement],
        )

    def epoch(self, number: int, *, mined: Rows | None = None) -> Iterator[Batch]:
        """Return the batches of an epoch, counted from 0; the same each time, whatever was asked before.

        Args:
            number: Of the epoch.
            mined: For each of :attr:`anchors`, rows of contents that come with it as its negatives, -1 for none,
                int64 (anchors, m).

        Raises:
            OptionError: If ``mined`` is not about these anchors.
        """
        if mined is not None and (mined.ndim != 2 or len(mined) != len(self.anchors)):
            raise OptionError(
                f"mined has the shape {mined.shape}; give ({len(self.anchors)}, m), a row for each anchor"
            )
        return that_teach(self._drafts(number, mined), self._batch, self._teaches)

    def _drafts(self, number: int, mined: Rows | None) -> Iterator[Draft]:
        for index, (chosen, extra) in enumerate(self._plan(number)):
            rows = [self.anchors[chosen], extra]
            if self._classes is None:
                # not 0, since numpy takes [seed, number] and [seed, number, 0] for the same seed
                random = np.random.default_rng([self._seed, number, 1 + index])
                taken = sample(self._matches, chosen, self._matches_per_anchor, random)
                rows.append(self._matches.matches[taken])
            its_mined = None if mined is None else mined[chosen]
            if its_mined is not None:
                rows.append(its_mined[its_mined >= 0])
            yield Draft(chosen, np.concatenate(rows), its_mined)

    def _plan(self, number: int) -> list[tuple[Rows, Rows]]:
        """Return of each batch which anchors come, and further contents that do."""
        random = np.random.default_rng([self._seed, number])
        if self._classes is not None:
            return self._classes.epoch(number, random)
        if not len(self):
            return []
        nothing = np.zeros(0, np.int64)
        order = random.permutation(len(self.anchors))
        return [(chosen, nothing) for chosen in np.array_split(order, len(self))]

    def _batch(self, draft: Draft) -> Batch:
        return self._relations.batch(draft, self.anchors[draft.anchors], self._judges[draft.anchors])


def _check_at_least(least: int, name: str, value: int) -> None:
    if value < least:
        raise OptionError(f"{name} is {value!r}; give a whole number of at least {least}")
