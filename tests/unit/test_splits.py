"""Splits: a content's hash and a seed alone decide its side."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuner.contents import content_hash
from finetuner.errors import OptionError
from finetuner.matches import MatchSet
from finetuner.splits import SIDES, Hashes, chosen, sides
from tests.two_classes import match_documents


def hashes(count: int, *, seed: int = 0) -> Hashes:
    """Return random content hashes."""
    return np.random.default_rng(seed).integers(0, 256, (count, 16), np.uint8)


def test_sides_of_some_hashes() -> None:
    """Results of two releases can be compared: the same contents are on the same sides in each."""
    texts = np.frombuffer(b"".join(content_hash(f"text {number}") for number in range(20)), np.uint8)
    found = sides(texts.reshape(20, 16), validation=0.3, holdout=0.3, seed=5)
    assert found.tolist() == [1, 2, 2, 0, 0, 0, 0, 1, 2, 1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0]
    assert found.dtype == np.int8


@settings(max_examples=20, deadline=None)
@given(
    validation=st.sampled_from([0, 0.01, 0.1, 0.25, 0.5]),
    holdout=st.sampled_from([0, 0.07, 0.2, 0.49]),
    seed=st.integers(0, 2**31 - 1),
)
def test_sides_are_the_two_splits_of_a_run(validation: float, holdout: float, seed: int) -> None:
    """The holdout is split off first, and with the next seed the validation from the rest, as a run does it."""
    matches = MatchSet.from_documents(match_documents(60))
    rest, held_out = matches.split(holdout, seed=seed)
    training, validating = rest.split(validation / (1 - holdout), seed=seed + 1)
    found = sides(matches.hashes[matches.anchors], validation=validation, holdout=holdout, seed=seed)
    for number, part in enumerate((training, validating, held_out)):
        assert part.anchors.tolist() == matches.anchors[found == number].tolist()


def test_an_anchor_keeps_its_side_when_data_is_added() -> None:
    """The side of a hash depends on no other hash, nor on the order."""
    all_of_them = hashes(500)
    found = sides(all_of_them, validation=0.2, holdout=0.2, seed=1)
    some = np.random.default_rng(1).permutation(500)[:100]
    assert (sides(all_of_them[some], validation=0.2, holdout=0.2, seed=1) == found[some]).all()


def test_a_larger_share_keeps_what_a_smaller_one_took() -> None:
    """Who raises the holdout adds anchors to it, and loses none."""
    small, large = (chosen(hashes(500), ratio, seed=3) for ratio in (0.1, 0.3))
    assert (large | ~small).all()
    assert large.sum() > small.sum()


def test_another_share_of_validation_changes_no_holdout() -> None:
    """The holdout is drawn before it."""
    one, other = (sides(hashes(500), validation=share, holdout=0.2, seed=0) for share in (0, 0.5))
    assert ((one == SIDES.index("holdout")) == (other == SIDES.index("holdout"))).all()


def test_shares_are_kept_in_the_mean() -> None:
    """Each side has its share of 100,000 random hashes, to a few standard deviations."""
    counts = np.bincount(sides(hashes(100_000), validation=0.1, holdout=0.3, seed=9), minlength=3)
    assert counts.tolist() == pytest.approx([60_000, 10_000, 30_000], abs=600)


def test_another_seed_splits_anew() -> None:
    """Of what one seed holds out, the next one holds out its share and no more."""
    one, other = (chosen(hashes(100_000), 0.2, seed) for seed in (0, 1))
    assert (one & other).sum() == pytest.approx(4_000, abs=300)


def test_nothing_and_everything() -> None:
    """A ratio of 0 takes no hash, a ratio of 1 takes them all, and no hashes are on no sides."""
    assert not chosen(hashes(1000), 0, seed=0).any()
    assert chosen(hashes(1000), 1, seed=0).all()
    assert sides(hashes(0), validation=0.1, holdout=0.1, seed=0).tolist() == []


@pytest.mark.parametrize(("validation", "holdout"), [(-0.1, 0.1), (0.1, -0.1), (0.5, 0.5), (float("nan"), 0)])
def test_shares_that_leave_nothing_are_refused(validation: float, holdout: float) -> None:
    """The message says what was given."""
    with pytest.raises(OptionError, match=f"validation={validation!r}, holdout={holdout!r}"):
        sides(hashes(3), validation=validation, holdout=holdout, seed=0)
