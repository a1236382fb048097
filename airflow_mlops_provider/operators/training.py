"""From a dataset to an evaluation: train candidates, measure them and the champion on the same rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.operators.model import ModelOperator
from airflow_mlops_provider.operators.step import Result, StepOperator, flag, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_mlops_provider.results import StepResult


class TrainModelOperator(StepOperator):
    """Fit one candidate, preprocessing and estimator together, so that the model needs nothing else to score.

    Map it over candidates: a candidate that fails does not affect the others. If the Param `candidates` of the DAG run,
    a list of names, does not contain the candidate, the task trains nothing and returns nothing. It still succeeds,
    because after a skipped instance Airflow would skip the task that collects the others.

    .. code-block:: python

        train = TrainModelOperator.partial(
            task_id="train", pipeline="churn", dataset=ingest.output, split=prepare.output
        ).expand(
            candidate=[
                {"name": "logistic", "estimator": "sklearn.linear_model.LogisticRegression"},
                {
                    "name": "boosting",
                    "estimator": "sklearn.ensemble.HistGradientBoostingClassifier",
                    "params": {"max_iter": 100},
                    "encode": "ordinal",
                },
            ]
        )

    :param dataset: the output of `IngestDataOperator`.
    :param split: the output of `PrepareDataOperator`.
    :param candidate: a candidate as in a pipeline file, plus its `name`.
    """

    template_fields: Sequence[str] = (*StepOperator.template_fields, "dataset", "split", "candidate")
    step = "train"

    def __init__(self, *, dataset: Result, split: Result, candidate: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.split = split
        self.candidate = candidate

    def run(self, context: Context) -> StepResult | None:
        """Fit the candidate, unless the run asks for others only."""
        section = candidate_settings(self.candidate)
        if section["name"] not in requested_candidates(context, [section["name"]]):
            self.log.info("Candidate %s was not requested in this run: nothing is trained.", section["name"])
            return None
        inputs = {"dataset": [parsed(self.dataset, "dataset")], "split": [parsed(self.split, "split")]}
        return self.compute(context, section, inputs)


def candidate_settings(candidate: dict[str, Any]) -> dict[str, Any]:
    """Return a candidate as its steps take it.

    :raises SpecError: when it has no name.
    """
    name = candidate.get("name")
    if not isinstance(name, str):
        raise SpecError("a candidate has no name", got=candidate, expected="name: and estimator:")
    return {"name": name, "candidate": {key: value for key, value in candidate.items() if key != "name"}}


class FindChampionOperator(ModelOperator):
    """Look up in the ledger which champion to compare the candidates with.

    This is a task of its own, which runs beside the preparation. So evaluation does not contact any service, and
    imports nothing for that when it is repeated. If the champion changes in the meantime, `PromoteModelOperator`
    notices and compares again.
    The Param `allow_older` of the DAG run takes effect if the DAG declares it.

    .. code-block:: python

        champion = FindChampionOperator(task_id="champion", pipeline="churn")
    """

    step = "champion"

    def run(self, context: Context) -> StepResult:
        """Look it up."""
        from airflow_mlops_provider import effects
        from airflow_mlops_provider.run_context import resolve_as_of

        found = effects.find_comparable_champions(
            self.registry(),
            self.store(),
            pipeline=self.pipeline,
            model=self.model_name,
            as_of=resolve_as_of(context, self.as_of),
            allow_older=flag(context, "allow_older"),
        )
        version = found.facts["champion"]
        self.log.info("%s", "There is no champion yet." if version is None else f"The champion is version {version}.")
        return found


class EvaluateModelOperator(StepOperator):
    """Measure all candidates and the champion on the same held-out rows.

    .. code-block:: python

        evaluate = EvaluateModelOperator(
            task_id="evaluate",
            pipeline="churn",
            models=train.output,
            champion="{{ ti.xcom_pull(task_ids='champion') | tojson }}",
            metrics=["roc_auc", "log_loss"],
            candidates=["logistic", "boosting"],
            trigger_rule="all_done_min_one_success",
        )

    :param models: the output of the mapped `TrainModelOperator`, which also names the dataset and the split.
    :param metrics: metrics, as `evaluation.metrics` of a pipeline file lists them. The first one decides.
    :param candidates: names of all candidates that should have been trained, so that a lost one is reported.
    :param champion: the output of `FindChampionOperator`, passed by a template that renders JSON. If it were passed as
        `output`, that task would be another direct upstream task, and `all_done_min_one_success` would count its
        success as a candidate's. Without this argument, the candidates are measured alone, and `PromoteModelOperator`
        compares the winner with the champion.
    :param evaluation: the `evaluation` section of a pipeline file.
    :param gates: the `gates` of a pipeline file, of which only those of kind `champion` are used. If the best candidate
        does not pass them, and the champion's own recipe is among the candidates, the candidate with that recipe wins:
        a refresh on newer data.
    """

    template_fields: Sequence[str] = (*StepOperator.template_fields, "models", "champion", "evaluation", "gates")
    step = "evaluate"

    def __init__(
        self,
        *,
        models: Result,
        metrics: Sequence[str | dict[str, Any]],
        candidates: list[str],
        champion: Result | None = None,
        evaluation: dict[str, Any] | None = None,
        gates: list[dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.models = models
        self.metrics = metrics
        self.candidates = candidates
        self.champion = champion
        self.evaluation = evaluation
        self.gates = gates

    def run(self, context: Context) -> StepResult:
        """Evaluate the candidates that were trained."""
        from airflow_mlops_provider import effects

        given = [self.models] if isinstance(self.models, dict) else self.models or []
        models = [parsed(value, "models") for value in given if value is not None]
        inputs = effects.evaluation_inputs(self.store(), models)
        champion_result = json.loads(self.champion) if isinstance(self.champion, str) else self.champion
        comparable = None if self.champion is None else parsed(champion_result, "champion")
        champion = None if comparable is None else effects.champion_to_compare(self.store(), comparable, models)
        requested = requested_candidates(context, self.candidates)
        section = {
            "evaluation": self.evaluation or {},
            "metrics": self.metrics,
            "candidates": requested,
            "gates": effects.champion_gates(self.gates or []),
        }
        result = self.compute(context, section, inputs, champion=champion)
        lost: Any = result.facts.get("lost") or []
        for name in lost:
            self.log.warning("Candidate %s did not finish and is not part of this evaluation.", name)
        return effects.compared(result, champion)


def requested_candidates(context: Context, names: list[str]) -> list[str]:
    """Return the names that the run's Param `candidates` holds; all when it is empty or not declared.

    :raises SpecError: it is no list.
    """
    params: Any = context.get("params") or {}
    wanted = params.get("candidates")
    if wanted is not None and not isinstance(wanted, list):
        raise SpecError("Param candidates is not a list of names", got=wanted, expected=f"such as {names}")
    return [name for name in names if name in wanted] if wanted else names
