"""Showing a training in MLflow: its candidates, and the winner registered as challenger."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_mlops_provider import __version__
from airflow_mlops_provider.effects.cards import keep_card
from airflow_mlops_provider.effects.evidence import check_evaluation, check_judged
from airflow_mlops_provider.effects.looks import keep_look
from airflow_mlops_provider.effects.refitting import REFIT, serving_of
from airflow_mlops_provider.evaluation.report import EvaluationReport
from airflow_mlops_provider.evaluation.verdicts import Verdicts
from airflow_mlops_provider.exceptions import MLOpsError
from airflow_mlops_provider.registry import (
    CandidateRun,
    DatasetInfo,
    Publication,
    PublishedModel,
    TrialRun,
    evaluation_file,
)
from airflow_mlops_provider.runner import request_behind
from airflow_mlops_provider.spec.search import with_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_mlops_provider.effects.refitting import Serving
    from airflow_mlops_provider.evaluation.report import CandidateScores
    from airflow_mlops_provider.registry import Registry
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.search.report import SearchReport
    from airflow_mlops_provider.storage import ArtifactStore


def evaluation_inputs(store: ArtifactStore, models: Sequence[StepResult]) -> dict[str, list[StepResult]]:
    """Return what candidates are measured on: the dataset and the split that each of them was trained with.

    :raises MLOpsError: when there is no candidate, two have one name, or they were trained on different data.
    """
    if not models:
        raise MLOpsError("no trained candidate to evaluate", hint="Check the train tasks of this run.")
    names = [str(model.facts.get("candidate")) for model in models]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise MLOpsError("candidates have the same name", got=twice, hint="Give each a unique name.")
    requests = [request_behind(store, model) for model in models]
    trained_on = {
        tuple(ref.sha256 for role in ("dataset", "split") for ref in request.inputs[role][0].artifacts.values())
        for request in requests
    }
    if len(trained_on) > 1:
        raise MLOpsError(
            "the candidates were trained on different data",
            got=names,
            expected="one dataset and one split",
        )
    return {"dataset": requests[0].inputs["dataset"], "split": requests[0].inputs["split"], "models": list(models)}


def publish(
    registry: Registry,
    store: ArtifactStore,
    evaluation: StepResult,
    *,
    model: str,
    tags: Mapping[str, str],
    gate: StepResult | None = None,
    about: Mapping[str, Any] | None = None,
) -> StepResult:
    """Publish the candidates to MLflow, register the winner as challenger, and keep its card.

    :param gate: the gates' verdicts on the evaluation, for the card.
    :param about: the section `card` of a pipeline file.
    :return: the evaluation, whose facts now hold the version and the run, and its artifacts the card.
    """
    # Equal evaluations are of equal trainings: the stored request names them.
    inputs = check_evaluation(store, evaluation, shown_only=True).inputs
    verdicts = Verdicts(verdicts=[])
    if gate is not None:
        check_judged(store, evaluation, gate, shown_only=True)
        verdicts = store.read_document(gate.artifacts["verdicts"], Verdicts)
        # Also of a challenger that was refused: it might have passed. Whether it holds is promote's to see.
        keep_look(registry, store, evaluation, gate, model=model)
    dataset = inputs["dataset"][0]
    serving = serving_of(store, evaluation)
    measured = store.read_document(evaluation.artifacts["evaluation"], EvaluationReport)
    snapshot = dataset.artifacts["dataset"]
    everywhere = {**tags, **_environment()}
    runs = [candidate_run(store, one, measured, everywhere) for one in inputs["models"]]
    candidates = {run.name: run for run in runs}
    winner = candidates[measured.winner]
    copy = {evaluation_file(evaluation.artifacts["evaluation"].sha256): _evaluation_text(store, evaluation)}
    candidates[measured.winner] = winner.model_copy(update={"files": winner.files | copy})
    published = registry.publish(
        Publication(
            model=model,
            experiment=evaluation.pipeline,
            lineage=measured.lineage,
            as_of=evaluation.as_of,
            name=f"{evaluation.pipeline} {evaluation.as_of:%Y-%m-%d}",
            tags={
                **everywhere,
                "mlops.as_of": evaluation.as_of.isoformat(),
                **({"mlops.lost_candidates": ", ".join(measured.lost)} if measured.lost else {}),
            },
            dataset=DatasetInfo(
                name=f"{evaluation.pipeline}.dataset",
                digest=snapshot.sha256,
                uri=snapshot.uri,
                rows=int(str(dataset.facts["rows"])),
            ),
            candidates=list(candidates.values()),
            metrics=_defined(measured.candidates[measured.winner].metrics) | measured.shown,
            files=_page(store, evaluation, measured),
            winner=measured.winner,
            model_info=_published_model(serving),
            evaluation=evaluation.key,
            refit=None if serving.report is None else str(evaluation.facts[REFIT]),
            judged=None if serving.judged is None else serving.judged.sha256,
            trained_to=serving.trained_to,
            model_file=lambda: store.fetch(serving.artifact),
        )
    )
    facts = {
        # These are the evaluate task's to tell: the pages take their place in XCom.
        **{name: value for name, value in evaluation.facts.items() if name not in ("lost", "worst_slice", "folds")},
        "version": published.version,
        "run_id": published.run_id,
        "experiment_id": published.experiment_id,
    }
    made = evaluation.model_copy(update={"facts": facts})
    params = candidates[measured.winner].params
    pages = keep_card(registry, store, made, measured, model=model, params=params, verdicts=verdicts, about=about or {})
    # The evaluation's own page is the evaluate task's to show.
    others = {role: ref for role, ref in evaluation.artifacts.items() if role != "report"}
    return made.model_copy(update={"artifacts": {**pages, **others}})


def links(ui_url: str | None, model: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """Return addresses in the MLflow UI, by the name of the link; none when there is no UI.

    :param facts: those of a result: `version`, `run_id` and `experiment_id`, as far as they are there.
    """
    if ui_url is None:
        return {}
    found = {}
    if "run_id" in facts:
        found["MLflow run"] = f"{ui_url}/#/experiments/{facts['experiment_id']}/runs/{facts['run_id']}"
    if "version" in facts:
        found["MLflow model version"] = f"{ui_url}/#/models/{quote(model, safe='')}/versions/{facts['version']}"
    return found


def candidate_run(
    store: ArtifactStore, trained: StepResult, measured: EvaluationReport, tags: Mapping[str, str]
) -> CandidateRun:
    """Return what is shown of a candidate: its parameters, its metrics, its trials."""
    request = request_behind(store, trained, shown_only=True)
    settings = request.section["candidate"]
    facts: Any = trained.facts
    name = facts["candidate"]
    own = {key: value for key, value in settings.items() if key not in ("params", "search")} | {"seed": request.seed}
    searched = _search(store, trained)
    chosen = with_values(settings.get("params", {}), {} if searched is None else searched.params)
    # A calibration has a parameter `estimator` of its own, a booster a `seed`.
    params = {f"params.{key}" if key in own else key: value for key, value in chosen.items()}
    return CandidateRun(
        name=name,
        step_key=trained.key,
        params=params | own,
        metrics=_defined(measured.candidates[name].metrics)
        | _decision(measured.candidates[name])
        | _fold_means(measured.candidates[name]),
        # Under names of their own: of a metric with steps, MLflow shows the last one as its value.
        folds={f"fold/{metric}": values for metric, values in measured.candidates[name].folds.items()},
        tags={**tags, **({} if searched is None else {"mlops.search": searched.reason})},
        seconds=facts.get("fit_seconds"),
        trials=[] if searched is None else _trials(searched),
        files={} if searched is None else _files(searched),
    )


def _page(store: ArtifactStore, evaluation: StepResult, measured: EvaluationReport) -> dict[str, str]:
    """Return the evaluation's page when groups or an explanation were requested: metrics alone do not show them."""
    if measured.fairness is None and measured.explanation is None:
        return {}
    return {"evaluation.html": store.fetch(evaluation.artifacts["report"]).read_text(encoding="utf-8")}


def _evaluation_text(store: ArtifactStore, evaluation: StepResult) -> str:
    """Return the evaluation byte for byte: the artifact store names it by its digest."""
    return store.fetch(evaluation.artifacts["evaluation"]).read_bytes().decode()


def _search(store: ArtifactStore, trained: StepResult) -> SearchReport | None:
    """Return the search behind a candidate's parameters, when it had one."""
    if "search" not in trained.artifacts:
        return None
    from airflow_mlops_provider.search.report import SearchReport

    return store.read_document(trained.artifacts["search"], SearchReport)


def _files(searched: SearchReport) -> dict[str, str]:
    from airflow_mlops_provider.search.page import files_of

    return {f"search/{name}": text for name, text in files_of(searched).items()}


def _trials(searched: SearchReport) -> list[TrialRun]:
    """Return the trials as runs, one after another in time."""
    spent = 0.0
    runs = []
    for trial in searched.trials:
        measured = {} if trial.score is None else {searched.metric: trial.score}
        runs.append(
            TrialRun(
                number=trial.number,
                params=trial.params,
                metrics={**measured, "seconds": trial.seconds, "share_of_rows": trial.share},
                after=spent,
                seconds=trial.seconds,
                why=trial.why,
            )
        )
        spent += trial.seconds
    return runs


def _published_model(serving: Serving) -> PublishedModel:
    model = serving.info
    return PublishedModel(
        digest=model.digest,
        sha256=serving.artifact.sha256,
        artifact=serving.artifact,
        numeric=[feature.name for feature in model.features if feature.kind == "numeric"],
        categorical=[feature.name for feature in model.features if feature.kind == "categorical"],
        target=model.target,
        requirements=model.requirements,
        trusted_types=model.trusted_types,
        predict_function=model.predict_fn,
        input_example=model.input_example,
    )


def _defined(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Return the metrics that have a value on these rows."""
    return {name: value for name, value in metrics.items() if value is not None}


def _decision(scores: CandidateScores) -> dict[str, float]:
    """Return how far the probabilities are off, and from which on a row is called positive."""
    error = None if scores.calibration is None else scores.calibration.error
    return _defined({"calibration_error": error, "decision_threshold": scores.threshold})


def _fold_means(scores: CandidateScores) -> dict[str, float]:
    """Return the means over the folds, with their intervals."""
    found = {
        f"fold_{part}/{metric}": getattr(mean, part)
        for metric, mean in scores.fold_means.items()
        for part in ("mean", "low", "high")
    }
    return _defined(found)


def _environment() -> dict[str, str]:
    """Return what made a run: code version and machine."""
    return {
        "mlops.version": __version__,
        "mlops.python": platform.python_version(),
        "mlops.machine": f"{platform.system()} {platform.machine()}",
    }
