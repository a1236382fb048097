"""From scored windows to decisions, and from decisions to what follows from them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias
from airflow.sdk.exceptions import AirflowSkipException

from airflow_mlops_provider.assets import predictions_asset, retrain_asset
from airflow_mlops_provider.failpoints import failpoint
from airflow_mlops_provider.operators.model import ModelOperator, PolicyOperator
from airflow_mlops_provider.operators.rollback import RollbackModelOperator
from airflow_mlops_provider.operators.step import Result, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow.sdk import Context

    from airflow_mlops_provider.effects.decisions import StoredDecision
    from airflow_mlops_provider.effects.watching import ChampionPair, Scored, Watcher
    from airflow_mlops_provider.registry import Registry
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.spec import Task


#: Under this key of a task's state store lies what was wrong with the alias, for the messages.
_ALIAS = "mlops.alias"
#: Seconds. A promotion writes the ledger and then the alias: what is seen in between is no mistake.
_PROMOTING = 2


class WatchPredictionsOperator(PolicyOperator):
    """Measure drift and the live metric of each scored window, and decide the windows in the order of their `as_of`.

    The windows are those of the events of `<pipeline>.predictions` that triggered the run. If that asset is among the
    inlets, events that came since then are included. Airflow merges events, so there may be many windows. A run that is
    started by hand decides the window that ends at its own `as_of`.
    A decision is written once, and a window that has one is not measured again. If the alias in MLflow differs from the
    ledger, it is corrected.

    .. code-block:: python

        watch = WatchPredictionsOperator(
            task_id="watch",
            pipeline="churn",
            task="binary",
            data={
                "source": {"uri": "/data/customers.parquet"},
                "columns": {"target": "left", "timestamp": "seen_at", "numeric": ["age"], "categorical": ["plan"]},
            },
            metrics=["roc_auc", "log_loss"],
            monitoring={"retraining": {"after": 3, "cooldown": "14 days"}},
        )

    :param task: `binary`, `multiclass` or `regression`.
    :param data: the `data` section of a pipeline file, from which labelled rows are read. It is a template, in which
        `{{ as_of }}` is that of the window.
    :param metrics: metrics, as `evaluation.metrics` of a pipeline file lists them. The first one decides,
        unless `monitoring.live.metric` names another.
    :param scoring: the `scoring` section of a pipeline file.
    :param validation: the `validation` section of a pipeline file. A window that fails an expectation about each value
        is an incident.
    """

    # Not `data`: it is rendered for each window.
    template_fields: Sequence[str] = (*PolicyOperator.template_fields, "scoring", "validation")
    step = "watch"

    def __init__(
        self,
        *,
        task: Task,
        data: dict[str, Any],
        metrics: Sequence[str | dict[str, Any]],
        scoring: dict[str, Any] | None = None,
        validation: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.task = task
        self.data = data
        self.metrics = metrics
        self.scoring = scoring
        self.validation = validation

    def run(self, context: Context) -> StepResult:
        """Decide every window."""
        from airflow_mlops_provider.effects import decisions

        registry, model = self.registry(), self.model_name
        ti = context["ti"]
        caller = (ti.dag_id, ti.run_id, ti.task_id)
        alias = self._reconcile(context, registry, caller)
        known = decisions.stored_decisions(registry, model, caller)
        decided_windows = []
        for as_of, scored in sorted(self._windows(context).items()):
            decided = known.get(as_of) or self._decide(registry, self._watcher(context, as_of), as_of, scored, caller)
            self.log.info("%s%s", decided.decision.sentence(), " (decided before)" if as_of in known else "")
            decided_windows.append(decided)
        return decisions.watched(self.pipeline, decided_windows, caller, alias=alias)

    def _reconcile(self, context: Context, registry: Registry, caller: tuple[str, ...]) -> dict[str, Any] | None:
        """Set the alias right when it is wrong, and return what was; also when an earlier try did so."""
        import hashlib
        import json
        import time

        model, store = self.model_name, context["task_state_store"]
        found = registry.reconcile(model, repair=False)
        if not found.agrees and found.champion is not None:
            time.sleep(_PROMOTING)
            found = registry.reconcile(model, repair=False)
        if found.agrees:
            # The first try cannot have been here before: it need not ask.
            decided_windows: Any = store.get(_ALIAS) if context["ti"].try_number > 1 else None
            return dict(decided_windows) if decided_windows else None
        self.log.warning("%s", found.reason)
        if found.champion is None:
            return None
        identity = json.dumps([*caller, found.alias, found.champion])
        wrong: Any = {
            "version": found.champion,
            "reason": found.reason,
            "key": hashlib.sha256(identity.encode()).hexdigest()[:32],
        }
        # Written before the repair, after which nothing tells any more that there was something to repair.
        store.set(_ALIAS, wrong)
        registry.reconcile(model)
        return dict(wrong)

    def _windows(self, context: Context) -> dict[datetime, Scored | None]:
        """Return the windows to be decided: what the events tell, else the run's own, of which nothing is known yet."""
        from airflow_mlops_provider.run_context import (
            events_of,
            not_of_future,
            present,
            requested_as_of,
            resolve_as_of,
        )

        if requested_as_of(context, self.as_of) is None:
            events = events_of(context, predictions_asset(self.pipeline))
            scored_windows = [self._window(event.extra or {}) for event in events]
            if windows := {scored.as_of: scored for scored in scored_windows if scored is not None}:
                not_of_future(max(windows), "asset event", present(context))
                return dict(windows)
        return {resolve_as_of(context, self.as_of).replace(microsecond=0): None}

    def _window(self, extra: dict[str, Any]) -> Scored | None:
        """Return the window of an event; None, with a warning, of one that tells none: it must not stop the others."""
        from pydantic import ValidationError

        from airflow_mlops_provider.effects import watching

        try:
            return watching.Scored.of_event(extra)
        except ValidationError as error:
            self.log.warning("Ignored an event of the window %s: %s", extra.get("as_of"), error)
            return None

    def _watcher(self, context: Context, as_of: datetime) -> Watcher:
        """Return what measures a window, with the source as it is named for that window's `{{ as_of }}`."""
        from airflow_mlops_provider.as_of import as_of_text
        from airflow_mlops_provider.effects import watching
        from airflow_mlops_provider.spec import Data, Scoring, Validation

        values: Any = {**context, "as_of": as_of_text(as_of)}
        data = self.render_template(self.data, values)

        def compute(step: str, *, as_of: datetime, section: Any, inputs: Any, champion: Any) -> StepResult:
            return self.compute(context, section, inputs, step=step, champion=champion, as_of=as_of)

        return watching.Watcher(
            pipeline=self.pipeline,
            task=self.task,
            data=Data.model_validate(data),
            scoring=Scoring.model_validate(self.scoring or {}),
            monitoring=self.policy(),
            metrics=self.metrics,
            compute=compute,
            validation=Validation.model_validate(self.validation or {}),
        )

    def _decide(
        self,
        registry: Registry,
        watcher: Watcher,
        as_of: datetime,
        scored: Scored | None,
        caller: tuple[str, ...],
    ) -> StoredDecision:
        from airflow_mlops_provider import gauges
        from airflow_mlops_provider.effects import decisions, watching
        from airflow_mlops_provider.monitoring.governor import Window

        model = self.model_name
        pair: ChampionPair | None = watching.champion_pair(registry.history(model), self.champion_finder(registry))
        decided = partial(decisions.decide_window, registry, model, watcher.monitoring, pair=pair, caller=caller)
        if pair is None:
            return decided(Window(as_of=as_of, rows=0 if scored is None else scored.rows), drift={}, live={})
        store = self.store()
        if scored is None or not all(store.has(ref) for ref in (scored.dataset, scored.predictions)):
            scored = watcher.score(as_of, pair)  # what was lost is made anew
        if self.scoring is not None:
            scored = scored.no_longer_than(watcher.scoring.window)
        drift = watcher.drift(scored, pair)
        live = watcher.live(as_of, pair, watcher.broken(scored, drift, decisions.decisions(registry, model)))
        estimate = watcher.estimate(scored, pair)
        gauges.send_champion(self.pipeline, pair.incumbent.version, as_of - pair.incumbent.knows_up_to)
        gauges.send_drift(self.pipeline, drift.facts)
        gauges.send_live(self.pipeline, live)
        gauges.send_estimate(self.pipeline, {} if estimate is None else estimate.facts)
        evidence = drift.artifacts
        if estimate is not None:
            evidence = {**evidence, "estimate": estimate.artifacts["estimate"]}
        return decided(
            scored.window,
            drift=drift.facts,
            live=live,
            estimate=None if estimate is None else estimate.facts,
            evidence=evidence,
        )


class RetrainOnDecisionOperator(ModelOperator):
    """Request a retraining if a decision calls for one and the governor let it pass. Otherwise skip with the reason.

    An `AssetAlias` among the task's outlets gets one event `<pipeline>.retrain` for all such decisions of a run, with
    the latest `as_of`, its reason and the columns that drifted. If that asset is among the inlets too, the task sees
    the events already sent, and sends none of them again.

    .. code-block:: python

        retrain = RetrainOnDecisionOperator(task_id="retrain", pipeline="churn", decided=watch.output)

    :param decided: the output of `WatchPredictionsOperator` or `DecideOperator`.
    """

    template_fields: Sequence[str] = (*ModelOperator.template_fields, "decided")
    step = "retrain"

    def __init__(self, *, decided: Result, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.decided = decided

    def run(self, context: Context) -> StepResult:
        """Send the event that requests a retraining."""
        from airflow_mlops_provider.effects import decisions

        result = parsed(self.decided, "decided")
        requested: Any = result.facts.get("retrain") or []
        if not requested:
            raise AirflowSkipException(f"No retraining requested: {result.facts.get('summary')}")
        registry, model = self.registry(), self.model_name
        asset = retrain_asset(self.pipeline)
        sent = {str(window) for event in self._sent(context, asset, requested) for window in event.get("windows") or []}
        request = decisions.build_retrain_event(registry, model, [window for window in requested if window not in sent])
        if request is None:
            self.log.info("It was requested before: nothing is sent.")
            return result.model_copy(update={"step": "retrain", "facts": {"asked": 0}})
        self.log.info("Requested a retraining: %s", request["reason"])
        failpoint("retrain.event.before")
        for outlet in self.outlets:
            if isinstance(outlet, AssetAlias):
                context["outlet_events"][outlet].add(asset, extra=request)
        failpoint("retrain.event.after")
        return result.model_copy(update={"step": "retrain", "facts": {"asked": len(request["windows"]), **request}})

    def _sent(self, context: Context, asset: Asset, windows: Sequence[str]) -> list[dict[str, Any]]:
        """Return the extras of the events already sent that may be about these windows, where they can be seen."""
        from airflow_mlops_provider.run_context import parse_as_of, sent_events

        if asset not in self.inlets:
            return []
        # Another run may have sent it, and none did before the window was over.
        ends = [parse_as_of(str(window), "window") for window in windows]
        after = min(*ends, context["dag_run"].run_after)
        return [event.extra or {} for event in sent_events(context, asset, after=after)]


class RollbackOnDecisionOperator(RollbackModelOperator):
    """Roll the champion back if a decision calls for it. Otherwise skip with the reason.

    The task rolls back only the champion that was judged: if another one serves by now, the task is skipped. Apart from
    that, it works like `RollbackModelOperator`.

    .. code-block:: python

        mend = RollbackOnDecisionOperator(task_id="mend", pipeline="churn", decided=watch.output)

    :param decided: the output of `WatchPredictionsOperator` or `DecideOperator`.
    """

    template_fields: Sequence[str] = (*ModelOperator.template_fields, "decided")

    def __init__(self, *, decided: Result, **kwargs: Any) -> None:
        super().__init__(reason="", **kwargs)
        self.decided = decided

    def run(self, context: Context) -> StepResult:
        """Roll back what was decided to."""
        from airflow_mlops_provider.effects import decisions

        result = parsed(self.decided, "decided")
        window = result.facts.get("roll_back")
        if window is None:
            raise AirflowSkipException(f"Nothing is rolled back: {result.facts.get('summary')}")
        registry, model = self.registry(), self.model_name
        decision = decisions.window_decision(registry, model, str(window))
        self.reason, self.expected_head = decision.sentence(), decision.seq
        return super().run(context)
