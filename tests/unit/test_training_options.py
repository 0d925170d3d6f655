"""Options of a training: what is refused before anything begins, and what defaults come to."""

from typing import Any

import pytest

import finetuner
from finetuner.errors import OptionError
from finetuner.training.options import TrainingOptions


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"epochs": 10.5}, "option 'epochs' is 10.5: 10.5 is not a whole number"),
        ({"epochs": True}, "option 'epochs' is True: True is not a whole number"),
        ({"epochs": 0}, "option 'epochs' is 0: ensure this value is greater than or equal to 1"),
        ({"matches_per_anchor": 1}, "greater than or equal to 2"),
        ({"loss": "hinge"}, "there is no loss 'hinge'; accepted are infonce, cosine"),
        (
            {"loss": "triplet", "loss_options": {"temperature": 0.1}},
            "unknown option 'temperature'; accepted are",
        ),
        ({"loss_options": {"temperature": 0}}, "temperature is 0; give a finite number above 0"),
        ({"recipe": "adapter", "freeze": ["0"]}, "freeze belongs to recipe full, not to adapter"),
        ({"hard_negatives": 1, "hard_negative_guard": 1.5}, "'hard_negative_guard' is 1.5"),
        ({"in_batch_guard": 1.5}, "'in_batch_guard' is 1.5"),
        ({"mine_every": 2}, "mine_every goes with hard_negatives"),
        ({"hard_negative_guard": 0.9}, "hard_negative_guard goes with hard_negatives"),
        ({"in_batch_guard": 0.9, "in_batch_negatives": False}, "in_batch_guard goes with in_batch_negatives"),
        ({"sampling": "classes", "matches_per_anchor": 8}, "matches_per_anchor goes with sampling=anchors"),
        (
            {"recipe": "adapter", "queries_only": True, "backward": 1},
            "backward means nothing where documents",
        ),
        ({"backward": -1}, "option 'backward' is -1"),
        ({"piece": 8}, "piece belongs to recipe lora full, not to auto"),
        ({"queries_only": True, "recipe": "full"}, "queries_only belongs to recipe adapter, not to full"),
        ({"learning_rate": float("nan")}, "option 'learning_rate' is nan"),
        ({"validation": 0.5, "holdout": 0.5}, "leave some to learn from"),
        ({"holdout": 0.6}, "option 'holdout' is 0.6"),
        ({"seed": -1}, "option 'seed' is -1"),
        (
            {"epoch": 3},
            "unknown option 'epoch'; accepted are accumulate, backward, batch_size",
        ),
    ],
)
def test_options_are_checked_before_anything_else(options: dict[str, Any], fault: str) -> None:
    """A wrong name, type, range or combination is one OptionError; the match data is not even read."""
    with pytest.raises(OptionError) as refused:
        finetuner.fit("mlp", iter(()), **options)
    assert str(refused.value).startswith("fit: ")
    assert fault in str(refused.value)


def test_options_of_a_loss_arrive_as_they_were_meant() -> None:
    """5.0 is 5, since on the wire all numbers are floats; 0.5 stays what it is."""
    options = TrainingOptions.parse({"loss_options": {"temperature": 5.0}}, where="fit")
    assert options.loss_options == {"temperature": 5}
    assert isinstance(options.loss_options["temperature"], int)
    assert TrainingOptions(loss_options={"temperature": 0.5}).loss_options == {"temperature": 0.5}


@pytest.mark.parametrize(("loss", "given", "used"), [("infonce", None, True), ("cosine", None, False), ("triplet", False, False), ("cosine", True, True), ("cosent", None, False)])  # fmt: skip
def test_in_batch_negatives_are_the_default_but_for_losses_of_values(
    loss: str, given: bool | None, used: bool
) -> None:
    """The caller's word goes first."""
    options = TrainingOptions.parse({"loss": loss, "in_batch_negatives": given}, where="fit")
    assert options.uses_in_batch_negatives is used
