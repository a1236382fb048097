"""What operators share that ask MLflow about a registered model, and those that watch one by a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.operators.step import StepOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_mlops_provider.hooks.mlflow import MlflowHook
    from airflow_mlops_provider.job import Champion
    from airflow_mlops_provider.registry import LedgerEntry, Registry
    from airflow_mlops_provider.spec import Monitoring


class ModelOperator(StepOperator):
    """Work with a registered model in MLflow.

    :param model: name of the registered model. Defaults to the pipeline's name.
    :param mlflow_conn_id: id of the `mlflow` connection.
    """

    template_fields: Sequence[str] = (*StepOperator.template_fields, "model", "mlflow_conn_id")

    def __init__(self, *, model: str | None = None, mlflow_conn_id: str = "mlflow_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.mlflow_conn_id = mlflow_conn_id

    @property
    def model_name(self) -> str:
        """The registered model in MLflow."""
        return self.model or self.pipeline

    def mlflow(self) -> MlflowHook:
        """Return what knows the connection."""
        from airflow_mlops_provider.hooks.mlflow import MlflowHook

        hook = MlflowHook(self.mlflow_conn_id)
        self.work.registry = hook.registry_uri
        return hook

    def registry(self) -> Registry:
        """Return the registry behind the connection."""
        return self.mlflow().registry()

    def champion_finder(self, registry: Registry) -> Callable[[LedgerEntry], Champion]:
        """Return what gives a step the version of a ledger entry, with as much of its files as is there."""
        from functools import partial

        from airflow_mlops_provider.effects.stored_files import champion_of

        return partial(champion_of, registry, self.store(), self.pipeline, self.model_name)


class PolicyOperator(ModelOperator):
    """Monitor a model by the settings of a pipeline file.

    :param monitoring: the `monitoring` section of a pipeline file.
    """

    template_fields: Sequence[str] = (*ModelOperator.template_fields, "monitoring")

    def __init__(self, *, monitoring: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.monitoring = monitoring

    def policy(self) -> Monitoring:
        """Return what is watched, and what follows."""
        from airflow_mlops_provider.spec import Monitoring

        return Monitoring.model_validate(self.monitoring or {})
