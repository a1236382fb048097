"""From a challenger to a champion: the ledger."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_mlops_provider.as_of import in_utc
from airflow_mlops_provider.links import MlflowRunLink, MlflowVersionLink
from airflow_mlops_provider.operators.champion_event import announce_champion
from airflow_mlops_provider.operators.model import ModelOperator
from airflow_mlops_provider.operators.retrain_event import read_retrain_event
from airflow_mlops_provider.operators.step import Result, allow_list, flag, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_mlops_provider.results import StepResult


class PromoteModelOperator(ModelOperator):
    """Write the challenger into the ledger as champion and set the alias, once, even if the task is killed or retried.

    The task is skipped, with the reason, if the gates or a person refused the challenger, or if the ledger already
    holds a newer champion. If the champion changed after the gates were checked, they are checked again. If they refuse
    the challenger then, their verdicts are the task's result, and a gate with `on_fail: fail` fails the task.
    The Params `allow_older` and `lift_quarantine` of the DAG run take effect if the DAG declares them.
    An `AssetAlias` among the task's outlets gets the event `<model>.champion`, but only if the ledger changed. If that
    asset is among the inlets too, the task sees the events already sent, and sends only one for each entry.

    .. code-block:: python

        promote = PromoteModelOperator(
            task_id="promote", pipeline="churn", evaluation=publish.output, gate=gate.output
        )

    :param evaluation: the output of `PublishModelOperator`.
    :param gate: the output of `QualityGateOperator`.
    :param approval: the output of `ApproveModelOperator`. If that task has no answer, for example because it was marked
        as successful by hand, nothing is promoted. Without this argument, no approval is required.
    """

    template_fields: Sequence[str] = (*ModelOperator.template_fields, "evaluation", "gate", "approval")
    operator_extra_links = (MlflowRunLink(), MlflowVersionLink())
    step = "promote"

    def __init__(self, *, evaluation: Result, gate: Result, approval: Result = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.evaluation = evaluation
        self.gate = gate
        self.approval = approval
        # Rendered, an answer that is missing is None, too.
        self._is_asked = approval is not None
        self.mlflow_links: dict[str, str] = {}

    def run(self, context: Context) -> StepResult:
        """Promote, or skip with the reason."""
        from airflow_mlops_provider import effects
        from airflow_mlops_provider.gauges import send_champion

        approval = parsed(self.approval, "approval") if self._is_asked else None
        evaluation, gate = parsed(self.evaluation, "evaluation"), parsed(self.gate, "gate")
        hook = self.mlflow()
        self.mlflow_links = effects.links(hook.ui_url, self.model_name, evaluation.facts)
        ti, request = context["ti"], read_retrain_event(context, self.pipeline)
        promotion = effects.promote(
            hook.registry(),
            self.store(),
            evaluation,
            gate,
            model=self.model_name,
            caller=(ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index)),
            allow_older=flag(context, "allow_older"),
            lift_quarantine=flag(context, "lift_quarantine"),
            trained_for=None if request is None else request[0],
            approval=approval,
            allow_list=allow_list(),
        )
        if promotion.refused is not None:
            # Neither a skipped nor a failed task returns anything, and `NotifyOperator` tells of gates that refused.
            ti.xcom_push(key="return_value", value=promotion.refused.xcom())
            if promotion.refused.failure is not None:
                raise promotion.refused.failure.as_error()
        if promotion.skipped:
            raise AirflowSkipException(promotion.reason)
        self.log.info("%s", promotion.reason)
        if promotion.mine:
            announce_champion(self, context, self.model_name, promotion.result)
        facts: Any = promotion.result.facts
        if facts["status"] == "promoted":
            to = facts["trained_to"]
            age = timedelta(0) if to is None else in_utc(promotion.result.as_of) - datetime.fromisoformat(to)
            send_champion(self.pipeline, int(facts["champion"]), age)
        return promotion.result
