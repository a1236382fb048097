"""Other experiment trackers, to which published trainings are mirrored."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from airflow_mlops_provider.spec.frozen import DottedName, Frozen
from airflow_mlops_provider.spec.parameters import function_problem


class Tracker(Frozen):
    """Mirrors each published training to another experiment tracker, by a function of your own."""

    function: DottedName = Field(
        description="The dotted name of a function in the plugins folder or an allowed module, such as "
        "`tracking.to_tensorboard`. It gets the runs of a training, and must replace what it wrote for the same `id`."
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="Keyword arguments that the function gets besides the runs."
    )

    @model_validator(mode="after")
    def _of_the_user(self) -> Tracker:
        if (problem := function_problem(self.function)) is not None:
            raise ValueError(problem)
        return self
