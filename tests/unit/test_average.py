"""The moving average of weights."""

import contextlib

import torch

from finetuner.training.average import Average


def test_an_average_moves_by_its_share() -> None:
    """From 1 towards 3 with decay 0.75: 1.5, then 1.875."""
    values = {"w": torch.tensor([1.0])}
    average = Average(values, 0.75)
    values["w"].fill_(3)
    for expected in (1.5, 1.875):
        average.update()
        assert average.tensors["w"].item() == expected


def test_whole_numbers_are_taken_as_they_are() -> None:
    """A count of batches has no average."""
    values = {"count": torch.tensor(4)}
    average = Average(values, 0.9)
    values["count"].fill_(9)
    average.update()
    assert average.tensors["count"].item() == 9


def test_applied_it_stands_in_for_the_values_meanwhile() -> None:
    """Afterwards the values are what they were, also if something fails in between."""
    values = {"w": torch.tensor([1.0])}
    average = Average(values, 0.5)
    values["w"].fill_(3)
    with contextlib.suppress(ZeroDivisionError), average.applied():
        during = values["w"].item()
        raise ZeroDivisionError
    assert (during, values["w"].item()) == (1, 3)
