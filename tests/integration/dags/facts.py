"""Small DAGs that show the behaviours of Airflow that this package relies on."""

from __future__ import annotations

from airflow.sdk import DAG, Asset, AssetAlias, TriggerRule, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

ALIAS, ASSET = AssetAlias("fact.alias"), Asset(name="fact.asset", uri="mlops://fact/asset")


@task
def one(name: str) -> str:
    """Fail, skip or succeed, as the name says."""
    if name == "fail":
        raise AirflowFailException("asked to")
    if name == "skip":
        raise AirflowSkipException("asked to")
    return name


@task(trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
def collect(names: list[str]) -> list[str]:
    """Return the results of those that succeeded."""
    return list(names)


with DAG("fact_some_mapped_tasks_succeed", schedule=None):
    collect(one.expand(name=["fail", "a", "b"]))

with DAG("fact_a_mapped_task_is_skipped", schedule=None):
    collect(one.expand(name=["a", "skip"]))

with DAG("fact_no_mapped_task_succeeds", schedule=None):
    collect(one.expand(name=["fail", "fail"]))

with DAG("fact_nothing_to_map_over", schedule=None):
    collect(one.expand(name=one.override(task_id="source")("fail")))


@task
def push_then_fail(ti=None) -> None:
    """Push a result, then fail for good."""
    ti.xcom_push("return_value", {"kept": True})
    raise AirflowFailException("after the push")


with DAG("fact_a_pushed_result_survives_a_failure", schedule=None, default_args={"retries": 2}):
    push_then_fail()


@task(outlets=[ALIAS], inlets=[ASSET])
def emit(params=None, outlet_events=None, inlet_events=None) -> int:
    """Emit an event only when asked to, and count those that were emitted before."""
    if params["emit"]:
        outlet_events[ALIAS].add(ASSET, extra={"as_of": "2024-01-01"})
    return len(list(inlet_events[ASSET]))


with DAG("fact_an_alias_emits_only_what_is_added", schedule=None, params={"emit": False}):
    emit()


@task
def dates(dag_run=None, data_interval_end=None, triggering_asset_events=None) -> dict[str, str]:
    """Return what the run knows of its dates."""
    # The same event stands under its asset and under the alias that emitted it.
    events = triggering_asset_events[ASSET] if ASSET in list(triggering_asset_events) else []
    return {
        "run_type": dag_run.run_type.value,
        "logical_date": str(dag_run.logical_date),
        "data_interval_end": str(data_interval_end),
        "as_of": ",".join(event.extra.get("as_of", "") for event in events),
    }


with DAG("fact_a_run_by_an_asset_has_no_dates", schedule=[ASSET]):
    dates()
