"""Losses by name: what is accepted, and what an error says of the rest."""

import math

import pytest

from finetuner.errors import OptionError
from finetuner.losses import (
    LOSSES,
    Contrastive,
    CoSENT,
    CosineObjective,
    CosineRegression,
    InfoNCE,
    MarginMSE,
    Matryoshka,
    Triplet,
    make_objective,
)


def test_losses_are_found_by_name() -> None:
    """Options name a loss and its fields; without any it has its defaults."""
    defaults = [InfoNCE(), CosineRegression(), Contrastive(), Triplet(), CoSENT(), MarginMSE()]
    assert [LOSSES[name]() for name in LOSSES] == defaults
    objective = make_objective("triplet", {"margin": 0.4, "mining": "hard"}, dim=8)
    assert isinstance(objective, CosineObjective)
    assert objective.loss == Triplet(0.4, "hard")


def test_unknown_names_are_answered_with_those_that_there_are() -> None:
    """The error lists the losses, and the options of a loss."""
    with pytest.raises(
        OptionError, match=r"no loss 'infonse'; accepted are infonce, .*margin_mse, and 'pml:'"
    ):
        make_objective("infonse", {}, dim=8)
    with pytest.raises(
        OptionError, match="loss 'triplet': unknown option 'margins'; accepted are margin, mining"
    ):
        make_objective("triplet", {"margins": 1}, dim=8)
    with pytest.raises(OptionError, match="loss 'cosine': unknown option 'margin'; accepted are none"):
        make_objective("cosine", {"margin": 1}, dim=8)


@pytest.mark.parametrize("value", [0, -0.1, math.inf, math.nan, True, "0.2"])
def test_unusable_numbers_are_refused_by_name(value: float) -> None:
    """A temperature, margin or scale that is not a finite number above 0 raises an error that names it."""
    for name, option in (
        ("infonce", "temperature"),
        ("contrastive", "margin"),
        ("triplet", "margin"),
        ("cosent", "scale"),
        ("margin_mse", "scale"),
    ):
        with pytest.raises(OptionError, match=f"loss '{name}': {option}"):
            make_objective(name, {option: value}, dim=8)


def test_unusable_choices_are_refused_by_name() -> None:
    """A mining that there is not, or a switch that is a number, raises an error that lists what there is."""
    with pytest.raises(OptionError, match="mining is 'semihard'; accepted are 'all', 'hard', 'semi-hard'"):
        make_objective("triplet", {"mining": "semihard"}, dim=8)
    with pytest.raises(OptionError, match="graded is 1; accepted are False, True"):
        make_objective("infonce", {"graded": 1}, dim=8)


def test_matryoshka_always_counts_the_whole_embedding_too() -> None:
    """Dimensions come in their order, once each, and the last is that of the embeddings."""
    objective = make_objective("infonce", {}, matryoshka=[4, 2, 4], dim=8)
    assert isinstance(objective, Matryoshka)
    assert objective.dims == (2, 4, 8)


@pytest.mark.parametrize("dims", [[0], [9], [2.5], [True]])
def test_impossible_dimensions_are_refused(dims: list[int]) -> None:
    """A dimension is a whole number from 1 to that of the embeddings."""
    with pytest.raises(
        OptionError, match=f"matryoshka: {dims[0]!r} is no dimension; give whole numbers from 1 to 8"
    ):
        make_objective("infonce", {}, matryoshka=dims, dim=8)
