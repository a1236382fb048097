"""The trials of a search, spread over tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import MLOpsError, TransientServiceError
from airflow_mlops_provider.operators.step import Result, StepOperator, parsed
from airflow_mlops_provider.operators.training import asked_for, candidate_section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_mlops_provider.results import StepResult


class SearchShardOperator(StepOperator):
    """Do some of the trials of a candidate's search, for the `TrainModelOperator` that comes after it.

    Map it over shards, so that they run on several workers. Nothing depends on it: each trial is kept as soon as it is
    done, and training does itself what it does not find. A shard whose settings are wrong is left to the training task,
    which says what is wrong and fails alone, and so is one of a candidate that the Param `candidates` of the DAG run
    does not hold. Both succeed: a failed or skipped instance would take the other candidates along.

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

    :param dataset: what `IngestDataOperator` returned.
    :param split: what `PrepareDataOperator` returned.
    :param shard: `candidate`, as `TrainModelOperator` takes it, and `index`, from 0 on, below its `search.shards`.
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
        section = candidate_section(self.shard["candidate"])
        inputs = {"dataset": [parsed(self.dataset, "dataset")], "split": [parsed(self.split, "split")]}
        if section["name"] not in asked_for(context, [section["name"]]):
            self.log.info("Candidate %s was not asked for in this run: nothing is searched.", section["name"])
            return None
        try:
            return self.compute(context, {**section, "shard": self.shard["index"]}, inputs)
        except TransientServiceError:
            raise
        except MLOpsError as error:
            self.log.warning("Left to the task that trains %s: %s", section["name"], error)
            return None
