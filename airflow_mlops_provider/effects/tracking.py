"""Trainings mirrored from MLflow to other experiment trackers, once they are published: no verdict depends on it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.allow_list import users_code
from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.effects.evidence import check_evaluation
from airflow_mlops_provider.effects.publishing import candidate_run
from airflow_mlops_provider.evaluation.report import EvaluationReport
from airflow_mlops_provider.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_mlops_provider.allow_list import AllowList
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.spec.trackers import Tracker
    from airflow_mlops_provider.storage import ArtifactStore

_HINT = "Correct the function, then clear the task `mirror`: nothing is trained again."
#: Characters of an evaluation's key that tell one training of a moment from another.
_SHORT = 8


def runs_to_mirror(
    store: ArtifactStore, published: StepResult, *, model: str, tags: Mapping[str, str], links: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return what was published of a training, a run for each candidate, as JSON has it.

    :param published: the result of publish.
    :param links: addresses in MLflow, by their names.
    """
    measured = store.read_document(published.artifacts["evaluation"], EvaluationReport)
    pages = {role: ref for role, ref in published.artifacts.items() if ref.uri.endswith(".html")}
    runs = []
    for trained in check_evaluation(store, published, shown_only=True).inputs["models"]:
        run = candidate_run(store, trained, measured, tags)
        won = run.name == measured.winner
        runs.append(
            {
                # Without a colon, which other trackers do not take.
                "id": f"{as_of_text(published.as_of).replace(':', '')}-{run.name}-{published.key[:_SHORT]}",
                "pipeline": published.pipeline,
                "as_of": as_of_text(published.as_of),
                "candidate": run.name,
                "winner": won,
                "model": model,
                "version": published.facts["version"] if won else None,
                "params": dict(run.params),
                "metrics": dict(run.metrics),
                "folds": {name: list(values) for name, values in run.folds.items()},
                "tags": dict(run.tags),
                "seconds": run.seconds,
                "links": dict(links),
                "pages": {role: store.fetch(ref).read_text(encoding="utf-8") for role, ref in pages.items()}
                if won
                else {},
            }
        )
    return runs


def mirror(trackers: Sequence[Tracker], runs: list[dict[str, Any]], allow_list: AllowList) -> None:
    """Give the runs of a training to each tracker, in order.

    Safe to repeat: a tracker that has a run is given it again, under the same `id`.

    :raises MLOpsError: a function raised; names it.
    :raises TransientServiceError: a tracker cannot be reached.
    """
    for tracker in trackers:
        function = allow_list.load_function(tracker.function)
        failpoint("mirror.before")
        with users_code(f"tracker {tracker.function}", _HINT):
            function(copy.deepcopy(runs), **tracker.params)
        failpoint("mirror.after")
