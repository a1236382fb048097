"""The trials of a search, spread over tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import MLOpsError, TransientServiceError
from airflow_mlops_provider.operators.step import Result, StepOperator, parsed
from airflow_mlops_provider.operators.training import candidate_settings, requested_candidates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_mlops_provider.results import StepResult


class SearchShardOperator(StepOperator):
    """Run some trials of a candidate's search, before `TrainModelOperator` trains the candidate.

    Map it over shards to run them on several workers. Training does not depend on it: each trial is stored as soon as
    it is done, and training runs the trials that it does not find. If the settings of a shard are wrong, the shard
    leaves them to the training task, which reports the error and fails alone. If the Param `candidates` of the DAG run
    does not contain the candidate of a shard, the shard does nothing. In both cases the task succeeds, because a failed
    or skipped instance would also stop the training of the other candidates.

    .. code-block:: python

        boosting = {
            "name": "boosting",
            "estimator": "sklearn.ensemble.HistGradientBoostingClassifier",
            "search": {
                "method": "random",
                "space": {"learning_rate": {"low": 0.01, "high": 0.3, "log": True}},
                "trials": 40,
                "shards": 2,
            },
        }
        searched = SearchShardOperator.partial(
            task_id="search", pipeline="churn", dataset=ingest.output, split=prepare.output
        ).expand(shard=[{"candidate": boosting, "index": index} for index in range(2)])
        trained = TrainModelOperator(
            task_id="train_boosting",
            pipeline="churn",
            dataset=ingest.output,
            split=prepare.output,
            candidate=boosting,
        )
        searched >> trained

    :param dataset: the output of `IngestDataOperator`.
    :param split: the output of `PrepareDataOperator`.
    :param shard: a dict of `candidate`, as for `TrainModelOperator`, and `index`, which counts from 0 and is less than
        the candidate's `search.shards`.
    """

    template_fields: Sequence[str] = (*StepOperator.template_fields, "dataset", "split", "shard")
    step = "search"

    def __init__(self, *, dataset: Result, split: Result, shard: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.split = split
        self.shard = shard

    def run(self, context: Context) -> StepResult | None:
        """Do the trials of the shard."""
        section = candidate_settings(self.shard["candidate"])
        inputs = {"dataset": [parsed(self.dataset, "dataset")], "split": [parsed(self.split, "split")]}
        if section["name"] not in requested_candidates(context, [section["name"]]):
            self.log.info("Candidate %s was not requested in this run: nothing is searched.", section["name"])
            return None
        try:
            return self.compute(context, {**section, "shard": self.shard["index"]}, inputs)
        except TransientServiceError:
            raise
        except MLOpsError as error:
            self.log.warning("Left to the task that trains %s: %s", section["name"], error)
            return None
