"""The section `promotion`: where the champion is registered, and who approves it."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, model_validator

from airflow_mlops_provider.spec.frozen import Frozen, ModelName, Span


class Promotion(Frozen):
    """Where the champion is registered, and who approves a promotion."""

    model: ModelName | None = Field(
        None, description="Name of the registered model in MLflow. Defaults to the pipeline's name."
    )
    conn_id: str = Field("mlflow_default", description="Airflow connection of the MLflow server or database.")
    approval: Literal["human"] | None = Field(
        None,
        description="With `human`, a challenger that passed its gates waits until a person approves it in Airflow. "
        "Without this setting, it is promoted at once.",
    )
    approvers: list[str] = Field(
        default_factory=list,
        description="Ids of the Airflow users who may approve or reject a challenger. Defaults to everyone who may act "
        "on the DAG.",
    )
    response_timeout: Span | None = Field(
        None,
        gt=timedelta(0),
        description="Time for an approval, after which the challenger is rejected. Defaults to half of the schedule's "
        "shortest interval, or to one day without a schedule.",
    )

    @model_validator(mode="after")
    def _somebody_is_asked(self) -> Promotion:
        if self.approval is None and (self.approvers or self.response_timeout is not None):
            raise ValueError("approvers and response_timeout need approval: human")
        return self
