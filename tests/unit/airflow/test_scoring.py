from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from airflow.sdk import Asset, AssetOrTimeSchedule, CronDataIntervalTimetable
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.serialization.serialized_objects import DagSerialization
from training_tasks import run_training

from airflow_mlops_provider.assets import champion_asset, predictions_asset
from airflow_mlops_provider.dag_templates import pipeline_dags, scoring_dag, training_dag
from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.pipelines import load_pipeline, parse_pipeline
from airflow_mlops_provider.results import MAX_XCOM_BYTES
from airflow_mlops_provider.storage import local_path

if TYPE_CHECKING:
    from collections.abc import Callable

SHIPPED = sorted((Path(__file__).resolve().parents[3] / "config" / "pipelines").glob("*.yaml"))
AS_OF = "2013-03-01T00:00:00+00:00"


@pytest.fixture
def churn(customers: Path) -> Callable[..., Any]:
    """A pipeline over the customers."""

    def build(**settings: Any) -> Any:
        columns = {"target": "left", "timestamp": "seen_at", "numeric": ["age", "balance"], "keys": ["customer"]}
        raw = {
            "name": "churn",
            "task": "binary",
            "data": {"source": {"uri": str(customers)}, "columns": columns, "label_delay": "1 day"},
            "training": {"candidates": {"logistic": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
            "scoring": {},
            **settings,
        }
        return parse_pipeline(raw, where="churn.yaml")

    return build


@pytest.fixture
def train(worker: Any, mlflow: str) -> Callable[..., None]:
    """Train a pipeline's candidate and make it champion."""

    def run(pipeline: Any, **settings: Any) -> None:
        run_training(worker, training_dag(pipeline), **settings)

    return run


def scored(worker: Any, pipeline: Any, **settings: Any) -> dict[str, Any]:
    dag = scoring_dag(pipeline)
    ended = {"ingest": worker.run(dag.task_dict["ingest"], **settings)}
    if (shards := pipeline.scoring.shards) > 1:
        for index in range(shards):
            ended[f"shard {index}"] = worker.run(dag.task_dict["score_shard"], map_index=index, **settings)
    return {**ended, "score": worker.run(dag.task_dict["score"], **settings)}


# ------------------------------------------------------------------------------------------------ the DAG


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_pipeline_has_a_scoring_dag_that_survives_serialisation(file: Path) -> None:
    pipeline = load_pipeline(file)
    dag = scoring_dag(pipeline)
    assert dag.dag_id == f"{file.stem}_scoring"
    assert {name: set(task.downstream_task_ids) for name, task in dag.task_dict.items()} == {
        "ingest": {"score"},
        "score": set(),
    }
    assert dag.params.validate() == {"as_of": None, "recompute": False}
    decoded = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    assert (decoded.doc_md, list(decoded.task_dict)) == (dag.doc_md, ["ingest", "score"])
    assert f"predictions/{file.stem}/as_of=" in (dag.doc_md or "")
    assert dag.task_dict["score"].outlets == [predictions_asset(file.stem)]


def test_it_runs_at_the_pipelines_intervals_and_when_the_champion_changes(churn: Callable[..., Any]) -> None:
    dag = scoring_dag(churn(schedule={"cron": "@daily", "start": "2013-02-01", "end": "2013-12-31"}))
    assert isinstance(dag.schedule, AssetOrTimeSchedule)
    assert isinstance(dag.schedule.timetable, CronDataIntervalTimetable)
    assert list(dag.schedule.asset_condition.objects) == [champion_asset("churn")]
    assert dag.start_date == datetime(2013, 2, 1, tzinfo=UTC)
    unscheduled = scoring_dag(churn(promotion={"model": "shared"}))
    assert unscheduled.schedule == [Asset("shared.champion", "mlops://shared/champion")]


def test_only_pipelines_that_ask_for_it_have_one(pipelines: Path) -> None:
    text = SHIPPED[0].read_text().split("\nscoring:")[0]
    for name, more in (("one", "\nscoring: {}\n"), ("two", "\n")):
        (pipelines / f"{name}.yaml").write_text(text.replace(f"name: {SHIPPED[0].stem}", f"name: {name}") + more)
    found = [dag_id for dag_id in pipeline_dags() if dag_id.endswith("_scoring")]
    assert found == ["one_scoring"]


def test_each_task_takes_its_own_settings(churn: Callable[..., Any]) -> None:
    dag = scoring_dag(churn(tasks={"score": {"pool": "big", "retries": 7}}, scoring={"window": "PT6H"}))
    score: Any = dag.task_dict["score"]
    ingest: Any = dag.task_dict["ingest"]
    assert (score.pool, score.retries, ingest.retries) == ("big", 7, 3)
    assert (ingest.window, ingest.purpose) == ("PT6H", "scoring")


def test_shards_are_mapped_between_what_is_read_and_what_is_published(churn: Callable[..., Any]) -> None:
    container = {"kind": "docker", "image": "steps:1"}
    tasks = {"score_shard": {"pool": "wide"}, "score": {"runtime": container}}
    dag = scoring_dag(churn(scoring={"shards": 3}, tasks=tasks))
    assert {name: set(task.downstream_task_ids) for name, task in dag.task_dict.items()} == {
        "ingest": {"score_shard", "score"},
        "score_shard": {"score"},
        "score": set(),
    }
    shards, score = dag.task_dict["score_shard"], dag.task_dict["score"]
    assert isinstance(shards, MappedOperator)
    assert (shards.pool, shards.partial_kwargs["runtime"]) == ("wide", container), "as score: their keys hold the image"
    assert score.trigger_rule == "all_done_min_one_success"
    assert list(DagSerialization.from_dict(DagSerialization.to_dict(dag)).task_dict) == list(dag.task_dict)
    with pytest.raises(SpecError, match="less than or equal to 64"):
        churn(scoring={"shards": 65})


@pytest.mark.parametrize("name", ["prediction", "p_0", "model_version", "as_of"])
def test_a_column_of_the_name_of_a_prediction_is_refused(churn: Callable[..., Any], name: str) -> None:
    data = {"source": {"uri": "/d.csv"}, "columns": {"target": "left", "timestamp": "t", "numeric": [name]}}
    with pytest.raises(SpecError, match=f"data.columns has '{name}', the name of a prediction column"):
        churn(data=data)
    assert churn(data=data, scoring=None).scoring is None


# ------------------------------------------------------------------------------------------------ the tasks


def test_a_window_is_scored_by_the_champion_and_told(
    worker: Any, churn: Callable[..., Any], train: Callable[..., None], supervisor: Any
) -> None:
    train(churn())
    ended = scored(worker, churn())
    assert {name: task.message for name, task in ended.items() if task.state != "success"} == {}
    result = ended["score"].xcom
    assert (result["facts"]["rows"], result["facts"]["version"], result["facts"]["fallback"]) == (24, 1, None)
    assert len(json.dumps(result)) < MAX_XCOM_BYTES
    partition = local_path(result["facts"]["partition"])
    assert partition.parts[-4:] == ("predictions", "churn", "as_of=2013-03-01", "predictions.parquet")
    table = pd.read_parquet(partition)
    assert (table["seen_at"].min(), table["seen_at"].max()) == (
        pd.Timestamp("2013-02-28T00:00Z"),
        pd.Timestamp("2013-02-28T23:00Z"),
    )
    (event,) = ended["score"].messages[-1].outlet_events
    assert event["dest_asset_key"] == {"name": "churn.predictions", "uri": "mlops://churn/predictions"}
    assert event["extra"] == {
        "as_of": AS_OF,
        "window_start": "2013-02-28T00:00:00+00:00",
        "version": 1,
        "rows": 24,
        "fallback": None,
        "dataset": ended["ingest"].xcom["artifacts"]["dataset"],
        "predictions": result["artifacts"]["predictions"],
        "partition": result["facts"]["partition"],
    }


def test_the_window_of_the_champion_event_that_triggered_the_run_is_scored(
    worker: Any, churn: Callable[..., Any], train: Callable[..., None]
) -> None:
    train(churn())
    event = {
        "timestamp": "2026-01-01T00:00:00Z",
        "extra": {"as_of": "2013-02-20T00:00:00+00:00", "seq": 1},
        "asset": {"name": "churn.champion", "uri": "mlops://churn/champion", "extra": {}},
        "source_aliases": [],
        "source_task_id": "promote",
        "source_dag_id": "churn_training",
        "source_run_id": "run",
        "source_map_index": -1,
    }
    ended = scored(worker, churn(), run_type="asset_triggered", consumed_asset_events=[event])
    assert ended["score"].xcom["as_of"] == "2013-02-20T00:00:00Z"
    assert ended["ingest"].xcom["facts"]["last"] == "2013-02-19T23:00:00+00:00"


def test_without_a_champion_scoring_is_skipped_and_nothing_is_told(
    worker: Any, churn: Callable[..., Any], mlflow: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = scored(worker, churn())
    assert (ended["ingest"].state, ended["score"].state) == ("success", "skipped")
    assert "has no champion yet" in capsys.readouterr().out
    assert [msg for msg in ended["score"].messages if getattr(msg, "outlet_events", None)] == []


def test_a_fallback_is_told_in_the_event(
    worker: Any, churn: Callable[..., Any], train: Callable[..., None], tmp_path: Path
) -> None:
    train(churn())
    for model in tmp_path.rglob("*.skops"):  # the store's and MLflow's
        model.write_bytes(b"?")
    ended = scored(worker, churn())
    assert ended["score"].state == "success", ended["score"].message
    extra = ended["score"].messages[-1].outlet_events[0]["extra"]
    assert (extra["fallback"], extra["version"]) == ("baseline", 0)


def test_rows_that_do_not_fit_the_model_fail_the_task_for_good(
    worker: Any, churn: Callable[..., Any], train: Callable[..., None]
) -> None:
    train(churn())
    pipeline = churn()
    columns = pipeline.data.columns.model_copy(update={"numeric": ["age"]})
    changed = pipeline.model_copy(update={"data": pipeline.data.model_copy(update={"columns": columns})})
    ended = scored(worker, changed)
    assert ended["score"].state == "failed"
    assert "the model needs feature 'balance' as numeric" in ended["score"].message


def test_a_scoring_run_again_computes_nothing_unless_it_is_told_to(
    worker: Any, churn: Callable[..., Any], train: Callable[..., None]
) -> None:
    train(churn())
    first = scored(worker, churn())["score"].xcom
    again = scored(worker, churn())["score"].xcom
    anew = scored(worker, churn(), conf={"recompute": True})["score"].xcom
    assert (first.get("cached"), again["cached"], anew.get("cached")) == (None, True, None)
    assert first["artifacts"] == again["artifacts"] == anew["artifacts"]


def test_a_window_that_is_no_duration_is_a_setting_error(worker: Any, churn: Callable[..., Any]) -> None:
    dag = scoring_dag(churn())
    dag.task_dict["ingest"].window = "soon"
    ended = worker.run(dag.task_dict["ingest"])
    assert ended.state == "failed"
    assert "window is not a duration: got soon" in ended.message


def test_what_the_shards_scored_is_joined_to_the_partition_of_one_pass(
    worker: Any, churn: Callable[..., Any], train: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("snapshot", "tables"):
        monkeypatch.setattr(f"airflow_mlops_provider.data.{module}.ROW_GROUP_ROWS", 10)
    train(churn())
    whole = scored(worker, churn())["score"].xcom
    for settings in ({}, {"conf": {"recompute": True}}):
        ended = scored(worker, churn(scoring={"shards": 2}), **settings)
        assert [ended[name].xcom["facts"]["rows"] for name in ("shard 0", "shard 1")] == [10, 14]
        assert {task.state for task in ended.values()} == {"success"}
        assert ended["score"].xcom["artifacts"] == whole["artifacts"]
        assert ended["score"].xcom["facts"] == whole["facts"]


def test_shards_leave_to_score_what_they_cannot_ask(
    worker: Any, churn: Callable[..., Any], train: Callable[..., None], mlflow: str, tmp_path: Path
) -> None:
    sharded = churn(scoring={"shards": 2})
    early = scored(worker, sharded)
    train(sharded)
    for model in tmp_path.rglob("*.skops"):  # the store's and MLflow's
        model.write_bytes(b"?")
    damaged = scored(worker, sharded)
    for ended in (early, damaged):
        assert {ended[name].state for name in ("ingest", "shard 0", "shard 1")} == {"success"}
        assert [ended[name].xcom for name in ("shard 0", "shard 1")] == [None, None]
    assert early["score"].state == "skipped"
    assert damaged["score"].xcom["facts"]["fallback"] == "baseline"
