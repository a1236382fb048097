from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from evaluated_world import LOGISTIC, METRICS, World, rows_of
from sklearn.metrics import roc_auc_score

from airflow_mlops_provider.modeling.predictions import predictions_frame

if TYPE_CHECKING:
    from airflow_mlops_provider.storage import ArtifactStore

# ---------------------------------------------------------------- slices


def test_every_slice_with_enough_rows_is_measured_and_the_worst_is_named(world: World) -> None:
    (model,) = world.train(logistic=LOGISTIC)
    result = world.evaluate([model], METRICS, slices=["town"])
    report = world.read(result)
    assert {item.value for item in report.slices} == {"Ams", "Ber"}
    assert report.too_small == {"town": 1}
    worst = min(report.slices, key=lambda item: item.metrics["roc_auc"] or 0)
    assert report.worst_slices["roc_auc"].value == worst.value
    assert report.worst_slices["log_loss"].metric == max(item.metrics["log_loss"] or 0 for item in report.slices)
    assert result.facts["worst_slice"]["value"] == worst.value
    truth, scores = world.held_out(model)
    towns = rows_of("binary")["town"].iloc[predictions_frame(world.store, model.artifacts["predictions"])["row"]]
    inside = (towns == "Ber").to_numpy()
    (slice_,) = [item for item in report.slices if item.value == "Ber"]
    assert slice_.rows == inside.sum()
    assert slice_.metrics["roc_auc"] == pytest.approx(roc_auc_score(truth[inside], scores[inside, 1]), abs=1e-9)


def test_a_slice_of_one_class_is_kept_with_the_reason(store: ArtifactStore) -> None:
    frame = rows_of("binary")
    frame.loc[frame["town"] == "Ber", "target"] = 0
    world = World(store).load(frame)
    report = world.report(world.train(logistic=LOGISTIC), METRICS, slices=["town"])
    (slice_,) = [item for item in report.slices if item.value == "Ber"]
    assert slice_.metrics["roc_auc"] is None
    assert slice_.undefined == {"roc_auc": "no rows of class 1"}
    assert slice_.metrics["brier"] is not None
    assert report.worst_slices["roc_auc"].value == "Ams"


def test_rows_without_a_value_are_a_slice_of_their_own(store: ArtifactStore) -> None:
    frame = rows_of("binary")
    frame.loc[frame.index[:150], "town"] = None
    world = World(store).load(frame, missing={"max_share": 0.5})
    report = world.report(world.train(logistic=LOGISTIC), METRICS, slices=["town"])
    assert "(missing)" in {item.value for item in report.slices}


# ---------------------------------------------------------------- the winner


def test_importance_finds_the_column_that_matters(world: World) -> None:
    report = world.report(world.train(logistic=LOGISTIC), METRICS)
    assert report.importance is not None
    assert set(report.importance.columns) == {"height", "noise", "town"}
    assert report.importance.columns["height"].mean > 0.1
    assert abs(report.importance.columns["noise"].mean) < 0.1
    assert report.importance.rows == 100


def test_importance_for_a_loss_is_positive_too(world: World) -> None:
    report = world.report(world.train(logistic=LOGISTIC), ["log_loss"])
    assert report.importance is not None
    assert report.importance.columns["height"].mean > 0.1


def test_importance_can_be_left_out(world: World) -> None:
    assert world.report(world.train(logistic=LOGISTIC), METRICS, importance=None).importance is None


def test_the_size_of_the_model_file_is_measured(world: World) -> None:
    (model,) = world.train(logistic=LOGISTIC)
    assert world.report([model], METRICS).model_bytes == model.artifacts["model"].size


def test_prediction_shares_stand_beside_those_of_the_training_target(world: World) -> None:
    (model,) = world.train(logistic=LOGISTIC)
    stats = world.report([model], METRICS).predictions
    _, scores = world.held_out(model)
    assert stats.shares["1"] == pytest.approx((scores[:, 1] > 0.5).mean())
    assert stats.expected_shares["1"] == pytest.approx(scores[:, 1].mean())
    assert stats.shift == pytest.approx(abs(stats.expected_shares["1"] - stats.target_shares["1"]))
