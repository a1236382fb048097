"""What serves is not what was judged: both are named, compared and kept."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from churn_world import BETTER, CANDIDATES, CHURN, World, churn_world
from sklearn.metrics import log_loss

from airflow_mlops_provider import effects
from airflow_mlops_provider.data.tables import read_table, table_schema
from airflow_mlops_provider.effects.stored_files import champion_of
from airflow_mlops_provider.evaluation.report import EvaluationReport
from airflow_mlops_provider.evaluation.verdicts import Verdicts
from airflow_mlops_provider.exceptions import ArtifactError, MLOpsError, RegistryError
from airflow_mlops_provider.modeling.model_file import load_model
from airflow_mlops_provider.modeling.predictions import predictions_frame
from airflow_mlops_provider.modeling.refit_report import RefitReport
from airflow_mlops_provider.registry.write_once import MAX_VALUE
from airflow_mlops_provider.runner import request_behind, run_step

if TYPE_CHECKING:
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.storage import ArtifactStore


@pytest.fixture
def world(store: ArtifactStore, mlflow_uri: str, tmp_path: Path) -> World:
    """Customers with a moment each, two an hour from 2013-01-01 on."""
    world = churn_world(store, mlflow_uri, tmp_path)
    head, *rows = world.customers.read_text().splitlines()
    first = datetime(2013, 1, 1, tzinfo=UTC)
    lines = [f"{row},{(first + timedelta(minutes=30 * place)).isoformat()}" for place, row in enumerate(rows)]
    world.customers.write_text("\n".join([f"{head},moment", *lines]) + "\n")
    world.timestamp = "moment"
    return world


def report_of(world: World, published: StepResult) -> RefitReport:
    return world.store.read_document(published.artifacts["refit"], RefitReport)


def test_the_ledger_names_what_serves_and_what_was_judged(world: World) -> None:
    model = world.trained("good")
    published, gate = world.refitted(model)
    world.promote(published, gate)

    [entry] = world.registry.history(CHURN)
    champion, report = effects.as_champion(entry), report_of(world, published)

    assert entry.judged == champion.judged == model.artifacts["model"]
    assert entry.artifact == champion.model == report.model != entry.judged
    assert entry.sha256 == entry.artifact.sha256
    assert entry.trained_to == champion.trained_to == datetime(2013, 1, 9, 7, 30, tzinfo=UTC)
    assert entry.metrics == published.facts["metrics"]
    assert len(entry.render()) < MAX_VALUE / 2
    assert world.registry.reconcile(CHURN).agrees


def test_the_version_in_mlflow_is_what_serves(world: World, tmp_path: Path) -> None:
    published, _ = world.refitted(world.trained("good"))
    version = world.registry.version_run(CHURN, int(str(published.facts["version"])))
    report = report_of(world, published)

    assert world.registry.version(CHURN, version.version).artifact == report.model
    assert (version.refit, version.judged) == (published.facts["refit"], report.judged.sha256)
    assert version.trained_to == report.trained_to
    copy = world.registry.download_copy(CHURN, version.version, "model.skops", tmp_path)
    assert copy.read_bytes() == world.store.fetch(report.model).read_bytes()


def test_publishing_again_adds_nothing(world: World) -> None:
    model = world.trained("good")
    first, _ = world.refitted(model)
    again, _ = world.refitted(model)
    assert again.facts == first.facts


def test_a_card_says_which_rows_it_saw_and_whose_figures_it_shows(world: World) -> None:
    published, _ = world.refitted(world.trained("good"))
    card = world.store.fetch(published.artifacts["card"]).read_text(encoding="utf-8")
    assert "refitted on all 400 rows, the last from 2013-01-09T07:30:00+00:00" in card
    assert report_of(world, published).judged.sha256 in card


def test_a_person_is_asked_about_the_model_that_will_serve(world: World) -> None:
    published, gate = world.refitted(world.trained("good"))
    requested = world.question(published, gate).body
    report = report_of(world, published)
    assert report.model.sha256 in requested
    assert report.judged.sha256 in requested


def test_without_a_refit_the_judged_model_serves_and_the_ledger_says_what_it_saw(world: World) -> None:
    published, gate = world.refitted(world.trained("good"), refit="none")
    world.promote(published, gate)
    [entry] = world.registry.history(CHURN)
    assert (entry.judged, entry.artifact) == (None, published.artifacts["model"])
    assert entry.trained_to == report_of(world, published).judged_to
    assert report_of(world, published).rows < 400


def test_judged_models_are_compared_and_never_what_serves(world: World) -> None:
    world.promote(*world.refitted(world.trained("good")))
    [entry] = world.registry.history(CHURN)
    assert entry.judged is not None
    of_judged, of_serving = (_log_loss(world, load_model(world.store, one)) for one in (entry.judged, entry.artifact))

    challenger = world.evaluated(world.trained("calibrated"))
    request = request_behind(world.store, challenger).model_copy(update={"champion": effects.as_champion(entry)})
    evaluation = run_step(request, world.store)
    message = world.store.read_document(world.gate(evaluation, BETTER).artifacts["verdicts"], Verdicts)

    measured = world.store.read_document(evaluation.artifacts["evaluation"], EvaluationReport).champion
    assert measured is not None
    assert (measured.compared, measured.refitted) == ("paired", True)
    assert measured.metrics["log_loss"] == pytest.approx(of_judged, abs=1e-12)
    assert abs(of_judged - of_serving) > 1e-6
    assert "two procedures, not the serving models" in message.verdicts[0].why


def _log_loss(world: World, model: Any) -> float:
    """Return the log loss on the held-out rows."""
    trained = world.trained("good")
    dataset = request_behind(world.store, trained).inputs["dataset"][0].artifacts["dataset"]
    rows = read_table(world.store, dataset, ["age", "left"]).iloc[
        predictions_frame(world.store, trained.artifacts["predictions"])["row"].to_numpy()
    ]
    return float(log_loss(rows["left"], model.predict_proba(rows[["age"]].astype(np.float64))))


# ---------------------------------------------------------------- evidence


def test_nothing_is_promoted_when_the_refit_has_no_result(world: World) -> None:
    evaluation = world.evaluated(world.trained("good"))
    gate = world.gate(evaluation)
    for refit in (None, world.refit(evaluation, gate).model_copy(update={"failure": {"what": "is too large"}})):
        shown = effects.with_refit(evaluation, refit)
        published = effects.publish(world.registry, world.store, shown, model=CHURN, tags={}, gate=gate)
        for act in (world.promote, world.question):
            with pytest.raises(MLOpsError, match=r"has no result, so there is no model to serve.*refit task"):
                act(published, gate)
    assert world.registry.history(CHURN) == []


def test_a_model_that_the_gates_refuse_is_shown_as_it_was_judged(world: World) -> None:
    evaluation = world.evaluated(world.trained("good"))
    gate = world.gate(evaluation, {"kind": "absolute", "metric": "log_loss", "max": 0.001, "on_fail": "skip"})
    shown = effects.with_refit(evaluation, None)
    published = effects.publish(world.registry, world.store, shown, model=CHURN, tags={}, gate=gate)
    assert world.registry.version(CHURN, 1).artifact == evaluation.artifacts["model"]
    assert world.promote(published, gate).reason.startswith("Not promoted: absolute: log_loss")


def test_the_refit_of_another_model_is_refused(world: World) -> None:
    good, gate = world.refitted(world.trained("good"))
    other, _ = world.refitted(world.trained("calibrated"))
    for part in (
        {"facts": {**good.facts, "refit": other.facts["refit"]}},
        {"artifacts": {**good.artifacts, "refit": other.artifacts["refit"]}},
    ):
        with pytest.raises(ArtifactError, match=r"is of a different model than the gates judged.*Clear the refit task"):
            world.promote(good.model_copy(update=part), gate)
    assert world.registry.history(CHURN) == []


def test_another_model_in_the_refits_receipt_is_refused(world: World) -> None:
    good, gate = world.refitted(world.trained("good"))
    other, _ = world.refitted(world.trained("calibrated"))
    receipt = world.store.read_receipt(CHURN, "refit", str(good.facts["refit"]))
    assert receipt is not None
    forged = {**receipt.artifacts, "refit": other.artifacts["refit"]}
    world.store.write_receipt(receipt.model_copy(update={"artifacts": forged}))
    with pytest.raises(MLOpsError):
        world.promote(good, gate)
    assert world.registry.history(CHURN) == []


# ---------------------------------------------------------------- files


def test_a_lost_judged_model_is_trained_anew(world: World) -> None:
    world.promote(*world.refitted(world.trained("good")))
    [entry] = world.registry.history(CHURN)
    assert entry.judged is not None
    file = world.store.fetch(entry.judged)
    content = file.read_bytes()
    file.unlink()

    champion = champion_of(world.registry, world.store, CHURN, CHURN, entry)

    assert champion.lost == ()
    assert world.store.fetch(entry.judged).read_bytes() == content


def test_a_judged_model_lost_for_good_is_named_and_the_champion_serves_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.promote(*world.refitted(world.trained("good")))
    [entry] = world.registry.history(CHURN)
    assert entry.judged is not None
    world.store.fetch(entry.judged).unlink()
    world.customers.unlink()
    monkeypatch.setattr("airflow_mlops_provider.effects.stored_files._train_anew", lambda *args: "the rows are gone")

    champion = champion_of(world.registry, world.store, CHURN, CHURN, entry)

    assert (champion.lost, champion.judged, champion.model) == (("judged model",), entry.judged, entry.artifact)


def test_a_rollback_brings_both_back(world: World) -> None:
    world.promote(*world.refitted(world.trained("good")))
    world.make_champion("poor")
    first, _ = world.registry.history(CHURN)
    effects.roll_back(
        world.registry,
        world.store,
        pipeline=CHURN,
        model=CHURN,
        to="previous",
        reason="poor",
        caller=("churn_rollback",),
    )
    head = world.registry.head(CHURN)
    assert head is not None
    assert (head.judged, head.trained_to) == (first.judged, first.trained_to)


# ---------------------------------------------------------------- by hand


def _by_hand(world: World) -> Any:
    from airflow_mlops_provider.allow_list import AllowList
    from airflow_mlops_provider.effects.by_hand import promote_by_hand
    from airflow_mlops_provider.pipelines import parse_pipeline

    settings = {
        "name": CHURN,
        "task": "binary",
        "data": {"source": {"uri": str(world.customers)}, "columns": {"target": "left", "numeric": ["age"]}},
        "training": {"candidates": {"good": CANDIDATES["good"]}},
        "preparation": {"split": {"by": "random"}},
        "evaluation": {"metrics": ["log_loss"]},
    }
    pipeline = parse_pipeline(settings, where="churn.yaml")
    return promote_by_hand(
        world.registry, world.store, pipeline, 1, reason="fits", approver=None, allow_list=AllowList()
    )


@pytest.mark.parametrize("refit", ["all", "none"])
def test_a_promotion_by_hand_serves_what_the_version_is(world: World, refit: str) -> None:
    published, _ = world.refitted(world.trained("good"), refit=refit)
    report = report_of(world, published)

    assert not _by_hand(world).skipped

    [entry] = world.registry.history(CHURN)
    assert (entry.artifact, entry.trained_to) == (report.model, report.trained_to)
    assert entry.judged == (report.judged if refit == "all" else None)


def test_a_promotion_by_hand_needs_the_result_of_the_refit(world: World, tmp_path: Path) -> None:
    world.refitted(world.trained("good"))
    [receipts] = tmp_path.rglob("receipts/churn/refit")
    shutil.rmtree(receipts)
    with pytest.raises(
        RegistryError, match=r"the refit of version 1 of 'churn' on all rows is lost.*Clear the refit task"
    ):
        _by_hand(world)
    assert world.registry.history(CHURN) == []


def test_a_lost_reference_is_made_again_with_what_serves_says(world: World) -> None:
    world.promote(*world.refitted(world.trained("good")))
    [entry] = world.registry.history(CHURN)
    assert entry.reference is not None
    assert "serving_p_1" in table_schema(world.store, entry.reference).names
    Path(entry.reference.uri.removeprefix("file://")).unlink()

    champion = champion_of(world.registry, world.store, CHURN, CHURN, entry)

    assert (champion.reference, champion.lost) == (entry.reference, ())
    assert world.store.holds(entry.reference)


def test_a_refit_whose_reference_is_lost_is_made_again_when_it_is_cleared(world: World) -> None:
    published, _ = world.refitted(world.trained("good"))
    reference = report_of(world, published).reference
    assert reference is not None
    Path(reference.uri.removeprefix("file://")).unlink()
    world.refitted(world.trained("good"))
    assert world.store.holds(reference)
