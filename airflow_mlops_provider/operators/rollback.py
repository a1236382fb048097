"""Back to an earlier champion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException

from airflow_mlops_provider.assets import champion_asset
from airflow_mlops_provider.links import MlflowVersionLink
from airflow_mlops_provider.operators.champion_event import announce_champion
from airflow_mlops_provider.operators.model import ModelOperator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow.sdk import Context

    from airflow_mlops_provider.results import StepResult


class RollbackModelOperator(ModelOperator):
    """Make an earlier champion serve again, once, and put the failed one into quarantine.

    Nothing is removed from the ledger: a rollback adds an entry. A version that was rolled back is not promoted again
    unless its quarantine is lifted. If the target cannot be used, the task fails with an error that says what exists.
    It also fails if no reason is given.
    An `AssetAlias` among the task's outlets gets the event `<model>.champion`, as with `PromoteModelOperator`. The
    `as_of` of that event is the task's argument or the run's Param. Failing these, it is that of the events that
    triggered the run, then the latest among the events of assets in the inlets (the predictions, which have to be made
    again), then the champion's own.

    .. code-block:: python

        roll_back = RollbackModelOperator(
            task_id="roll_back", pipeline="churn", to="previous", reason="It misses every customer of plan B."
        )

    :param reason: what is wrong with the champion, in words.
    :param to: what to roll back to: `previous`, a version number, or a date or moment of wall time, which means the
        version that served then. Each further rollback to `previous` goes further back.
    :param expected_head: ledger entry (`seq`) of the champion to roll back. If another champion serves by then, the
        task is skipped. Defaults to the current champion.
    """

    template_fields: Sequence[str] = (*ModelOperator.template_fields, "reason", "to", "expected_head")
    operator_extra_links = (MlflowVersionLink(),)
    step = "rollback"

    def __init__(
        self,
        *,
        reason: str,
        to: str | int = "previous",
        expected_head: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.reason = reason
        self.to = to
        self.expected_head = expected_head
        self.mlflow_links: dict[str, str] = {}

    def run(self, context: Context) -> StepResult:
        """Roll back, or say why not."""
        from airflow_mlops_provider import effects
        from airflow_mlops_provider.gauges import send_champion

        hook = self.mlflow()
        model = self.model_name
        ti, dag_run = context["ti"], context["dag_run"]
        rollback = effects.roll_back(
            hook.registry(),
            self.store(),
            pipeline=self.pipeline,
            model=model,
            to=self.to,
            reason=self.reason,
            caller=(ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index)),
            as_of=self._data_time(context, model),
            approver=getattr(dag_run, "triggering_user_name", None),
            expected_head=None if self.expected_head is None else int(self.expected_head),
        )
        self.mlflow_links = effects.links(hook.ui_url, model, rollback.result.facts)
        if rollback.skipped:
            raise AirflowSkipException(rollback.reason)
        self.log.info("%s", rollback.reason)
        if rollback.mine:
            announce_champion(self, context, model, rollback.result)
        if rollback.result.facts["status"] == "rolled_back":
            send_champion(self.pipeline, int(str(rollback.result.facts["champion"])))
        return rollback.result

    def _data_time(self, context: Context, model: str) -> datetime | None:
        """Return the data time that is to be scored again with the new champion; None when nothing tells."""
        from airflow_mlops_provider.as_of import CLOCK_SKEW
        from airflow_mlops_provider.exceptions import TransientServiceError
        from airflow_mlops_provider.run_context import (
            event_moments,
            not_of_future,
            parse_as_of,
            present,
            requested_as_of,
            sent_events,
        )

        if (requested := requested_as_of(context, self.as_of)) is not None:
            return not_of_future(requested, "as_of", present(context))
        moments = event_moments(context)
        for asset in [] if moments else self.inlets:
            if isinstance(asset, Asset) and asset != champion_asset(model):
                try:
                    texts = [(event.extra or {}).get("as_of") for event in sent_events(context, asset)]
                except TransientServiceError as error:  # a rollback is not put off for that
                    self.log.warning("The champion's own as_of is scored again. %s", error)
                    continue
                moments += [parse_as_of(text, "asset event") for text in texts if text]
        # A window of the future is none: it must not keep a rollback from being made.
        return max((moment for moment in moments if moment <= present(context) + CLOCK_SKEW), default=None)
