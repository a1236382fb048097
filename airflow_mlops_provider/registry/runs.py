"""MLflow runs that a repeated or killed publish finds again, completes and never doubles.

A run is found by its tags, which are written with it, and is complete when it is FINISHED, which is
written last.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.registry.client import make_once
from airflow_mlops_provider.registry.files import keep_files
from airflow_mlops_provider.registry.naming import (
    DUPLICATE_TAG,
    LINEAGE_TAG,
    PARENT_TAG,
    ROLE_TAG,
    STEP_TAG,
    legal_keys,
    milliseconds,
    own_tags,
    param_text,
)
from airflow_mlops_provider.registry.trials import write_trials
from airflow_mlops_provider.registry.versions import CANDIDATE_TAG, DATASET_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow.entities import Run
    from pydantic import JsonValue

    from airflow_mlops_provider.registry.client import Connection
    from airflow_mlops_provider.registry.publication import CandidateRun, DatasetInfo, Publication

# MLflow's limits: in values at once, in characters.
_MAX_BATCH = 1000
_MAX_DATASET_DIGEST = 36


def write_runs(connection: Connection, experiment: str, publication: Publication) -> tuple[str, dict[str, str]]:
    """Write the parent run and one run a candidate; return the ids of what is there now."""
    found = _Runs(connection, experiment, publication.lineage)
    parent = found.one({ROLE_TAG: "training"}) or found.create(
        {ROLE_TAG: "training", **own_tags(publication.tags)}, publication.name
    )
    parent_id = str(parent.info.run_id)
    children = {
        candidate.name: _write_candidate(found, parent_id, candidate, publication)
        for candidate in publication.candidates
    }
    verdict = {"mlops.winner": publication.winner, "mlops.as_of": publication.as_of.isoformat()}
    # Evaluated anew, with other settings, the same training shows its last metrics and winner.
    if not found.shows(parent, publication.metrics, verdict):
        keep_files(connection, parent, publication.files)
        found.log(parent, publication.metrics, {}, {**publication.tags, **verdict}, publication.dataset)
    found.finish(parent)
    return parent_id, children


def _write_candidate(found: _Runs, parent_id: str, candidate: CandidateRun, publication: Publication) -> str:
    identity = {ROLE_TAG: "candidate", CANDIDATE_TAG: candidate.name, STEP_TAG: candidate.step_key}
    tags = {**candidate.tags, PARENT_TAG: parent_id, "mlops.as_of": publication.as_of.isoformat()}
    # Trained some time before it is published: the run shows how long it took, ending now.
    started = candidate.started or datetime.now(UTC) - timedelta(seconds=candidate.seconds or 0)
    run = found.one(identity) or found.create({**own_tags(tags), **identity}, candidate.name, started)
    if run.info.status != "FINISHED":
        found.log(run, candidate.metrics, candidate.params, tags, publication.dataset)
        found.log_steps(run, candidate.folds)
        keep_files(found.connection, run, candidate.files)
        write_trials(found.connection, run, candidate)
        found.finish(run, candidate.seconds)
    return str(run.info.run_id)


class _Runs:
    """The runs of one lineage in one experiment."""

    def __init__(self, connection: Connection, experiment: str, lineage: str) -> None:
        self.connection = connection
        self._experiment = experiment
        self._lineage = lineage
        self._known = self._search()

    def one(self, identity: Mapping[str, str]) -> Run | None:
        """Return the run with these tags; of several the lowest id, and the others are marked."""
        same = [run for run in self._known if identity.items() <= run.data.tags.items()]
        if not same:
            return None
        first, *others = sorted(same, key=lambda run: str(run.info.run_id))
        for run in others:
            self._mark_duplicate(run)
        return first

    def create(self, tags: dict[str, str], name: str, started: datetime | None = None) -> Run:
        """Create a run, or return the one that a lost reply or another process has made meanwhile."""
        identity = {key: tags[key] for key in (ROLE_TAG, CANDIDATE_TAG, STEP_TAG) if key in tags}
        every = {**tags, LINEAGE_TAG: self._lineage}
        what = f"creating the run {name!r}"

        def find() -> Run | None:
            self._known = self._search()
            return self.one(identity)

        return make_once(
            what,
            lambda: self.connection.once(
                what, lambda client: client.create_run(self._experiment, milliseconds(started), every, name)
            ),
            find,
        )

    def shows(self, run: Run, metrics: Mapping[str, float], tags: Mapping[str, str]) -> bool:
        """Whether the run holds these metrics and tags already, completely."""
        complete = run.info.status == "FINISHED"
        same_metrics = legal_keys(metrics).items() <= run.data.metrics.items()
        same_tags = own_tags(tags).items() <= run.data.tags.items()
        return bool(complete and same_metrics and same_tags)

    def log(
        self,
        run: Run,
        metrics: Mapping[str, float],
        params: Mapping[str, JsonValue],
        tags: Mapping[str, str],
        dataset: DatasetInfo,
    ) -> None:
        """Write what the run holds. Repeating it changes nothing: the metrics carry a fixed time."""
        from mlflow.entities import Metric, Param, RunTag

        run_id, stamp = str(run.info.run_id), int(run.info.start_time)
        if run.info.status == "FINISHED":
            stamp = milliseconds(datetime.now(UTC)) or stamp  # A later result of the same run.
        every = {**own_tags(tags), DATASET_TAG: dataset.digest}
        self.connection.retried(
            f"logging run {run_id}",
            lambda client: client.log_batch(
                run_id,
                metrics=[Metric(key, value, stamp, 0) for key, value in legal_keys(metrics).items()],
                params=[Param(key, param_text(value)) for key, value in legal_keys(params).items()],
                tags=[RunTag(key, value) for key, value in every.items()],
            ),
        )
        self.connection.retried(
            f"naming the data of run {run_id}",
            lambda client: client.log_inputs(run_id, datasets=[_dataset_input(dataset)]),
        )

    def log_steps(self, run: Run, series: Mapping[str, Sequence[float | None]]) -> None:
        """Write metrics that have a value at each of some steps, counted from 1. Repeating it changes nothing."""
        from mlflow import MlflowClient
        from mlflow.entities import Metric

        run_id, stamp = str(run.info.run_id), int(run.info.start_time)
        every = [
            Metric(key, value, stamp, step)
            for key, values in legal_keys(series).items()
            for step, value in enumerate(values, start=1)
            if value is not None
        ]
        for start in range(0, len(every), _MAX_BATCH):
            log_batch = partial(MlflowClient.log_batch, run_id=run_id, metrics=every[start : start + _MAX_BATCH])
            self.connection.retried(f"logging the steps of run {run_id}", log_batch)

    def finish(self, run: Run, seconds: float | None = None) -> None:
        """End the run, this long after its start: the last write, by which a retry knows that it is complete."""
        if run.info.status == "FINISHED":
            return
        run_id = str(run.info.run_id)
        end = None if seconds is None else int(run.info.start_time) + round(seconds * 1000)
        self.connection.retried(f"ending run {run_id}", lambda client: client.set_terminated(run_id, "FINISHED", end))

    def _search(self) -> list[Run]:
        where = f"tags.`{LINEAGE_TAG}` = '{self._lineage}'"
        return list(
            self.connection.retried(
                f"looking for runs of lineage {self._lineage!r}",
                lambda client: client.search_runs([self._experiment], where),
            )
        )

    def _mark_duplicate(self, run: Run) -> None:
        run_id = str(run.info.run_id)
        if run.data.tags.get(DUPLICATE_TAG) != "true":
            self.connection.retried(
                f"marking run {run_id} as a duplicate",
                lambda client: client.set_tag(run_id, DUPLICATE_TAG, "true"),
            )
        if run.info.status == "RUNNING":
            self.connection.retried(f"ending run {run_id}", lambda client: client.set_terminated(run_id, "KILLED"))


def _dataset_input(dataset: DatasetInfo) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    scheme = dataset.uri.partition("://")[0]
    return DatasetInput(
        dataset=Dataset(
            name=dataset.name,
            digest=dataset.digest[:_MAX_DATASET_DIGEST],  # In full as the tag mlops.dataset_digest.
            source_type="s3" if scheme == "s3" else "local",
            source=json.dumps({"uri": dataset.uri}),
            profile=json.dumps({"num_rows": dataset.rows}),
        ),
        tags=[InputTag("mlflow.data.context", "training")],
    )
