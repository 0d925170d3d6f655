"""The state of a run on disk: whole, or as it was before."""

import resource
from pathlib import Path

import pytest
import torch

from finetuner.errors import TrainingError
from finetuner.training.state import (
    Place,
    below,
    load_state,
    optimizer_tensors,
    restore_optimizer,
    save_state,
    under,
)

PLACE = Place(epoch=2, step=3, steps=13, losses=[0.1, 1 / 3], best=0.7, best_epoch=1, piece=8)


def test_a_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    """Numbers, tensors of any kind and empty ones."""
    tensors = {"a/b": torch.tensor([1 / 3, float("inf")]), "n": torch.arange(3), "empty": torch.zeros(0)}
    save_state(tmp_path / "state", PLACE, tensors)
    loaded = load_state(tmp_path / "state")
    assert loaded is not None
    place, back = loaded
    assert place == PLACE
    assert all(torch.equal(back[name], value) for name, value in tensors.items())


def test_without_a_file_there_is_no_state(tmp_path: Path) -> None:
    """A run begins then."""
    assert load_state(tmp_path / "state") is None


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """The message says what to do."""
    (tmp_path / "state").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(TrainingError, match="delete the file to begin the run anew"):
        load_state(tmp_path / "state")


def test_a_full_disk_leaves_the_state_that_was_there(tmp_path: Path) -> None:
    """What cannot be written is an OSError that names the file; nothing half-written is left."""
    path = tmp_path / "state"
    save_state(path, PLACE, {})
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (4096, most)
    )  # Python ignores the signal: what is beyond is an error
    try:
        with pytest.raises(OSError, match=f"^{path}: the state of the run cannot be written"):
            save_state(path, Place(epoch=9), {"a": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
    loaded = load_state(path)
    assert loaded is not None
    assert loaded[0] == PLACE
    assert [one.name for one in tmp_path.iterdir()] == ["state"]


def test_an_optimiser_goes_on_where_it_was() -> None:
    """The next step of one that was restored is that of the one which was never stopped."""
    never, stopped = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    one, other = (torch.optim.AdamW([weight], lr=0.1, fused=True) for weight in (never, stopped))
    never.grad = torch.tensor([1.0, -2.0, 3.0])
    one.step()
    with torch.no_grad():
        stopped.copy_(never)
    restore_optimizer(other, {name: value.clone() for name, value in optimizer_tensors(one).items()})
    for weight, optimizer in ((never, one), (stopped, other)):
        weight.grad = torch.tensor([-1.0, 0.5, 3.0])
        optimizer.step()
    assert torch.equal(never, stopped)


def test_names_are_grouped_by_their_prefix() -> None:
    """What was put under a prefix is found below it, and nothing else."""
    one, other = torch.zeros(1), torch.ones(1)
    both = {**under("a", {"x": one}), **under("ab", {"x": other})}
    assert below("a", both) == {"x": one}
