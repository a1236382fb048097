"""One window at a time: its live metric, and the decision of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.operators.model import PolicyOperator
from airflow_mlops_provider.operators.step import Result, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_mlops_provider.results import StepResult


class EvaluateLiveOperator(PolicyOperator):
    """Measure the champion and the former champion on the same rows, whose labels are known by now.

    Pass rows that the champion was not trained on, because it would predict the others too well.
    `WatchPredictionsOperator` selects the rows by itself.

    .. code-block:: python

        labelled = IngestDataOperator(
            task_id="labelled",
            pipeline="churn",
            task="binary",
            purpose="live",
            window="P1D",
            data={
                "source": {"uri": "/data/customers.parquet"},
                "columns": {"target": "left", "timestamp": "seen_at", "numeric": ["age"], "categorical": ["plan"]},
            },
        )
        live = EvaluateLiveOperator(
            task_id="live",
            pipeline="churn",
            dataset=labelled.output,
            metrics=["roc_auc", "log_loss"],
            monitoring={"live": {"margin": 0.05}},
        )

    :param dataset: the output of `IngestDataOperator` with `purpose="live"`.
    :param metrics: metrics, as `evaluation.metrics` of a pipeline file lists them. The first one decides,
        unless `monitoring.live.metric` names another.
    """

    template_fields: Sequence[str] = (*PolicyOperator.template_fields, "dataset")
    step = "live"

    def __init__(self, *, dataset: Result, metrics: Sequence[str | dict[str, Any]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.metrics = metrics

    def run(self, context: Context) -> StepResult:
        """Measure."""
        from airflow_mlops_provider.effects import watching
        from airflow_mlops_provider.exceptions import MLOpsError
        from airflow_mlops_provider.gauges import send_live

        registry = self.registry()
        pair = watching.champion_pair(registry.history(self.model_name), self.champion_finder(registry))
        if pair is None:
            raise MLOpsError(
                f"model {self.model_name!r} has no champion to compute a live metric for",
                hint="Promote one first.",
            )
        result = self.compute(
            context,
            watching.live_section(self.policy(), self.metrics, pair),
            {"dataset": [parsed(self.dataset, "dataset")]},
            champion=pair.champion,
        )
        facts = result.facts
        send_live(self.pipeline, facts)
        for words in (facts.get("why"), facts.get("against_holdout"), facts.get("against_former")):
            if words:
                self.log.info("%s", words)
        return result


class DecideOperator(PolicyOperator):
    """Decide one window by its drift and its live metric: keep the champion, retrain, or roll back.

    The decision is written once, and a window that has one keeps it. `RetrainOnDecisionOperator` and
    `RollbackOnDecisionOperator` act on it.

    .. code-block:: python

        decide = DecideOperator(
            task_id="decide",
            pipeline="churn",
            drift=drift.output,
            live=live.output,
            monitoring={"retraining": {"after": 3, "cooldown": "14 days"}},
        )

    :param drift: the output of `DetectDriftOperator`. Without it, drift does not affect the decision.
    :param live: the output of `EvaluateLiveOperator`. Without it, the live metric does not affect the decision.
    :param estimate: the output of `EstimatePerformanceOperator`. Without it, no estimate affects the decision.
    :param scoring: the `scoring` section of a pipeline file, which sets the length of a window.
    """

    template_fields: Sequence[str] = (*PolicyOperator.template_fields, "drift", "live", "estimate", "scoring")
    step = "decide"

    def __init__(
        self,
        *,
        drift: Result = None,
        live: Result = None,
        estimate: Result = None,
        scoring: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.drift = drift
        self.live = live
        self.estimate = estimate
        self.scoring = scoring

    def run(self, context: Context) -> StepResult:
        """Decide."""
        from airflow_mlops_provider.effects import decisions, watching
        from airflow_mlops_provider.gauges import send_champion
        from airflow_mlops_provider.monitoring.governor import Window
        from airflow_mlops_provider.run_context import resolve_as_of
        from airflow_mlops_provider.spec import Scoring

        measured = None if self.drift is None else parsed(self.drift, "drift")
        drift = {} if measured is None else dict(measured.facts)
        live = {} if self.live is None else dict(parsed(self.live, "live").facts)
        guessed = None if self.estimate is None else parsed(self.estimate, "estimate")
        as_of = resolve_as_of(context, self.as_of).replace(microsecond=0)
        length = Scoring.model_validate(self.scoring or {}).window
        registry, model, ti = self.registry(), self.model_name, context["ti"]
        caller = (ti.dag_id, ti.run_id, ti.task_id)
        if (pair := watching.champion_pair(registry.history(model))) is not None:
            send_champion(self.pipeline, pair.incumbent.version, as_of - pair.incumbent.knows_up_to)
        stored = decisions.decide_window(
            registry,
            model,
            self.policy(),
            Window(as_of=as_of, start=as_of - length, rows=int(str(drift.get("rows") or 0))),
            pair=pair,
            drift=drift,
            live=live,
            estimate=None if guessed is None else dict(guessed.facts),
            caller=caller,
            # Each has a page, `report`: that of drift is the decision's.
            evidence={
                **({} if guessed is None else guessed.artifacts),
                **({} if measured is None else measured.artifacts),
            },
        )
        self.log.info("%s", stored.decision.sentence())
        return decisions.watched(self.pipeline, [stored], caller)
