"""The trials of a search as runs nested in their candidate's.

A candidate's run is complete when it is FINISHED, which comes after all of this: a publish that was killed does it
again, and finds the runs that it had made by their tags.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from airflow_mlops_provider.failpoints import failpoint
from airflow_mlops_provider.registry.client import make_once
from airflow_mlops_provider.registry.naming import (
    DUPLICATE_TAG,
    PARENT_TAG,
    ROLE_TAG,
    STEP_TAG,
    legal_keys,
    own_tags,
    param_text,
)
from airflow_mlops_provider.registry.versions import CANDIDATE_TAG

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Run

    from airflow_mlops_provider.registry.client import Connection
    from airflow_mlops_provider.registry.publication import CandidateRun, TrialRun

TRIAL_TAG = "mlops.trial"
_WHY_TAG = "mlops.why"
#: MLflow's largest page of runs; a search has fewer.
_PAGE = 1000
#: What a server answers at once. A database in a file has one writer, and threads would only wait for it.
_AT_ONCE = 8


def write_trials(connection: Connection, parent: Run, candidate: CandidateRun) -> None:
    """Write one run a trial below the candidate's run. Repeating it completes what is there and adds none.

    :raises TransientServiceError: MLflow could not be reached; repeat it.
    """
    if not candidate.trials:
        return
    failpoint("publish.trials.before")
    what = f"creating the runs of the search of {candidate.name!r}"
    found = _found(connection, parent, candidate)

    def create() -> None:
        missing = [_creating(parent, candidate, trial) for trial in candidate.trials if trial.number not in found]
        connection.once(what, lambda client: _at_once(connection, client, missing))

    def complete() -> dict[int, Run] | None:
        found.update(_found(connection, parent, candidate))
        return found if found.keys() >= {trial.number for trial in candidate.trials} else None

    if len(found) < len(candidate.trials):
        make_once(what, create, complete)
    open_ones = [trial for trial in candidate.trials if found[trial.number].info.status == "RUNNING"]
    writes = [_writing(found[trial.number], trial) for trial in open_ones]
    connection.retried(
        f"writing the runs of the search of {candidate.name!r}", lambda client: _at_once(connection, client, writes)
    )
    failpoint("publish.trials.after")


def _at_once(
    connection: Connection, client: MlflowClient, requests: Sequence[Callable[[MlflowClient], object]]
) -> None:
    """Send requests, to a server several at a time."""
    with ThreadPoolExecutor(_AT_ONCE if connection.is_server else 1) as threads:
        for done in [threads.submit(request, client) for request in requests]:
            done.result()


def _found(connection: Connection, parent: Run, candidate: CandidateRun) -> dict[int, Run]:
    """Return the runs of the trials by number; of several of one number the lowest id, and the others are marked."""
    where = f"tags.`{STEP_TAG}` = '{candidate.step_key}' AND tags.`{ROLE_TAG}` = 'trial'"
    runs = connection.retried(
        f"looking for the trials of {candidate.name!r}",
        lambda client: client.search_runs([parent.info.experiment_id], where, max_results=_PAGE),
    )
    # By their text, so that one number has one.
    numbers = {str(trial.number): trial.number for trial in candidate.trials}
    first: dict[int, Run] = {}
    for run in sorted(runs, key=lambda run: str(run.info.run_id)):
        tags = run.data.tags
        if tags.get(PARENT_TAG) != parent.info.run_id or tags.get(CANDIDATE_TAG) != candidate.name:
            continue  # of a training that shares the candidate, in a lineage of its own
        number = numbers.get(tags.get(TRIAL_TAG, ""))
        if number is None:
            continue  # of nobody's search: others may tag a run as they like
        if first.setdefault(number, run) is not run and tags.get(DUPLICATE_TAG) != "true":
            _retire(connection, run)
    return first


def _retire(connection: Connection, run: Run) -> None:
    run_id = str(run.info.run_id)

    def retire(client: MlflowClient) -> None:
        client.set_tag(run_id, DUPLICATE_TAG, "true")
        client.set_terminated(run_id, "KILLED")

    connection.retried(f"marking run {run_id} as a duplicate", retire)


def _creating(parent: Run, candidate: CandidateRun, trial: TrialRun) -> Callable[[MlflowClient], object]:
    tags = {
        ROLE_TAG: "trial",
        CANDIDATE_TAG: candidate.name,
        STEP_TAG: candidate.step_key,
        TRIAL_TAG: str(trial.number),
        PARENT_TAG: str(parent.info.run_id),
        **({_WHY_TAG: trial.why} if trial.why else {}),
    }
    start = int(parent.info.start_time) + round(trial.after * 1000)
    name = f"{candidate.name} {trial.number}"
    return lambda client: client.create_run(parent.info.experiment_id, start, own_tags(tags), name)


def _writing(run: Run, trial: TrialRun) -> Callable[[MlflowClient], object]:
    from mlflow.entities import Metric, Param

    run_id, start = str(run.info.run_id), int(run.info.start_time)
    metrics = [Metric(key, value, start, 0) for key, value in legal_keys(trial.metrics).items()]
    params = [Param(key, param_text(value)) for key, value in legal_keys(trial.params).items()]
    status = "FINISHED" if trial.why is None else "FAILED"

    def write(client: MlflowClient) -> None:
        client.log_batch(run_id, metrics=metrics, params=params)
        client.set_terminated(run_id, status, start + round(trial.seconds * 1000))

    return write
