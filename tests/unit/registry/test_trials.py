from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from airflow_mlops_provider.registry import CandidateRun, Publication, Registry, TrialRun

Build = Callable[..., Publication]


def searched(trials: int, **changes: Any) -> CandidateRun:
    runs = [
        TrialRun(
            number=number,
            params={"C": 0.1 * number, "kind": {"a": [1, None]}},
            metrics={"roc_auc": 0.5 + number / 1000, "seconds": 0.25},
            after=0.25 * number,
            seconds=0.25,
        )
        for number in range(trials)
    ]
    fields = {
        "name": "logistic",
        "step_key": "key",
        "trials": runs,
        "files": {"search/trials.csv": "trial\n0\n", "search/page.html": "<p>"},
        "seconds": 3.0,
    }
    return CandidateRun(**{**fields, **changes})


def nested(client: Any, run_id: str) -> list[Any]:
    experiment = client.get_run(run_id).info.experiment_id
    return list(client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'", max_results=1000))


def test_each_trial_is_a_finished_run_nested_in_its_candidates(
    registry: Registry, client: Any, publication: Build, tmp_path: Any
) -> None:
    broken = TrialRun(number=3, params={"C": -1}, metrics={"seconds": 0.1}, seconds=0.1, why="C must be positive")
    candidate = searched(3)
    candidate = candidate.model_copy(update={"trials": [*candidate.trials, broken]})
    published = registry.publish(publication(candidates=[candidate]))
    runs = sorted(nested(client, published.run_id), key=lambda run: int(run.data.tags["mlops.trial"]))
    assert [run.info.run_name for run in runs] == ["logistic 0", "logistic 1", "logistic 2", "logistic 3"]
    assert [run.info.status for run in runs] == ["FINISHED"] * 3 + ["FAILED"]
    assert runs[1].data.params == {"C": "0.1", "kind": '{"a": [1, null]}'}
    assert runs[1].data.metrics == {"roc_auc": 0.501, "seconds": 0.25}
    assert [run.info.end_time - run.info.start_time for run in runs] == [250, 250, 250, 100]
    assert runs[1].info.start_time - runs[0].info.start_time == 250
    assert runs[3].data.tags["mlops.why"] == "C must be positive"
    assert {file.path for file in client.list_artifacts(published.run_id, "search")} == {
        "search/trials.csv", "search/page.html",
    }  # fmt: skip


def test_a_publish_that_was_killed_on_its_way_completes_its_trials_and_doubles_none(
    registry: Registry, client: Any, publication: Build
) -> None:
    wanted = publication(candidates=[searched(6)])
    published = registry.publish(wanted)
    before = {run.info.run_id for run in nested(client, published.run_id)}
    assert len(before) == 6
    # As if it had been killed: the candidate is open, one trial was never made, one is empty, one was made twice.
    first, second, third, *_ = sorted(nested(client, published.run_id), key=lambda run: run.info.run_id)
    client.update_run(published.run_id, status="RUNNING")
    client.delete_run(first.info.run_id)
    client.update_run(second.info.run_id, status="RUNNING")
    own = {name: value for name, value in third.data.tags.items() if name.startswith(("mlops.", "mlflow.parent"))}
    twin = client.create_run(third.info.experiment_id, tags=own).info.run_id
    again = registry.publish(wanted)
    assert again == published
    runs = nested(client, published.run_id)
    unmarked = [run for run in runs if run.data.tags.get("mlops.duplicate") != "true"]
    assert Counter(run.data.tags["mlops.trial"] for run in unmarked) == Counter(map(str, range(6)))
    assert len(runs) == 7
    assert all(run.info.status == "FINISHED" for run in unmarked)
    assert {run.info.run_id for run in runs} == before - {first.info.run_id} | {twin} | {
        run.info.run_id for run in runs if run.data.tags["mlops.trial"] == first.data.tags["mlops.trial"]
    }
    registry.publish(wanted)
    assert len(nested(client, published.run_id)) == 7


@pytest.mark.parametrize("number", ["００", "many", "", "7", "9" * 5000, None])
def test_a_run_that_others_tagged_as_a_trial_is_none(
    registry: Registry, client: Any, publication: Build, number: str | None
) -> None:
    wanted = publication(candidates=[searched(2)])
    published = registry.publish(wanted)
    first, second = nested(client, published.run_id)
    tags = {key: value for key, value in first.data.tags.items() if key != "mlops.trial"}
    client.create_run(first.info.experiment_id, tags=tags | ({} if number is None else {"mlops.trial": number}))
    client.delete_run(second.info.run_id)
    client.update_run(published.run_id, status="RUNNING")

    assert registry.publish(wanted).run_id == published.run_id
    runs = [run for run in nested(client, published.run_id) if run.data.tags.get("mlops.trial") in ("0", "1")]
    assert sorted(run.data.tags["mlops.trial"] for run in runs) == ["0", "1"]


def test_two_candidates_with_equal_trials_keep_their_own(registry: Registry, client: Any, publication: Build) -> None:
    pair = [searched(2), searched(2, name="forest")]
    published = registry.publish(publication(candidates=pair))
    assert [len(nested(client, run_id)) for run_id in published.run_ids.values()] == [2, 2]


def test_a_server_is_sent_several_at_once(mlflow_server: str, publication: Build) -> None:
    from mlflow import MlflowClient

    # A model of its own: the server is shared, and an equal one would be found there by another test.
    many = publication(model="many", experiment="many", candidates=[searched(20)])
    published = Registry.connect(mlflow_server).publish(many)
    runs = nested(MlflowClient(mlflow_server), published.run_id)
    assert Counter(run.info.status for run in runs) == {"FINISHED": 20}
