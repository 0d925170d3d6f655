"""The moving average of weights."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


class Average:
    """An exponential moving average of the tensors that a training moves; it is what is validated and kept.

        average = decay * average + (1 - decay) * value      after each step

    As in section 7.2 of Kingma and Ba 2015 (arXiv 1412.6980), but begun at the first value instead of corrected for
    a beginning at zero. Whole numbers, such as a count of batches, are taken as they are.

    Args:
        values: The tensors, by name; they are read again at each update.
        decay: How much of the average stays, 0 to 1.
    """

    def __init__(self, values: Mapping[str, Tensor], decay: float) -> None:
        self._values = values
        self._decay = decay
        self.tensors = {name: value.detach().clone() for name, value in values.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the values as they are now."""
        for name, average in self.tensors.items():
            if average.is_floating_point():
                average.lerp_(self._values[name], 1 - self._decay)
            else:
                average.copy_(self._values[name])

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average in the place of the values meanwhile."""
        own = {name: value.detach().clone() for name, value in self._values.items()}
        write(self.tensors, self._values)
        try:
            yield
        finally:
            write(own, self._values)


@torch.no_grad()
def write(tensors: Mapping[str, Tensor], places: Mapping[str, Tensor]) -> None:
    """Copy tensors into those of the same names."""
    for name, value in tensors.items():
        places[name].copy_(value)
