"""Numbering values by their first occurrence."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from finetuner.numbering import numbered


@given(st.lists(st.integers(-3, 3), max_size=12))
def test_values_are_numbered_as_a_dict_would(values: list[int]) -> None:
    """First places ascend, and each value has the number of its first occurrence; nothing is nothing."""
    number_of: dict[int, int] = {}
    expected = [number_of.setdefault(value, len(number_of)) for value in values]
    first, number = numbered(np.array(values, np.int64))
    assert number.tolist() == expected
    assert first.tolist() == [values.index(value) for value in number_of]
