from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
import registry_worker
from processes import exit_code

from airflow_mlops_provider.failpoints import VARIABLE
from airflow_mlops_provider.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

POINTS = [
    f"{effect}.{moment}"
    for effect in ("publish.runs", "publish.upload", "publish.register", "publish.pages", "ledger.write", "alias.write")
    for moment in ("before", "after")
]


def die_at(point: str, killed: Path, work: Any, *arguments: Any) -> None:
    """Do some work in a process that is killed at a point."""
    killed.mkdir()
    assert exit_code(work, *arguments, environment={VARIABLE: f"{killed}:{point}"}) == -signal.SIGKILL
    assert (killed / point).exists()


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_and_retried_the_work_is_done_once(point: str, mlflow_uri: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    training = registry_worker.publication(tmp_path / "model.skops")
    die_at(point, tmp_path / "killed", registry_worker.publish_and_promote, mlflow_uri, training)

    registry = Registry.connect(mlflow_uri)
    published = registry.publish(training)
    registry.keep_pages("flights", published.version, published.run_id, registry_worker.PAGES)
    outcome = registry.promote(registry_worker.request(training))

    client = MlflowClient(mlflow_uri)
    runs: list[Any] = client.search_runs([published.experiment_id])
    assert sorted(run.info.run_id for run in runs) == sorted([published.parent_run_id, *published.run_ids.values()])
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run_id in published.run_ids.values():
        run = client.get_run(run_id)
        assert (run.data.params, run.data.metrics) == ({"C": "1"}, {"roc_auc": 0.9})
        assert len(client.get_metric_history(run_id, "roc_auc")) == 1
        assert len(run.inputs.dataset_inputs) == 1
    assert len(client.get_run(published.run_id).outputs.model_outputs) == 1
    assert [str(model.status) for model in client.search_logged_models([published.experiment_id])] == ["READY"]
    assert [int(found.version) for found in client.search_model_versions("name = 'flights'")] == [1]
    assert [file.path for file in client.list_artifacts(published.run_id)] == ["model_card.html"]
    assert registry.version_run("flights", 1).pages == {"card": registry_worker.PAGES["card"].ref}
    assert client.get_registered_model("flights").aliases == {"champion": 1, "challenger": 1}
    assert [entry.idem for entry in registry.history("flights")] == ["task"]
    assert outcome.entry == registry.head("flights")
    assert outcome.status in ("promoted", "already")
    assert not any("mlops.duplicate" in run.data.tags for run in runs)


@pytest.mark.parametrize(
    "point", ["ledger.write.before", "ledger.write.after", "alias.write.before", "alias.write.after"]
)
def test_killed_anywhere_and_retried_a_rollback_goes_one_step_back(point: str, mlflow_uri: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    client, registry = MlflowClient(mlflow_uri), Registry.connect(mlflow_uri)
    registry_worker.promote_all(registry, client, tmp_path, 3)
    die_at(point, tmp_path / "killed", registry_worker.roll_back, mlflow_uri)

    outcome = registry_worker.rollback(registry)

    history = registry.history("flights")
    assert [(entry.action, entry.version, entry.quarantined) for entry in history[3:]] == [("rollback", 2, 3)]
    assert outcome.entry == history[-1]
    assert outcome.entry.idem == "rollback"
    assert outcome.status == ("rolled_back" if point == "ledger.write.before" else "already")
    assert client.get_registered_model("flights").aliases == {"champion": 2}
    tags = {int(found.version): found.tags for found in client.search_model_versions("name = 'flights'")}
    assert {version: tag["mlops.status"] for version, tag in tags.items()} == {
        1: "archived",
        2: "champion",
        3: "quarantined",
    }


@pytest.mark.parametrize("point", ["decision.write.before", "decision.write.after"])
def test_killed_anywhere_and_retried_a_window_is_decided_once(point: str, mlflow_uri: str, tmp_path: Path) -> None:
    die_at(point, tmp_path / "killed", registry_worker.decide, mlflow_uri)
    registry = Registry.connect(mlflow_uri)

    held, changed = registry.write_decision("flights", registry_worker.WINDOW, {"action": "keep"}, idem="decide")

    assert changed == (point == "decision.write.before")
    assert held.idem == "decide", "the retry knows what was written as its own"
    assert registry.decisions("flights") == [held]


@pytest.mark.parametrize("point", ["look.write.before", "look.write.after"])
def test_killed_anywhere_and_retried_a_look_is_spent_once(point: str, mlflow_uri: str, tmp_path: Path) -> None:
    die_at(point, tmp_path / "killed", registry_worker.look, mlflow_uri)

    held = registry_worker.look(mlflow_uri)

    assert Registry.connect(mlflow_uri).looks("flights").history() == [held]
