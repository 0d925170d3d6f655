"""Several texts in one row: where they lie, and when it is worth it."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from finetuner.models.packed_bert import PackedBert, Rows, lay_out


class Wide(nn.Module):
    """What the plan asks of a BERT."""

    config = SimpleNamespace(hidden_size=384)


def padded(lengths: list[int]) -> dict[str, Tensor]:
    """Return features of texts with so many tokens."""
    mask = (torch.arange(max(lengths, default=0)) < torch.tensor(lengths, dtype=torch.int64)[:, None]).long()
    return {"input_ids": mask * 7, "attention_mask": mask}


@given(st.lists(st.integers(1, 20), min_size=1, max_size=30), st.integers(0, 20))
def test_no_two_texts_overlap_and_none_leaves_its_row(lengths: list[int], more: int) -> None:
    """Every place belongs to one text at most, and a text lies in one row."""
    rows = lay_out(lengths, max(lengths) + more)
    taken = [
        place
        for start, count in zip(rows.starts, lengths, strict=True)
        for place in range(start, start + count)
    ]
    assert len(taken) == len(set(taken)) == sum(lengths)
    assert max(taken) < rows.count * rows.length
    for start, count in zip(rows.starts, lengths, strict=True):
        assert start // rows.length == (start + count - 1) // rows.length


def test_the_longest_texts_are_laid_first() -> None:
    """So the short ones fill what is left, and those of a length keep their order."""
    assert lay_out([3, 3, 5, 5, 2, 8], 8) == Rows([13, 21, 8, 16, 24, 0], 4, 8)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([128] * 4 + [16] * 8, (5, 128)),  # as in a batch of questions and answers
        ([70] * 30 + [128], (11, 256)),  # rows of 128 would hold one each
        ([100, 99, 98, 97], None),  # hardly anything is padding
        ([9], None),
        ([], None),
    ],
)
def test_texts_share_rows_where_that_is_less_work(
    lengths: list[int], expected: tuple[int, int] | None
) -> None:
    """Rows as long as the longest text, or twice that, whichever is less; as they are if nothing is gained."""
    rows = PackedBert(Wide()).plan(padded(lengths))
    assert (None if rows is None else (rows.count, rows.length)) == expected


def test_a_text_without_tokens_and_unknown_features_are_left_to_the_module() -> None:
    """What cannot be laid out exactly is read as it is."""
    features = padded([128, 3, 3, 3])
    assert PackedBert(Wide()).plan(features) is not None
    assert PackedBert(Wide()).plan({**features, "bbox": features["input_ids"]}) is None
    features["attention_mask"][1] = 0
    assert PackedBert(Wide()).plan(features) is None
