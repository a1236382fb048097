"""What earlier releases have stored is read whole. `tools/write_stored.py` says how their archives are made."""

from __future__ import annotations

import json
import sqlite3
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from mlflow import MlflowClient

import write_stored
from airflow_mlops_provider import effects
from airflow_mlops_provider.effects.champions import ComparableChampions
from airflow_mlops_provider.effects.decisions import decisions
from airflow_mlops_provider.evaluation.card_facts import CardFacts
from airflow_mlops_provider.evaluation.report import EvaluationReport
from airflow_mlops_provider.evaluation.verdicts import Verdicts
from airflow_mlops_provider.exceptions import ArtifactError
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.modeling.model_file import ModelInfo, canonical_digest, load_model
from airflow_mlops_provider.modeling.splits import SplitPlan
from airflow_mlops_provider.monitoring.drift_report import DriftReport
from airflow_mlops_provider.monitoring.estimate_report import EstimateReport
from airflow_mlops_provider.monitoring.live_report import LiveReport
from airflow_mlops_provider.overview.comparison import version_sheet
from airflow_mlops_provider.registry import Registry
from airflow_mlops_provider.results import StepResult
from airflow_mlops_provider.runner import request_behind, run_step
from airflow_mlops_provider.search.report import SearchReport
from airflow_mlops_provider.spec import Pipeline
from airflow_mlops_provider.storage import ArtifactStore
from airflow_mlops_provider.validation.checks import ValidationReport

# Of another release of scikit-learn than this one: that is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")

if TYPE_CHECKING:
    from collections.abc import Callable

ARCHIVES = sorted(Path(__file__).parent.glob("*.tar.xz"))
MODEL = write_stored.MODEL
#: By its role, what a stored JSON is.
DOCUMENTS: dict[str, Callable[[Any], Any]] = {
    "card_facts": CardFacts.read,
    "drift": DriftReport.read,
    "estimate": EstimateReport.read,
    "evaluation": EvaluationReport.read,
    "live": LiveReport.read,
    "model_info": ModelInfo.read,
    "rivals": ComparableChampions.read,
    "search": SearchReport.read,
    "split": SplitPlan.read,
    "validation": ValidationReport.read,
    "verdicts": Verdicts.read,
}


@dataclass
class Left:
    """What a release has left behind."""

    folder: Path

    def __post_init__(self) -> None:
        self.store = ArtifactStore((self.folder / "store").as_uri())
        self.mlflow = MlflowClient(f"sqlite:///{self.folder}/mlflow.db")
        self.registry = Registry.connect(f"sqlite:///{self.folder}/mlflow.db")
        results = json.loads((self.folder / "results.json").read_text(encoding="utf-8"))
        self.results = {name: StepResult.model_validate(result) for name, result in results.items()}

    def computed(self) -> list[StepResult]:
        """What steps, not effects, have returned."""
        effects_ = ("champion", "approve", "promote", "rollback")
        renamed = ("publish", "scored")
        return [
            result
            for name, result in self.results.items()
            if result.step not in effects_ and not name.endswith(renamed)
        ]

    def count(self) -> dict[str, int]:
        """How much there is in MLflow."""
        experiments = [found.experiment_id for found in self.mlflow.search_experiments()]
        return {
            "runs": len(self.mlflow.search_runs(experiments)),
            "models": len(self.mlflow.search_logged_models(experiments)),
            "versions": len(self.mlflow.search_model_versions(f"name = '{MODEL}'")),
            "entries": len(self.registry.history(MODEL)),
        }


@pytest.fixture(params=ARCHIVES, ids=lambda archive: archive.name.removesuffix(".tar.xz"))
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Left:
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    sql = (tmp_path / "mlflow.sql").read_text(encoding="utf-8").replace("{folder}", str(tmp_path))
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.executescript(sql)
    database.close()
    return Left(tmp_path)


def test_there_is_an_archive() -> None:
    assert ARCHIVES
    assert all(archive.stat().st_size < 1_000_000 for archive in ARCHIVES)


def test_every_receipt_and_request_is_read(left: Left) -> None:
    assert {result.step for result in left.computed()} == {
        "ingest", "validate", "prepare", "train", "evaluate", "gate", "score", "drift", "estimate", "live"
    }  # fmt: skip
    for result in left.computed():
        receipt = left.store.read_receipt(result.pipeline, result.step, result.key)
        assert receipt is not None, result.step
        assert receipt.artifacts == result.artifacts
        assert receipt.failure is None
        request = request_behind(left.store, result, shown_only=True)
        assert (request.step, request.pipeline) == (result.step, result.pipeline)
        with pytest.raises(ArtifactError, match=r"by an earlier release and cannot be verified. Clear that task"):
            request_behind(left.store, result)


def test_every_artifact_is_read(left: Left) -> None:
    read = set()
    for result in left.results.values():
        for role, ref in result.artifacts.items():
            file = left.store.fetch(ref)
            if file.suffix == ".json":
                DOCUMENTS[role](left.store.read_json(ref))
                read.add(role)
            elif file.suffix == ".parquet":
                assert len(pd.read_parquet(file))
            elif file.suffix == ".html":
                assert "<html" in file.read_text(encoding="utf-8")
    assert read == set(DOCUMENTS)


def test_the_ledger_and_its_answers_are_read(left: Left) -> None:
    entries = left.registry.history(MODEL)
    assert [(entry.seq, entry.action, entry.version) for entry in entries] == [
        (1, "promote", 1), (2, "promote", 2), (3, "rollback", 1), (4, "promote", 3)
    ]  # fmt: skip
    assert (entries[0].approver, entries[2].quarantined) == ("anna", 2)
    for entry in entries:
        assert entry.evaluation is not None
        EvaluationReport.model_validate(left.store.read_json(entry.evaluation))
        assert entry.reference is not None
        left.store.fetch(entry.reference)
        assert canonical_digest(left.store.fetch(entry.artifact)) == entry.digest
        assert hasattr(load_model(left.store, entry.artifact), "predict")
    [approval] = left.registry.approvals(MODEL)
    assert (approval.by, approval.answer, approval.rationale) == ("anna", "approved", "fits the spring")
    for one in (left.registry.reconcile(MODEL, repair=False), left.registry.reconcile(MODEL)):
        assert (one.agrees, one.champion, one.alias) == (True, 3, 3)


def test_the_decisions_and_messages_are_read(left: Left) -> None:
    assert [(decided.as_of, decided.champion) for decided in decisions(left.registry, MODEL)] == [
        (write_stored.date(15), 2), (write_stored.date(18), 3), (write_stored.date(19), 3)
    ]  # fmt: skip
    notices, mail = left.registry.notices(MODEL), f"{MODEL}.mail"
    stored = notices.read()
    assert notices.since(stored, mail, ["promoted"], write_stored.date(9)) == {"promoted": write_stored.date(0)}
    assert not notices.take(mail, "promoted-1", by="another"), "it was sent"
    assert notices.take(mail, "promoted-2", by="another"), "it was given back"


@pytest.mark.parametrize(("version", "candidate"), [(1, "logistic"), (2, "constant"), (3, "logistic")])
def test_a_version_and_its_pages_are_read(left: Left, version: int, candidate: str) -> None:
    pipeline = Pipeline.model_validate(
        {
            "name": MODEL,
            "task": "binary",
            "data": {"source": {"uri": str(left.folder / "rows.csv")}, "columns": write_stored.COLUMNS},
            "preparation": {"split": {"by": "time"}},
            "training": {"candidates": write_stored.CANDIDATES},
        }
    )
    sheet = version_sheet(left.registry, left.store, pipeline, version, left.registry.history(MODEL))
    assert (sheet.candidate, sheet.trouble) == (candidate, None)
    assert sheet.metrics["log_loss"].value is not None
    for ref in sheet.pages.values():
        assert b"<html" in left.store.fetch(ref).read_bytes()
    assert "card" in sheet.pages


def test_the_champion_scores(left: Left) -> None:
    champion = effects.as_champion(left.registry.history(MODEL)[-1])
    request = StepRequest(
        step="score",
        pipeline=MODEL,
        as_of=write_stored.date(19),
        section={},
        inputs={"dataset": [left.results["19 ingest for scoring"]]},
        champion=champion,
    )
    again = run_step(request.model_copy(update={"recompute": True}), left.store)
    predictions, before = (
        pd.read_parquet(left.store.fetch(result.artifacts["predictions"]))
        for result in (again, left.results["19 score"])
    )
    # Which rows lack a feature was not told then.
    pd.testing.assert_frame_equal(predictions.drop(columns="imputed"), before)


def test_what_was_published_and_promoted_is_not_done_twice(left: Left) -> None:
    before = left.count()
    assert before == {"runs": before["runs"], "models": 3, "versions": 3, "entries": 4}
    for day, version in ((12, 1), (14, 2), (16, 3)):
        evaluation = left.results[f"{day} publish"]
        again = effects.publish(
            left.registry, left.store, evaluation, model=MODEL, tags={}, gate=left.results[f"{day} gate"]
        )
        assert again.facts["version"] == version
        done = effects.promote(
            left.registry,
            left.store,
            again,
            left.results[f"{day} gate"],
            model=MODEL,
            caller=(f"{MODEL}_training", str(day), "promote", "-1"),
            approval=left.results.get(f"{day} approve"),
        )
        assert done.result.facts["status"] == "already"
    assert left.count() == before
    assert left.registry.reconcile(MODEL, repair=False).agrees
