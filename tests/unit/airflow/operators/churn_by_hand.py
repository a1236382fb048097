"""A DAG written by hand: what its tasks are given, and how the tests run them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, ExceptionRetryPolicy, Param, RetryAction, RetryRule

from airflow_mlops_provider.assets import champion_alias, champion_asset, dataset_asset
from airflow_mlops_provider.exceptions import TransientServiceError
from airflow_mlops_provider.operators.data import IngestDataOperator, PrepareDataOperator, ValidateDataOperator
from airflow_mlops_provider.operators.gates import QualityGateOperator
from airflow_mlops_provider.operators.promotion import PromoteModelOperator
from airflow_mlops_provider.operators.publishing import PublishModelOperator
from airflow_mlops_provider.operators.training import EvaluateModelOperator, FindChampionOperator, TrainModelOperator

if TYPE_CHECKING:
    from pathlib import Path

ONLY_AWAY = ExceptionRetryPolicy(
    rules=[RetryRule(exception=[TransientServiceError, ConnectionError], action=RetryAction.RETRY)],
    default=RetryAction.FAIL,
)
CANDIDATES: list[dict[str, Any]] = [
    {"name": "logistic", "estimator": "sklearn.linear_model.LogisticRegression"},
    {"name": "tree", "estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 3}},
]
COLUMNS = {"target": "left", "numeric": ["age", "balance"], "categorical": ["plan"], "keys": ["customer"]}
METRICS = ["roc_auc", "log_loss"]


def churn_dag(
    customers: Path, *, validation: dict[str, Any] | None = None, gates: list[dict[str, Any]] | None = None
) -> DAG:
    """Return a DAG as a newcomer would write it."""
    common = {"pipeline": "churn"}
    with DAG(
        "churn",
        schedule=None,
        params={"candidates": Param(None, type=["null", "array"]), "recompute": Param(False, type="boolean")},
        default_args={"retries": 3, "retry_policy": ONLY_AWAY},
    ) as dag:
        ingest = IngestDataOperator(
            task_id="ingest",
            **common,
            task="binary",
            data={"source": {"uri": f"{customers.parents[1]}/{{{{ as_of }}}}/customers.csv"}, "columns": COLUMNS},
            outlets=[dataset_asset("churn")],
        )
        validate = ValidateDataOperator(
            task_id="validate", **common, dataset=ingest.output, validation=validation or {}
        )
        prepare = PrepareDataOperator(
            task_id="prepare",
            **common,
            dataset=ingest.output,
            preparation={"split": {"by": "random", "holdout": 0.25}},
        )
        train = TrainModelOperator.partial(
            task_id="train",
            **common,
            dataset=ingest.output,
            split=prepare.output,
            map_index_template="{{ task.candidate['name'] }}",
        ).expand(candidate=CANDIDATES)
        FindChampionOperator(task_id="champion", **common)
        evaluate = EvaluateModelOperator(
            task_id="evaluate",
            **common,
            models=train.output,
            champion="{{ ti.xcom_pull(task_ids='champion') | tojson }}",
            metrics=METRICS,
            candidates=[candidate["name"] for candidate in CANDIDATES],
        )
        gate = QualityGateOperator(
            task_id="gate",
            **common,
            evaluation=evaluate.output,
            metrics=METRICS,
            gates=gates or [{"kind": "absolute", "metric": "roc_auc", "min": 0.7}, {"kind": "champion"}],
        )
        publish = PublishModelOperator(task_id="publish", **common, evaluation=evaluate.output, gate=gate.output)
        PromoteModelOperator(
            task_id="promote",
            **common,
            evaluation=publish.output,
            gate=gate.output,
            inlets=[champion_asset("churn")],
            outlets=[champion_alias("churn")],
        )
        ingest >> validate >> prepare
    return dag


def run_all(worker: Any, dag: DAG, tasks: str, **settings: Any) -> dict[str, Any]:
    """Run tasks in their order; `train` for each candidate."""
    ended = {}
    for name in tasks.split():
        if name == "train":
            for index, candidate in enumerate(CANDIDATES):
                ended[candidate["name"]] = worker.run(dag.task_dict[name], map_index=index, **settings)
        else:
            ended[name] = worker.run(dag.task_dict[name], **settings)
    return ended


def made(ended: Any) -> dict[str, Any]:
    """Return a result without what tells whether it was computed now or earlier."""
    return {key: value for key, value in ended.xcom.items() if key != "cached"}


def ingest(**settings: Any) -> Any:
    with DAG("tested", schedule=None, default_args={"retries": 3, "retry_policy": ONLY_AWAY}):
        return IngestDataOperator(task_id="ingest", pipeline="churn", task="binary", **settings)
