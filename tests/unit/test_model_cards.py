"""The card of a version and its page beside the champion, made by real trainings and published to a real MLflow."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from mlflow import MlflowClient
from sklearn import datasets
from sklearn.metrics import confusion_matrix

from airflow_mlops_provider import effects
from airflow_mlops_provider.data.tables import read_table
from airflow_mlops_provider.effects.gating import gate_inputs
from airflow_mlops_provider.evaluation.card_facts import CardFacts
from airflow_mlops_provider.evaluation.card_limits import measured_limits
from airflow_mlops_provider.evaluation.comparison_page import comparison_page
from airflow_mlops_provider.evaluation.error_analysis import measure_confusion, measure_residuals
from airflow_mlops_provider.evaluation.error_report import LEVELS, Confusion
from airflow_mlops_provider.evaluation.metrics import predictions_of
from airflow_mlops_provider.evaluation.model_card import model_card
from airflow_mlops_provider.evaluation.probe_report import ImportanceOf
from airflow_mlops_provider.evaluation.report import EvaluationReport, Slice
from airflow_mlops_provider.evaluation.verdicts import Verdict, Verdicts
from airflow_mlops_provider.exceptions import MLOpsError, SpecError
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.modeling.predictions import predictions_frame
from airflow_mlops_provider.registry import Registry
from airflow_mlops_provider.runner import request_behind, run_step
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mlops_provider.results import StepResult

AS_OF = datetime(2013, 3, 1, tzinfo=UTC)
EVIL = "</script><script>alert(1)</script>"
#: Where pages go to be looked at, when somebody asks.
PAGES = os.environ.get("MLOPS_PAGES")
TASKS = {
    "binary": (datasets.load_breast_cancer, "sklearn.linear_model.LogisticRegression", ["log_loss", "roc_auc"]),
    "multiclass": (datasets.load_wine, "sklearn.linear_model.LogisticRegression", ["log_loss", "balanced_accuracy"]),
    "regression": (datasets.load_diabetes, "sklearn.linear_model.Ridge", ["rmse", "mae", "r2"]),
}
GATES: list[dict[str, Any]] = [{"kind": "baseline"}, {"kind": "champion"}]
ABOUT = {"intended_use": "To show.", "limits": ["It was made by <hand>."], "contact": "the team"}


@dataclass
class Training:
    """One model's trainings, as the tasks of its DAG do them."""

    store: ArtifactStore
    registry: Registry
    task: str
    folder: Path
    name: str = field(default="")

    def __post_init__(self) -> None:
        self.name = f"a_{self.task}"
        load, self.estimator, self.metrics = TASKS[self.task]
        frame = load(as_frame=True).frame
        numeric = list(frame.columns.drop("target")[:6])
        self.features = [*numeric[:-1], EVIL]
        frame = frame.rename(columns={numeric[-1]: EVIL})
        frame["size"] = (frame[numeric[0]] > frame[numeric[0]].median()).map({True: "<large>", False: "small"})
        frame["key"] = range(len(frame))
        self.file = self.folder / "rows.csv"
        frame.to_csv(self.file, index=False)

    def run(self, step: str, section: dict[str, Any], champion: Any = None, **inputs: Any) -> StepResult:
        request = StepRequest(
            step=step, pipeline=self.name, as_of=AS_OF, section=section, inputs=inputs, champion=champion
        )
        return run_step(request, self.store)

    def evaluated(self, features: list[str], champion: Any = None, **params: Any) -> StepResult:
        columns = {"target": "target", "numeric": features, "categorical": ["size"], "keys": ["key"]}
        data = {"source": {"uri": str(self.file)}, "columns": columns}
        dataset = [self.run("ingest", {"task": self.task, "data": data})]
        split = [self.run("prepare", {"split": {"by": "random", "holdout": 0.6}}, dataset=dataset)]
        candidate = {"estimator": self.estimator, "params": params}
        model = self.run("train", {"name": "linear", "candidate": candidate}, dataset=dataset, split=split)
        section = {
            "metrics": self.metrics,
            "candidates": ["linear"],
            "evaluation": {
                "bootstrap": {"resamples": 40},
                "slices": ["size"],
                "min_slice_rows": 10,
            },
        }
        inputs = effects.evaluation_inputs(self.store, [model])
        return effects.compared(self.run("evaluate", section, champion, **inputs), champion)

    def published(self, evaluation: StepResult, **changes: Any) -> StepResult:
        requested: dict[str, Any] = {"gate": self.gate(evaluation, *GATES), "about": ABOUT} | changes
        return effects.publish(self.registry, self.store, evaluation, model=self.name, tags={}, **requested)

    def champion(self) -> Any:
        """Make a first champion, of fewer features, and return it as a step is told of it."""
        first = self.published(self.evaluated(self.features[:-1]))
        effects.promote(self.registry, self.store, first, self.gate(first), model=self.name, caller=("by", "hand"))
        return effects.as_champion(self.registry.history(self.name)[-1])

    def gate(self, evaluation: StepResult, *gates: dict[str, Any]) -> StepResult:
        def run(step: str, section: dict[str, Any], inputs: dict[str, list[StepResult]]) -> StepResult:
            return self.run(step, section, **inputs)

        inputs = gate_inputs(run, self.store, evaluation, gates, calls=10)
        return self.run("gate", {"gates": list(gates), "metrics": self.metrics}, **inputs)

    def dataset(self, evaluation: StepResult) -> StepResult:
        return request_behind(self.store, evaluation).inputs["dataset"][0]

    def held_out(self, evaluation: StepResult) -> tuple[Any, Any]:
        """Return the truth and what the winner said of the held-out rows."""
        inputs = request_behind(self.store, evaluation).inputs
        scored_rows = predictions_frame(self.store, inputs["models"][0].artifacts["predictions"])
        target = read_table(self.store, inputs["dataset"][0].artifacts["dataset"], ["target"])["target"].to_numpy()
        scores = scored_rows.drop(columns=["row", "fold"]).to_numpy()
        return target[scored_rows["row"]], scores[:, 0] if self.task == "regression" else scores

    def text(self, result: StepResult, role: str) -> str:
        return self.store.fetch(result.artifacts[role]).read_text(encoding="utf-8")


@pytest.fixture
def registry(mlflow_uri: str) -> Registry:
    return Registry.connect(mlflow_uri)


@pytest.fixture
def train(store: ArtifactStore, registry: Registry, tmp_path: Path) -> Callable[[str], Training]:
    return lambda task: Training(store, registry, task, tmp_path)


@dataclass
class Compared:
    """A challenger that was published beside a champion."""

    training: Training
    evaluation: StepResult
    made: StepResult
    mlflow_uri: str

    @property
    def report(self) -> EvaluationReport:
        return EvaluationReport.model_validate(self.training.store.read_json(self.made.artifacts["evaluation"]))


@pytest.fixture(scope="module")
def compared(migrated_mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Compared]:
    @cache
    def of(task: str) -> Compared:
        folder = tmp_path_factory.mktemp(task)
        shutil.copy(migrated_mlflow, folder / "mlflow.db")
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        training = Training(ArtifactStore(str(folder / "store")), Registry.connect(uri), task, folder)
        evaluation = training.evaluated(training.features, training.champion())
        return Compared(training, evaluation, training.published(evaluation), uri)

    return of


def words(html: str) -> str:
    """Return what a reader sees."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", html)))


def section(html: str, heading: str) -> str:
    """Return what a reader sees of the first section whose heading begins so."""
    parts = [part for part in html.split("<h2>")[1:] if part.startswith(heading)]
    assert parts, f"there is no section {heading!r}"
    return words(parts[0])


def safe(html: str) -> None:
    """What came with the data is text, and nothing is asked of anybody else."""
    assert EVIL in words(html)
    assert not re.search(r"<(script|link|img|iframe)|\son\w+=|https?://", html)


@pytest.mark.parametrize("task", TASKS)
def test_a_card_tells_what_a_version_is_worth_and_where_it_comes_from(
    compared: Callable[[str], Compared], task: str
) -> None:
    found = compared(task)
    training, evaluation, made, report = found.training, found.evaluation, found.made, found.report
    card, comparison = (training.text(made, role) for role in ("card", "comparison"))
    if PAGES:
        for role, text in (("card", card), ("comparison", comparison)):
            (Path(PAGES) / f"{task}-{role}.html").write_text(text, encoding="utf-8")

    # Where it is wrong, by scikit-learn's and numpy's own count.
    truth, scored_rows = training.held_out(evaluation)
    if task == "regression":
        assert report.confusion is None
        assert report.residuals is not None
        assert report.residuals.mean == pytest.approx((truth - scored_rows).mean())
        assert report.residuals.quantiles == pytest.approx(list(np.quantile(truth - scored_rows, LEVELS)))
        assert sum(report.residuals.counts) == sum(bin_.rows for bin_ in report.residuals.bins) == len(truth)
        assert f"mean {report.residuals.mean:.4g}" in section(card, "Residuals: mean")
        assert "Observed by predicted" in comparison
    else:
        assert report.residuals is None
        assert report.confusion is not None
        assert report.confusion.counts == confusion_matrix(truth, scored_rows.argmax(axis=1)).tolist()
        shown = section(card, "Confusion matrix")
        assert all(str(count) in shown for line in report.confusion.counts for count in line)
        assert "challenger" in section(comparison, "Calibration curve")

    dataset = training.dataset(evaluation)
    data = section(card, "Data")
    assert f"sha256 {dataset.artifacts['dataset'].sha256}" in data
    assert f"Source {training.file} Rows {dataset.facts['rows']:,}" in data
    lineage = section(card, "Lineage")
    assert all(key in lineage for key in (evaluation.key, str(made.facts["run_id"]), f"{training.name}, version 2"))
    assert all(name in section(card, "Features: 7") for name in [*training.features, "size"])
    for metric in training.metrics:
        span = report.intervals[metric]
        assert f"{report.challenger.metrics[metric]:.4g} {span.low:.4g} to {span.high:.4g}" in section(card, "Metrics")
    assert "size = <large>" in section(card, "Slices")
    assert "baseline pass" in section(card, "Gates")
    assert "It was made by <hand>." in section(card, "Limits")
    assert "To show." in section(card, "Intended use")

    # Beside the champion: on the same rows, each with its interval, and what it is fitted on.
    beside = report.champion
    assert beside is not None
    assert beside.compared == "paired"
    first = training.metrics[0]
    assert f"{beside.metrics[first]:.4g} {beside.intervals[first].low:.4g} to" in section(comparison, "Metrics")
    assert f"{beside.differences[first].value:+.4g}" in section(comparison, "Metrics")
    assert [one.value for one in beside.slices] == ["<large>", "small"]
    assert f"{EVIL} new numeric" in section(comparison, "Features that changed: 1; 6 did not")
    for html in (card, comparison):
        safe(html)

    # In MLflow: with the run, named by the version.
    client, version = MlflowClient(found.mlflow_uri), training.registry.version_run(training.name, 2)
    assert version.pages == {role: made.artifacts[role] for role in ("card", "comparison")}
    run_id = str(version.run_id)
    assert Path(client.download_artifacts(run_id, "model_card.html")).read_text(encoding="utf-8") == card
    assert "challenger_against_champion.html" in {file.path for file in client.list_artifacts(run_id)}
    assert "model_card.html" in client.get_model_version(training.name, "2").description


def test_published_again_there_is_one_card_and_what_people_wrote_of_the_version_stays(
    train: Callable[[str], Training], mlflow_uri: str
) -> None:
    training, client = train("binary"), MlflowClient(mlflow_uri)
    evaluation = training.evaluated(training.features)
    first = training.published(evaluation)
    client.update_model_version(training.name, "1", description="Ours.")
    again = training.published(evaluation)

    assert again.artifacts == first.artifacts
    assert "comparison" not in first.artifacts
    assert "There was no champion" in training.text(first, "card")
    assert len(client.search_model_versions(f"name = '{training.name}'")) == 1
    stored = {file.path for file in client.list_artifacts(str(first.facts["run_id"]))}
    assert stored == {"evaluation", "model_card.html"}
    assert client.get_model_version(training.name, "1").description == "Ours."

    # Other words are another card, in the same place.
    other = training.published(evaluation, about={"intended_use": "Something else."})
    assert training.registry.version_run(training.name, 1).pages == {"card": other.artifacts["card"]}
    stored = Path(client.download_artifacts(str(other.facts["run_id"]), "model_card.html"))
    assert "Something else." in stored.read_text(encoding="utf-8")

    with pytest.raises(SpecError, match="intended"):
        training.published(evaluation, about={"intended": "nothing"})


def test_a_card_shows_the_latency_that_the_gates_judged(train: Callable[[str], Training]) -> None:
    training = train("binary")
    evaluation = training.evaluated(training.features)
    assert "Latency" not in words(training.text(training.published(evaluation), "card"))
    gate = training.gate(evaluation, {"kind": "latency", "max_p95_ms": 5000})
    latency = training.store.read_document(gate.artifacts["verdicts"], Verdicts).latency
    assert latency is not None
    shown = words(training.text(training.published(evaluation, gate=gate), "card"))
    assert f"one row in {latency.p50_ms:.2f} ms (median), {latency.p95_ms:.2f} ms" in shown
    assert f"p95 {latency.p95_ms:.4g} ms" in shown


def test_verdicts_on_another_evaluation_are_on_no_card(train: Callable[[str], Training]) -> None:
    training = train("binary")
    one, other = training.evaluated(training.features), training.evaluated(training.features[:-1])
    with pytest.raises(MLOpsError, match="did not judge this evaluation"):
        training.published(one, gate=training.gate(other))


def test_held_against_a_champion_that_came_meanwhile_the_pages_say_so(train: Callable[[str], Training]) -> None:
    training = train("binary")
    made = training.published(training.evaluated(training.features))
    gate = training.gate(made, {"kind": "champion"})
    training.champion()

    effects.promote(training.registry, training.store, made, gate, model=training.name, caller=("by", "hand"))

    pages = training.registry.version_run(training.name, 1).pages
    comparison = training.store.fetch(pages["comparison"]).read_text(encoding="utf-8")
    assert "against champion, version 2" in comparison
    assert "vs v2" in section(comparison, "Gates")
    assert pages["card"] != made.artifacts["card"]


def test_a_card_says_up_to_when_the_model_knows_something_not_up_to_when_it_was_measured(
    compared: Callable[[str], Compared],
) -> None:
    found = compared("binary")
    card = CardFacts.model_validate(found.training.store.read_json(found.made.artifacts["card_facts"]))
    data = card.data.model_copy(update={"first": "2013-01-01", "last": "2013-12-31"})

    def limit(**split: Any) -> str:
        changed = card.model_copy(update={"data": data, "split": card.split.model_copy(update=split)})
        return measured_limits(changed, found.report)[0]

    assert limit(by="time", boundary="2013-10-19") == "It has not seen data from 2013-10-19 on."
    assert limit(by="cross_validation", boundary="2013-03-01") == "It has not seen data after 2013-12-31."
    assert limit(by="random") == "It has not seen data after 2013-12-31."


def test_pages_of_many_columns_slices_and_classes_stay_small_and_say_what_they_leave_out(
    compared: Callable[[str], Compared],
) -> None:
    found = compared("binary")
    made, report = found.made, found.report
    card = CardFacts.model_validate(found.training.store.read_json(made.artifacts["card_facts"]))
    columns = [f"column {number:03d} {EVIL * 100}" for number in range(500)]
    slices = [
        Slice(column=f"s{number} {EVIL * 100}", value=EVIL * 100, rows=number, metrics={"log_loss": 0.1 * number})
        for number in range(200)
    ]
    assert report.importance is not None
    assert report.champion is not None
    crowded = report.model_copy(
        update={
            "features": dict.fromkeys(columns, "numeric"),
            "importance": report.importance.model_copy(
                update={"columns": {name: ImportanceOf(mean=0.001 * at, sd=0.1) for at, name in enumerate(columns)}}
            ),
            "slices": slices,
            "confusion": Confusion(classes=[EVIL * 100] * 20, counts=[[number] * 20 for number in range(20)]),
            "too_small": dict.fromkeys(columns, 3),
            "champion": report.champion.model_copy(update={"slices": slices}),
            "lost": columns,
        }
    )
    many = card.model_copy(
        update={
            "params": {name: name for name in columns},
            "requirements": columns,
            "split": card.split.model_copy(
                update={"dropped": dict.fromkeys(columns, 0.9), "class_shares": dict.fromkeys(columns, 0.002)}
            ),
        }
    )
    verdicts = [
        Verdict(name=f"gate {EVIL * 100}", kind="absolute", passed=False, got=EVIL * 100, expected="1", why=EVIL * 100)
    ] * 200
    for html in (
        model_card(many, crowded, Verdicts(verdicts=verdicts)),
        comparison_page(many, crowded, report.champion.model_copy(update={"slices": slices}), verdicts),
    ):
        safe(html)
        assert len(html.encode()) < 500_000
        assert "The first 60 of 200 gates" in words(html)
        assert "The first 60 of 200 slices" in words(html)
    assert "The first 60 of 500 features, by importance" in words(
        model_card(many, crowded, Verdicts(verdicts=verdicts))
    )
    assert "The first 60 of 506 changed features" in words(comparison_page(many, crowded, report.champion, verdicts))


def test_a_confusion_matrix_of_many_classes_folds_the_rarest_into_one() -> None:
    generator = np.random.default_rng(3)
    truth = np.concatenate([np.arange(100), generator.integers(0, 19, size=2000)])
    scored_rows = np.eye(100)[generator.permutation(truth)]
    predictions = predictions_of("multiclass", truth, scored_rows, tuple(f"c{number}" for number in range(100)))
    found = measure_confusion(predictions)
    assert found is not None
    assert (len(found.counts), found.others, found.classes[-1]) == (20, 81, "81 others")
    assert sum(map(sum, found.counts)) == len(truth)
    whole = confusion_matrix(truth, scored_rows.argmax(axis=1))
    assert np.array(found.counts)[:19, :19].tolist() == whole[:19, :19].tolist()
    assert found.counts[19][19] == whole[19:, 19:].sum()


@pytest.mark.parametrize("values", [[1e308, -1e308, 0.0], [5.0, 5.0, 5.0]])
def test_residuals_are_finite_or_not_there(values: list[float]) -> None:
    found = measure_residuals(predictions_of("regression", np.array(values), np.zeros(3)))
    assert (found is None) == (max(values) > 1e300)
    if found is not None:
        assert sum(found.counts) == 3
