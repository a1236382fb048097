from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import AssetAlias, AssetOrTimeSchedule, CronDataIntervalTimetable, RetryAction, TriggerRule
from airflow.sdk.exceptions import ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization

from airflow_mlops_provider.assets import champion_asset, retrain_asset
from airflow_mlops_provider.dag_templates import (
    check_pipelines,
    load_pipelines,
    pipeline_dags,
    scoring_dag,
    training_dag,
    training_dags,
)
from airflow_mlops_provider.dag_templates.folder import pipelines_folder
from airflow_mlops_provider.dag_templates.schedule import AS_OF
from airflow_mlops_provider.exceptions import NotAllowedError, SpecError, TransientServiceError
from airflow_mlops_provider.pipelines import load_pipeline, parse_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import DAG

SHIPPED = sorted((Path(__file__).resolve().parents[3] / "config" / "pipelines").glob("*.yaml"))
TASKS = ["ingest", "validate", "prepare", "champion", "train", "evaluate", "gate", "publish", "promote"]

MINIMAL: dict[str, Any] = {
    "name": "churn",
    "task": "binary",
    "data": {"source": {"uri": "/data/customers.csv"}, "columns": {"target": "left", "numeric": ["age"]}},
    "preparation": {"split": {"by": "random"}},
    "training": {"candidates": {"logistic": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
}


def dag_of(**settings: Any) -> DAG:
    return training_dag(parse_pipeline({**MINIMAL, **settings}, where="churn.yaml"))


@pytest.fixture
def write(pipelines: Path) -> Callable[..., Path]:
    """Write a pipeline file into the configured folder."""

    def write_one(name: str, text: str | None = None, *, file: str | None = None, **settings: Any) -> Path:
        place = pipelines / (file or f"{name}.yaml")
        place.write_text(text if text is not None else yaml.safe_dump({**MINIMAL, "name": name, **settings}))
        return place

    return write_one


# ------------------------------------------------------------------------------------------------ each shipped pipeline


@pytest.fixture(params=SHIPPED, ids=lambda file: file.stem)
def shipped(request: pytest.FixtureRequest) -> Any:
    return load_pipeline(request.param)


def test_a_shipped_pipeline_is_one_chain_with_mapped_candidates(shipped: Any) -> None:
    dag = training_dag(shipped)

    assert dag.dag_id == f"{shipped.name}_training"
    assert list(dag.task_dict) == TASKS
    downstream = {name: set(task.downstream_task_ids) for name, task in dag.task_dict.items()}
    assert downstream == {
        "champion": {"train"},
        "ingest": {"champion", "validate", "prepare", "train"},
        "validate": {"prepare"},
        "prepare": {"train"},
        "train": {"evaluate"},
        "evaluate": {"gate", "publish"},
        "gate": {"promote"},
        "publish": {"promote"},
        "promote": set(),
    }
    assert {name for name, task in dag.task_dict.items() if task.is_mapped} == {"train"}
    named = [candidate["name"] for candidate in dag.task_dict["train"].expand_input.value["candidate"]]
    assert named == list(shipped.training.candidates)


def test_one_lost_candidate_does_not_stop_a_shipped_pipeline(shipped: Any) -> None:
    dag = training_dag(shipped)

    rules = {name: task.trigger_rule for name, task in dag.task_dict.items()}
    assert rules.pop("evaluate") == TriggerRule.ALL_DONE_MIN_ONE_SUCCESS
    assert set(rules.values()) == {TriggerRule.ALL_SUCCESS}
    # Another upstream task's success would count as a trained candidate's.
    assert dag.task_dict["evaluate"].upstream_task_ids == {"train"}


def test_a_shipped_pipeline_survives_serialisation(shipped: Any) -> None:
    dag = training_dag(shipped)

    encoded = json.loads(json.dumps(DagSerialization.to_dict(dag)))
    decoded = DagSerialization.from_dict(encoded)

    assert decoded.dag_id == dag.dag_id
    assert list(decoded.task_dict) == TASKS
    assert decoded.doc_md == dag.doc_md
    assert decoded.params.dump() == dag.params.dump()
    assert decoded.task_dict["train"].is_mapped
    assert {task.owner for task in decoded.tasks} == {shipped.owner}
    # What the scheduler does with it first.
    assert decoded.timetable.can_be_scheduled in (True, False)
    assert DagSerialization.to_dict(training_dag(shipped)) == DagSerialization.to_dict(dag)


def test_a_shipped_pipeline_documents_itself(shipped: Any) -> None:
    text = training_dag(shipped).doc_md or ""

    assert shipped.description in text
    for name, candidate in shipped.training.candidates.items():
        assert f"| {name} | `{candidate.estimator}` |" in text
    for gate in shipped.gates:
        assert f"| {gate.label} |" in text
        assert f"| {gate.on_fail} |" in text
    assert f"`{shipped.model_name}`" in text


def test_the_form_of_a_shipped_pipeline_takes_its_own_defaults(shipped: Any) -> None:
    params = training_dag(shipped).params

    # The template adds them unchecked, which Airflow else does at each parse.
    assert params.validate() == {
        "as_of": None,
        "reason": None,
        "candidates": list(shipped.training.candidates),
        "recompute": False,
        "allow_older": False,
        "lift_quarantine": False,
    }


def test_every_shipped_file_is_named_like_its_pipeline() -> None:
    assert [load_pipeline(file).name for file in SHIPPED] == [file.stem for file in SHIPPED]


# ------------------------------------------------------------------------------------------------ the form


def test_every_field_of_the_form_has_a_type_a_title_and_a_description() -> None:
    params = dag_of().params
    fields = {name: params.get_param(name) for name in params}

    assert {name: field.schema["type"] for name, field in fields.items()} == {
        "as_of": ["null", "string"],
        "reason": ["null", "string"],
        "candidates": "array",
        "recompute": "boolean",
        "allow_older": "boolean",
        "lift_quarantine": "boolean",
    }
    assert all(field.schema["title"] and field.description for field in fields.values())
    assert fields["as_of"].schema["format"] == "date-time"
    assert fields["candidates"].schema["items"]["enum"] == ["logistic"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("candidates", ["forest"]), ("candidates", []), ("candidates", "logistic"), ("recompute", "yes"), ("as_of", 3)],
)
def test_the_form_refuses_what_a_run_cannot_use(name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        dag_of().params[name] = value


# ------------------------------------------------------------------------------------------------ when it runs


def test_a_schedule_gives_daily_intervals_besides_retrain_requests() -> None:
    dag = dag_of(
        schedule={"cron": "@daily", "timezone": "Europe/Berlin", "start": datetime(2013, 2, 1), "catchup": True}
    )

    assert isinstance(dag.timetable, AssetOrTimeSchedule)
    assert dag.timetable.timetable == CronDataIntervalTimetable("@daily", timezone="Europe/Berlin")
    assert [asset.name for asset in dag.timetable.asset_condition.objects] == ["churn.retrain"]
    # Without a zone of its own a start is a moment of the schedule's zone.
    assert dag.start_date == datetime(2013, 2, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    assert dag.catchup


def test_without_a_schedule_it_runs_on_request_only() -> None:
    dag = dag_of()

    assert [asset.name for asset in dag.timetable.asset_condition.objects] == ["churn.retrain"]
    assert not dag.catchup
    assert dag.end_date is None


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ({"cron": "nonsense"}, "churn: schedule.cron is not a cron expression: got nonsense, expected such as @daily"),
        ({"cron": "61 * * * *"}, "churn: schedule.cron is not a cron expression: got 61"),
        ({"timezone": "Mars/Olympus"}, "churn: schedule.timezone is not a time zone: got Mars/Olympus"),
        ({"timezone": "../etc"}, "churn: schedule.timezone is not a time zone: got ../etc"),
    ],
)
def test_a_wrong_schedule_is_an_error_at_once(schedule: dict[str, str], words: str) -> None:
    with pytest.raises(SpecError) as raised:
        dag_of(schedule=schedule)

    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("cron", "asked", "waits"),
    [
        ("@daily", None, timedelta(hours=12)),
        ("0 6 * * 1-5", None, timedelta(hours=12)),
        ("@hourly", "00:20:00", timedelta(minutes=20)),
        (None, None, timedelta(days=1)),
        (None, "72:00:00", timedelta(days=3)),
    ],
)
def test_a_person_has_less_time_to_answer_than_the_next_run_has_to_come(
    cron: str | None, asked: str | None, waits: timedelta
) -> None:
    schedule = {"schedule": {"cron": cron}} if cron else {}
    promotion = {"approval": "human", "response_timeout": asked, "approvers": ["anna"]}
    dag = dag_of(**schedule, promotion=promotion)
    approve, promote = dag.get_task("approve"), dag.get_task("promote")
    assert (approve.response_timeout, approve.defaults) == (waits, ["Reject"])
    assert approve.assigned_users == [{"id": "anna", "name": "anna"}]
    assert "approve" in promote.upstream_task_ids
    assert dag_of(**schedule).task_dict.keys() == dag.task_dict.keys() - {"approve"}


def test_an_answer_that_would_keep_the_next_run_waiting_is_an_error() -> None:
    with pytest.raises(SpecError, match="promotion.response_timeout would keep the next run waiting: got 1 day"):
        dag_of(schedule={"cron": "@daily"}, promotion={"approval": "human", "response_timeout": "24:00:00"})


# ------------------------------------------------------------------------------------------------ settings


def test_assets_tags_owner_and_politeness() -> None:
    dag = dag_of(owner="ml", tags=["crm"], promotion={"model": "retention"})

    assert dag.tags == {"mlops", "training", "crm"}
    assert {task.owner for task in dag.tasks} == {"ml"}
    assert dag.max_active_runs == 1
    (dataset,) = dag.task_dict["ingest"].outlets
    assert (dataset.name, dataset.uri) == ("churn.dataset", "mlops://churn/dataset")
    (champion,) = dag.task_dict["promote"].outlets
    assert isinstance(champion, AssetAlias)
    assert champion.name == "retention.champion"
    served, asked = champion_asset("retention"), retrain_asset("churn")
    inlets = {name: task.inlets for name, task in dag.task_dict.items() if task.inlets}
    assert inlets == {"ingest": [asked], "publish": [asked], "promote": [served, asked]}


def test_every_task_after_ingest_takes_its_as_of() -> None:
    for build in (training_dag, scoring_dag):
        first, *others = build(parse_pipeline({**MINIMAL, "scoring": {}}, where="churn.yaml")).tasks
        assert (first.task_id, first.as_of) == ("ingest", None)
        given = [task.partial_kwargs["as_of"] if task.is_mapped else task.as_of for task in others]
        assert given == [AS_OF] * len(others)


def test_only_a_service_that_is_away_is_tried_again_in_every_task() -> None:
    for task in dag_of().tasks:
        policy = task.retry_policy

        assert task.retries == 3, task.task_id
        assert policy.evaluate(TransientServiceError("away"), 1, 3).action == RetryAction.RETRY
        assert policy.evaluate(ConnectionRefusedError(), 1, 3).action == RetryAction.RETRY
        assert policy.evaluate(KeyError("bug"), 1, 3).action == RetryAction.FAIL


def test_a_tasks_own_settings_reach_it_mapped_or_not() -> None:
    settings = {
        "pool": "trainers",
        "queue": "large",
        "executor": "LocalExecutor",
        "executor_config": {"pod": "big"},
        "retries": 1,
        "retry_delay": "PT5S",
        "max_retry_delay": "PT1M",
        "execution_timeout": "PT2H",
    }
    dag = dag_of(tasks={"train": settings, "gate": settings})

    for name in ("train", "gate"):
        task = dag.task_dict[name]
        assert (task.pool, task.queue, task.executor) == ("trainers", "large", "LocalExecutor")
        assert task.executor_config == {"pod": "big"}
        assert (task.retries, task.retry_delay) == (1, timedelta(seconds=5))
        assert task.max_retry_delay == timedelta(minutes=1)
        assert task.execution_timeout == timedelta(hours=2)
    assert dag.task_dict["evaluate"].pool == "default_pool"
    assert dag.task_dict["evaluate"].retries == 3


def test_a_notifier_of_a_provider_is_called_when_the_run_fails() -> None:
    named = {
        "notifier": "airflow.providers.smtp.notifications.smtp.SmtpNotifier",
        "params": {"to": "ml@example.org", "subject": "{{ dag.dag_id }} failed"},
    }
    (notifier,) = dag_of(notifications={"on_failure": [named]}).on_failure_callback

    assert isinstance(notifier, SmtpNotifier)
    assert notifier.to == "ml@example.org"
    assert notifier.subject == "{{ dag.dag_id }} failed"


@pytest.mark.parametrize(
    ("named", "kind", "words"),
    [
        ({"notifier": "airflow.sdk.DAG"}, SpecError, "names 'airflow.sdk.DAG': expected a class of BaseNotifier"),
        ({"notifier": "airflow.nowhere.Notifier"}, NotAllowedError, "'airflow.nowhere.Notifier' cannot be imported"),
        ({"notifier": "airflow.sdk.Nothing"}, NotAllowedError, "module 'airflow.sdk' has no 'Nothing'"),
        ({"notifier": "subprocess.Popen"}, NotAllowedError, "'subprocess.Popen' is outside the allow-list"),
        (
            {"notifier": "airflow.providers.smtp.notifications.smtp.SmtpNotifier"},
            SpecError,
            "churn: the params of notifier 'airflow.providers.smtp.notifications.smtp.SmtpNotifier' do not fit",
        ),
    ],
    ids=["no notifier", "no module", "no name", "not allowed", "params"],
)
def test_a_wrong_notifier_is_an_error_at_once(named: dict[str, str], kind: type[SpecError], words: str) -> None:
    with pytest.raises(kind) as raised:
        dag_of(notifications={"on_failure": [named]})

    assert words in str(raised.value)


# ------------------------------------------------------------------------------------------------ the folder


def test_one_broken_file_leaves_the_others_alone(write: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    write("good")
    write("unfinished", "name: [")
    write("misspelt", trainig={})
    write("unscheduled", schedule={"cron": "nonsense"})
    write("unheard", notifications={"on_failure": [{"notifier": "airflow.sdk.DAG"}]})

    with caplog.at_level(logging.ERROR):
        assert set(training_dags()) == {"good_training"}

    for name in ("unfinished", "misspelt", "unscheduled", "unheard"):
        assert name in caplog.text


def test_one_error_tells_all_that_is_wrong_in_the_folder(write: Callable[..., Path]) -> None:
    write("good")
    write("unfinished", "name: [")
    write("misspelt", trainig={})
    write("unscheduled", schedule={"cron": "nonsense"})
    write("unheard", notifications={"on_failure": [{"notifier": "airflow.sdk.DAG"}]})

    with pytest.raises(SpecError) as raised:
        check_pipelines()

    message = str(raised.value)
    assert "some pipelines have no DAG, or not all of them:" in message
    assert "unfinished.yaml, line 2, is not YAML" in message
    assert "trainig: unknown key 'trainig'; did you mean 'training'?" in message
    assert "unscheduled: schedule.cron is not a cron expression" in message
    assert "unheard: notifications.on_failure names 'airflow.sdk.DAG'" in message
    assert "good" not in message.replace(str(pipelines_folder()), "")


@pytest.mark.parametrize("task", ["ingest", "publish", "score", "watch", "retrain", "roll_back"])
def test_what_keeps_one_dag_of_a_pipeline_away_is_told(
    write: Callable[..., Path], caplog: pytest.LogCaptureFixture, task: str
) -> None:
    wrong = {task: {"executor_config": {"pod_override": "none"}}}
    write("churn", scoring={}, monitoring={}, tasks=wrong)

    with caplog.at_level(logging.ERROR):
        built = pipeline_dags()
    with pytest.raises(SpecError) as raised:
        check_pipelines()

    assert len(built) < 4
    assert f"churn: tasks.{task}.executor_config.pod_override is no mapping" in str(raised.value)


def test_a_right_folder_passes_the_check(write: Callable[..., Path]) -> None:
    write("good")

    check_pipelines()


def test_a_missing_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW__MLOPS__PIPELINES_FOLDER", str(tmp_path / "nowhere"))

    with pytest.raises(SpecError, match="folder of pipeline files .*nowhere is missing. Create it, or set"):
        check_pipelines()
    assert training_dags() == {}


def test_a_file_has_its_pipelines_name(write: Callable[..., Path]) -> None:
    file = write("churn", file="customers.yaml")

    with pytest.raises(SpecError) as raised:
        load_pipeline(file)

    assert str(raised.value) == (
        f"pipeline file {file} has another name than its pipeline: got churn, expected customers. "
        "Call the file churn.yaml, or the pipeline customers."
    )


def test_two_files_of_one_pipeline_are_an_error(write: Callable[..., Path]) -> None:
    write("churn")
    write("churn", file="churn.yml")

    with pytest.raises(SpecError, match=r"churn.yml and churn.yaml are two files for one pipeline"):
        check_pipelines()


def test_only_the_pipeline_of_the_dag_that_is_parsed_for_is_read(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write("wanted")
    write("other")
    write("unfinished", "name: [")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "wanted_training")

    with caplog.at_level(logging.ERROR):
        assert [pipeline.name for pipeline in load_pipelines("training")] == ["wanted"]
        assert load_pipelines("scoring") == []
        check_pipelines()

    assert caplog.text == ""


def test_every_kind_of_dag_comes_from_one_read_of_a_file(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_mlops_provider.dag_templates import folder

    read: list[str] = []
    load = folder.load_pipeline
    monkeypatch.setattr(folder, "load_pipeline", lambda file: read.append(file.stem) or load(file))
    write("one")
    write("two")

    dags = pipeline_dags()

    assert list(dags) == ["one_training", "one_rollback", "two_training", "two_rollback"]
    assert read == ["one", "two"]


@pytest.mark.parametrize(
    "dag_id",
    ["one_training", "one_rollback", "one_training_training", "one_training_rollback", "one_rollback_training"],
)
def test_only_the_dag_that_is_parsed_for_is_built(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, dag_id: str
) -> None:
    for name in ("one", "one_training", "one_rollback"):
        write(name)
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", dag_id)

    assert list(pipeline_dags()) == [dag_id]


def test_a_dag_that_cannot_be_built_leaves_the_pipelines_others(
    write: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    write("unscheduled", schedule={"cron": "nonsense"})

    with caplog.at_level(logging.ERROR):
        assert list(pipeline_dags()) == ["unscheduled_rollback"]

    assert "No training DAG for unscheduled: unscheduled: schedule.cron is not a cron expression" in caplog.text


def test_without_a_setting_the_folder_is_beside_the_dags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", "/opt/airflow/dags")

    assert pipelines_folder() == Path("/opt/airflow/config/pipelines")
    monkeypatch.setenv("AIRFLOW__MLOPS__PIPELINES_FOLDER", "/srv/pipelines")
    assert pipelines_folder() == Path("/srv/pipelines")


def test_a_start_that_names_its_zone_keeps_it() -> None:
    dag = dag_of(schedule={"timezone": "Europe/Berlin", "start": datetime(2013, 2, 1, tzinfo=UTC)})

    assert dag.start_date == datetime(2013, 2, 1, tzinfo=UTC)
