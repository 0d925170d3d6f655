"""What a training run is at a moment, in one file: enough to go on to the same bytes."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from finetuner.durable import sync
from finetuner.errors import TrainingError

Tensors = dict[str, Tensor]


@dataclass
class Place:
    """How far a run has come.

    Attributes:
        epoch: The epoch it is in, from 0; as many as there are once it is through.
        step: Steps taken in this epoch.
        steps: Steps taken in all.
        losses: The loss of each step of this epoch.
        best: The best validation score so far; None if there was none.
        best_epoch: Its epoch.
        piece: Contents that go through the module together; None for all of a step.
    """

    epoch: int = 0
    step: int = 0
    steps: int = 0
    losses: list[float] = field(default_factory=list)
    best: float | None = None
    best_epoch: int = 0
    piece: int | None = None


def save_state(path: Path, place: Place, tensors: Tensors) -> None:
    """Replace the state in a file; a crash at any moment leaves the old one or the new one.

    Raises:
        OSError: If it cannot be written; the old one is still there.
    """
    aside = path.with_name(f"{path.name}.part")
    whole = {name: value.detach().contiguous() for name, value in tensors.items()}
    try:
        save_file(whole, str(aside), metadata={"place": json.dumps(asdict(place))})
    except SafetensorError as error:  # so it calls what the system says
        aside.unlink(missing_ok=True)
        raise OSError(f"{path}: the state of the run cannot be written: {error}") from error
    sync(aside)
    aside.replace(path)
    sync(path.parent)


def load_state(path: Path) -> tuple[Place, Tensors] | None:
    """Return the state in a file, or None if there is none.

    Raises:
        TrainingError: If the file is not readable as one.
    """
    if not path.exists():
        return None
    try:
        with safe_open(str(path), framework="pt") as file:
            place = Place(**json.loads(file.metadata()["place"]))
            return place, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(
            f"{path}: not the state of a run: {error}; delete the file to begin the run anew"
        ) from error


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """Return what an optimiser remembers of each parameter, by number and name."""
    state = optimizer.state_dict()["state"]
    return {f"{number}/{name}": value for number, values in state.items() for name, value in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Give an optimiser what :func:`optimizer_tensors` returned."""
    state: dict[int, Tensors] = {}
    for name, value in tensors.items():
        number, _, key = name.partition("/")
        state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def random_tensors(device: torch.device) -> Tensors:
    """Return the state of torch's random numbers, of the CPU and of the device that trains."""
    states = {"cpu": torch.get_rng_state()}
    return states | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else states


def restore_random(tensors: Tensors, device: torch.device) -> None:
    """Go on with the random numbers that :func:`random_tensors` returned."""
    torch.set_rng_state(tensors["cpu"])
    if "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"], device)


def under(prefix: str, tensors: Tensors) -> Tensors:
    """Return the tensors with a prefix before their names."""
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def below(prefix: str, tensors: Tensors) -> Tensors:
    """Return the tensors whose names have a prefix, without it."""
    return {
        name.removeprefix(f"{prefix}/"): value
        for name, value in tensors.items()
        if name.startswith(f"{prefix}/")
    }
