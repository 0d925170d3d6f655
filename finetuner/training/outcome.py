"""What a run's training came to, as the run's events tell it."""

from dataclasses import dataclass
from typing import Any

from finetuner.errors import TrainingError
from finetuner.training.run_folder import RunFolder


@dataclass(frozen=True)
class Outcome:
    """The result of a training.

    Attributes:
        evaluation: What :func:`finetuner.training.judge.judge` returned.
        rival: The version that was active when the run began; it is among those compared.
        about: What a version of it tells: run, parent, data, options, recipe, evaluation; ``line``, the share of the way to
            what was learnt that it went; and ``maps``, how it can ask the indexes of others. ``run`` and ``run_began`` name
            one run, also where the name is used again after its folder was deleted.
    """

    evaluation: dict[str, Any]
    rival: str
    about: dict[str, Any]

    @classmethod
    def of(cls, run: RunFolder) -> "Outcome":
        """Return the outcome of a run whose training has ended well.

        Raises:
            TrainingError: If it did not report an evaluation.
        """
        events = {event["event"]: event for event in run.events()}
        begun, evaluation = events["running"], events.get("evaluated")
        if evaluation is None:
            raise TrainingError(f"the training process ended without a result; see {run.log}")
        data = {name: value for name, value in events["data"].items() if name not in ("event", "time")}
        judged = {name: value for name, value in evaluation.items() if name not in ("event", "time")}
        about = {
            "run": run.id,
            "run_began": begun["time"],
            "parent": begun["parent_version"],
            "data": data,
            "options": run.task()["options"],
            "recipe": events["recipe"]["recipe"],
            "evaluation": judged,
            **({"line": events["line"]["share"]} if "line" in events else {}),
            **({"maps": events["maps"]["maps"]} if "maps" in events else {}),
        }
        return cls(evaluation, begun["active_version"], about)

    def is_of(self, about: dict[str, Any]) -> bool:
        """Return whether what a version tells is told of this run."""
        return all(about.get(name) == self.about[name] for name in ("run", "run_began"))
