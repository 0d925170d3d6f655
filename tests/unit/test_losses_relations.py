"""Relations: rows of them, and who has a positive and a negative."""

from dataclasses import fields, replace

import torch

from finetuner.losses import Relations
from tests.loss_batches import known


def test_an_anchor_contrasts_if_it_has_a_positive_and_a_negative() -> None:
    """One of each will do, wherever they are; of no contents there is none."""
    given = known("+.-", "++.", ".--", "...", "-.+")
    assert given.contrasting.tolist() == [True, False, False, False, True]
    assert given.judged[0].tolist() == [True, False, True]
    assert known("", "").contrasting.tolist() == [False, False]


def test_rows_cut_all_that_is_said_of_anchors() -> None:
    """Everything with a row for each anchor is cut; groups are of contents and stay."""
    numbers = torch.arange(6).view(3, 2)
    whole = Relations(
        numbers > 0, numbers < 0, numbers + 1, numbers / 2, torch.tensor([7, 8]), torch.tensor([0, 1, 0])
    )
    cut = whole.rows(slice(1, 3))
    for field in fields(Relations):
        before, after = getattr(whole, field.name), getattr(cut, field.name)
        assert after.tolist() == (before if field.name == "groups" else before[1:3]).tolist()
    bare = replace(known("+-", "-+"))
    assert bare.rows(slice(0, 1)).weight is None
