from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_mlops_provider.exceptions import ArtifactError, StorageError
from airflow_mlops_provider.registry import CandidateRun, PromotionRequest, Publication, Registry
from airflow_mlops_provider.registry.naming import legal_keys, param_text

Build = Callable[..., Publication]


def contents(client: Any) -> dict[str, Any]:
    experiment = client.get_experiment_by_name("flights").experiment_id
    return {
        "runs": sorted(run.info.run_id for run in client.search_runs([experiment])),
        "states": {run.info.status for run in client.search_runs([experiment])},
        "models": [model.model_id for model in client.search_logged_models([experiment])],
        "versions": [int(found.version) for found in client.search_model_versions("name = 'flights'")],
    }


def test_a_training_is_one_parent_run_with_one_run_a_candidate(
    registry: Registry, client: Any, publication: Build
) -> None:
    published = registry.publish(publication())
    run = client.get_run(published.run_ids["logistic"])
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == 2500
    assert run.data.params == {"C": "1.0", "class_weight": "null"}
    assert run.data.metrics == {"roc_auc": 0.9}
    assert run.data.tags["mlflow.parentRunId"] == published.parent_run_id
    assert run.data.tags["mlops.step_key"] == "key-logistic-digest"
    assert run.data.tags["code_version"] == "abc"
    parent = client.get_run(published.parent_run_id)
    assert parent.data.tags["mlops.lineage"] == "lineage-1"
    assert parent.data.tags["dag_id"] == "flights_training"
    assert contents(client)["states"] == {"FINISHED"}
    assert len(contents(client)["runs"]) == 3


def test_folds_are_steps_of_a_metric_of_their_own(registry: Registry, client: Any, publication: Build) -> None:
    first, *others = publication().candidates
    values = [0.7, None, 0.9] + [0.5] * 1500
    wanted = publication(candidates=[first.model_copy(update={"folds": {"fold/roc_auc": values}}), *others])
    for _ in range(2):
        run_id = registry.publish(wanted).run_ids["logistic"]
    steps = {found.step: found.value for found in client.get_metric_history(run_id, "fold/roc_auc")}
    assert len(steps) == 1502
    assert (steps[1], steps[3], steps.get(2)) == (0.7, 0.9, None)
    assert client.get_run(run_id).data.metrics["roc_auc"] == 0.9


def test_the_data_is_an_input_that_mlflow_finds_again(registry: Registry, client: Any, publication: Build) -> None:
    import mlflow.data

    published = registry.publish(publication())
    (found,) = client.get_run(published.run_id).inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest) == ("flights", "d" * 36)
    assert mlflow.data.get_source(found.dataset).uri == "file:///store/x.parquet"
    assert client.get_run(published.run_id).data.tags["mlops.dataset_digest"] == "d" * 64


def test_the_version_says_what_it_is(registry: Registry, client: Any, publication: Build) -> None:
    wanted = publication()
    published = registry.publish(wanted)
    version = client.get_model_version_by_alias("flights", "challenger")
    assert int(version.version) == published.version == 1
    assert version.run_id == published.run_ids["logistic"] == published.run_id
    assert version.tags == {
        "mlops.lineage": "lineage-1",
        "mlops.digest": "digest",
        "mlops.sha256": wanted.model_info.sha256,
        "mlops.size": str(wanted.model_info.artifact.size),
        "mlops.as_of": "2013-03-01T00:00:00+00:00",
        "mlops.artifact": wanted.model_info.artifact.uri,
    }


def test_the_logged_model_shows_its_run_params_metrics_and_version(
    registry: Registry, client: Any, publication: Build
) -> None:
    published = registry.publish(publication())
    (model,) = client.search_logged_models([published.experiment_id])
    assert str(model.status) == "READY"
    assert model.source_run_id == published.run_id
    assert model.params["C"] == "1.0"
    assert [(metric.key, metric.value) for metric in model.metrics] == [("roc_auc", 0.9)]
    assert model.tags["mlflow.modelVersions"] == '[{"name": "flights", "version": 1}]'
    assert [output.model_id for output in client.get_run(published.run_id).outputs.model_outputs] == [model.model_id]


def test_the_uploaded_file_is_the_evaluated_one(
    registry: Registry, client: Any, publication: Build, tmp_path: Path
) -> None:
    from mlflow.artifacts import download_artifacts

    wanted = publication()
    registry.publish(wanted)
    folder = client.get_model_version_download_uri("flights", "1")
    assert Path(folder.removeprefix("file://")).is_relative_to(tmp_path / "mlflow" / "mlartifacts")
    local = Path(download_artifacts(folder))
    assert hashlib.sha256((local / "model.skops").read_bytes()).hexdigest() == wanted.model_info.sha256
    assert (local / "requirements.txt").read_text().splitlines()[1:] == wanted.model_info.requirements


@pytest.fixture
def global_uri(mlflow_uri: str) -> Any:
    import mlflow

    mlflow.set_tracking_uri(mlflow_uri)
    yield
    mlflow.set_tracking_uri(None)


# MLflow's own agents do it, when mlflow.pyfunc is imported.
@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType")
@pytest.mark.usefixtures("global_uri")
def test_a_user_can_load_the_champion_by_mlflows_own_means(
    registry: Registry, publication: Build, request_for: Callable[..., PromotionRequest]
) -> None:
    import mlflow.pyfunc
    import mlflow.sklearn
    import pandas as pd

    published = registry.publish(publication())
    registry.promote(request_for(published.version, 1))
    frame = pd.DataFrame({"distance": [1.0, 4.0], "origin": ["EWR", "JFK"]})
    pipeline = mlflow.sklearn.load_model("models:/flights@champion")
    served = mlflow.pyfunc.load_model("models:/flights@champion")
    assert pipeline.predict(frame).tolist() == [0, 1]
    assert served.predict(frame).tolist() == [0, 1]
    for kind in ("int32", "int64", "float32"):  # whole numbers in a CSV file are the second
        assert served.predict(frame.astype({"distance": kind})).tolist() == [0, 1]
    assert served.input_example.columns.tolist() == ["distance", "origin"]
    assert served.metadata.signature.inputs.input_names() == ["distance", "origin"]


def test_a_repeated_publish_changes_nothing_and_needs_no_model_file(
    registry: Registry, client: Any, publication: Build
) -> None:
    first = registry.publish(publication())
    before = contents(client)

    def unwanted() -> Path:
        pytest.fail("the model was fetched again")

    assert registry.publish(publication(model_file=unwanted)) == first
    assert contents(client) == before


def test_changed_data_of_the_same_day_add_runs_and_a_version_under_the_same_parent(
    registry: Registry, client: Any, publication: Build
) -> None:
    first = registry.publish(publication())
    second = registry.publish(publication(digest="other", metrics={"roc_auc": 0.95}))
    assert second.parent_run_id == first.parent_run_id
    assert not set(second.run_ids.values()) & set(first.run_ids.values())
    assert (first.version, second.version) == (1, 2)
    assert client.get_run(first.parent_run_id).data.metrics == {"roc_auc": 0.95}


def test_an_older_training_published_again_does_not_take_the_challenger_alias(
    registry: Registry, client: Any, publication: Build
) -> None:
    registry.publish(publication(day=1))
    registry.publish(publication(day=2))
    registry.publish(publication(day=1))
    assert int(client.get_model_version_by_alias("flights", "challenger").version) == 2


def test_a_run_left_half_written_is_completed(
    registry: Registry, client: Any, publication: Build, tmp_path: Path
) -> None:
    wanted = publication()
    experiment = client.create_experiment("flights", (tmp_path / "artifacts").as_uri())
    tags = {"mlops.lineage": "lineage-1", "mlops.role": "candidate", "mlops.candidate": "forest"}
    half = client.create_run(experiment, tags={**tags, "mlops.step_key": "key-forest-digest"}).info.run_id
    published = registry.publish(wanted)
    assert published.run_ids["forest"] == half
    assert client.get_run(half).info.status == "FINISHED"
    assert client.get_run(half).data.tags["mlflow.parentRunId"] == published.parent_run_id


def test_of_two_equal_runs_the_lowest_id_wins_and_the_other_is_marked(
    registry: Registry, client: Any, publication: Build, tmp_path: Path
) -> None:
    experiment = client.create_experiment("flights", (tmp_path / "artifacts").as_uri())
    tags = {"mlops.lineage": "lineage-1", "mlops.role": "training"}
    ids = sorted(client.create_run(experiment, tags=tags).info.run_id for _ in range(2))
    assert registry.publish(publication()).parent_run_id == ids[0]
    other = client.get_run(ids[1])
    assert other.data.tags["mlops.duplicate"] == "true"
    assert contents(client)["states"] == {"FINISHED", "KILLED"}


def test_of_two_logged_models_that_marked_each_other_one_is_unmarked(
    registry: Registry, client: Any, publication: Build
) -> None:
    # Two processes that each completed one before the other took the other's for the duplicate.
    published = registry.publish(publication())
    (model,) = client.search_logged_models([published.experiment_id])
    tags = {name: value for name, value in model.tags.items() if name.startswith("mlops.")}
    twin = client.create_logged_model(published.experiment_id, model.name, published.run_id, tags)
    client.finalize_logged_model(twin.model_id, "READY")
    for model_id in (model.model_id, twin.model_id):
        client.set_logged_model_tags(model_id, {"mlops.duplicate": "true"})
    client.delete_model_version("flights", "1")
    registry.publish(publication())
    marks = {
        found.model_id: found.tags["mlops.duplicate"]
        for found in client.search_logged_models([published.experiment_id])
    }
    lowest, other = sorted(marks)
    assert (marks[lowest], marks[other]) == ("false", "true")


def test_of_two_equal_versions_the_lowest_wins_and_the_other_is_marked(
    registry: Registry, client: Any, publication: Build
) -> None:
    first = registry.publish(publication())
    tags = client.get_model_version("flights", "1").tags
    client.create_model_version("flights", "/elsewhere", tags=tags, await_creation_for=None)
    assert registry.publish(publication()) == first
    assert client.get_model_version("flights", "2").tags["mlops.duplicate"] == "true"


def test_a_model_file_that_is_not_the_evaluated_one_is_refused(
    registry: Registry, client: Any, publication: Build, tmp_path: Path
) -> None:
    other = tmp_path / "model.skops"
    other.write_bytes(b"something else")
    with pytest.raises(ArtifactError, match=r"not the file that was evaluated: got sha256 \w+, expected \w+"):
        registry.publish(publication(model_file=other))
    with pytest.raises(StorageError, match="nowhere.skops cannot be copied: it, or a folder above it, is gone"):
        registry.publish(publication(model_file=tmp_path / "nowhere.skops"))
    assert contents(client)["versions"] == []
    registry.publish(publication())
    assert len(contents(client)["models"]) == 1


def test_what_mlflow_could_not_hold_is_shortened_visibly(registry: Registry, client: Any, publication: Build) -> None:
    candidate = CandidateRun(
        name="wide",
        step_key="key",
        params={"layers": "x" * 7000, "weight for ?": 1, **{f"p{i}": i for i in range(150)}},
        metrics={"roc_auc@origin=JFK": 0.5},
        tags={"hardware": "y" * 9000},
    )
    published = registry.publish(publication(candidates=[candidate], winner="wide"))
    run = client.get_run(published.run_id)
    assert len(run.data.params) == 152
    assert run.data.params["layers"].endswith("... (shortened, 7000 characters)")
    assert len(run.data.params["layers"]) <= 6000
    assert len(run.data.tags["hardware"]) <= 8000
    assert [key[:18] for key in run.data.metrics] == ["roc_auc_origin_JFK"]


@pytest.mark.parametrize("key", ["a..b", "/a", "a//b", "", "k" * 300, "ü", "a/../b", "."])
def test_every_key_becomes_one_that_mlflow_takes(registry: Registry, client: Any, publication: Build, key: str) -> None:
    candidate = CandidateRun(name="odd", step_key="key", params={key: 1}, metrics={key: 2.0}, tags={key: "3"})
    published = registry.publish(publication(candidates=[candidate], winner="odd"))
    assert len(client.get_run(published.run_id).data.params) == 1


def test_two_keys_that_would_become_one_stay_two() -> None:
    assert len(legal_keys({"a?": 1, "a!": 2})) == 2
    assert param_text("short") == "short"


def test_the_same_work_on_a_server(
    mlflow_server: str,
    publication: Build,
    request_for: Callable[..., PromotionRequest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import mlflow
    import mlflow.sklearn
    from mlflow import MlflowClient

    registry = Registry.connect(mlflow_server)
    assert registry.ping() == f"MLflow at {mlflow_server} answers."
    wanted = publication()
    started = time.monotonic()
    published = registry.publish(wanted)
    assert registry.publish(wanted) == published
    outcome = registry.promote(request_for(published.version, 1))
    again = registry.promote(request_for(published.version, 1))
    assert time.monotonic() - started < 20
    assert (outcome.status, again.status) == ("promoted", "already")
    client = MlflowClient(mlflow_server)
    assert contents(client)["versions"] == [1]
    assert len(contents(client)["runs"]) == 3
    (model,) = client.search_logged_models([published.experiment_id])
    assert model.tags["mlflow.modelVersions"] == '[{"name": "flights", "version": 1}]'
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    assert mlflow.sklearn.load_model("models:/flights@champion").classes_.tolist() == [0, 1]
