from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from minimal_pipeline import MINIMAL

from airflow_mlops_provider.dag_templates import check_pipelines, load_pipelines, pipeline_dags, training_dags
from airflow_mlops_provider.dag_templates.folder import pipelines_folder
from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.pipelines import load_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def write(pipelines: Path) -> Callable[..., Path]:
    """Write a pipeline file into the configured folder."""

    def write_one(name: str, text: str | None = None, *, file: str | None = None, **settings: Any) -> Path:
        place = pipelines / (file or f"{name}.yaml")
        place.write_text(text if text is not None else yaml.safe_dump({**MINIMAL, "name": name, **settings}))
        return place

    return write_one


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
    assert "some pipelines have no DAGs, or only some of them:" in message
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
    assert f"churn: tasks.{task}.executor_config.pod_override is not a mapping" in str(raised.value)


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
        f"pipeline file {file} does not have its pipeline's name: got churn, expected customers. "
        "Rename the file to churn.yaml, or the pipeline to customers."
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
