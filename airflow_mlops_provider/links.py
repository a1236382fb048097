"""Buttons on our task instances that lead to MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class _MlflowLink(BaseOperatorLink):
    """A link that the operator worked out while it ran."""

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, empty when MLflow has no UI to lead to."""
        links: dict[str, str] = getattr(operator, "mlflow_links", {})
        return links.get(self.name, "")


class MlflowRunLink(_MlflowLink):
    """To the run that holds the winner."""

    name = "MLflow run"


class MlflowVersionLink(_MlflowLink):
    """To the registered version."""

    name = "MLflow model version"
