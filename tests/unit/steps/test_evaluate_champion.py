from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from evaluated_world import LOGISTIC, METRICS, STUMP, World, champion_of, rows_of
from sklearn.metrics import roc_auc_score

from airflow_mlops_provider.evaluation.report import SplitSignature

if TYPE_CHECKING:
    from airflow_mlops_provider.storage import ArtifactStore


def test_a_champion_that_is_the_challenger_differs_by_nothing(world: World) -> None:
    (model,) = world.train(logistic=LOGISTIC)
    report = world.report([model], METRICS, champion=champion_of(model))
    assert report.champion is not None
    assert report.champion.compared == "paired"
    assert report.champion.metrics == pytest.approx(report.challenger.metrics)
    for name in METRICS:
        difference = report.champion.differences[name]
        assert difference.value == pytest.approx(0, abs=1e-12)
        assert difference.quantiles == pytest.approx([0.0] * 40, abs=1e-9)


def test_a_better_challenger_gains_on_the_same_resamples(world: World) -> None:
    logistic, stump = world.train(logistic=LOGISTIC, stump=STUMP)
    result = world.evaluate([logistic], METRICS, champion=champion_of(stump))
    champion = world.read(result).champion
    assert champion is not None
    truth, scores = world.held_out(stump)
    assert champion.metrics["roc_auc"] == pytest.approx(roc_auc_score(truth, scores[:, 1]), abs=1e-9)
    for name in METRICS:
        difference = champion.differences[name]
        assert difference.value is not None
        assert difference.value > 0
        assert difference.quantiles == sorted(difference.quantiles)
        assert difference.quantiles[0] < difference.value < difference.quantiles[-1]
    assert result.facts["champion"] == 7


def test_a_champion_may_use_a_feature_that_was_dropped_since(world: World) -> None:
    (model,) = world.train(logistic=LOGISTIC)
    frame = rows_of("binary")
    frame.loc[frame.index[::2], "noise"] = np.nan
    later = World(world.store).load(frame, missing={"max_share": 0.3, "over": "drop"})
    report = later.report(later.train(stump=STUMP), METRICS, champion=champion_of(model))
    assert report.champion is not None
    assert report.champion.unusable is None
    assert report.champion.metrics["roc_auc"] is not None


@pytest.mark.parametrize(
    ("change", "roles", "reason"),
    [
        (lambda frame: frame.drop(columns="noise"), {"numeric": ["height"]}, "needs feature 'noise' as numeric"),
        (
            lambda frame: frame.assign(height=pd.Categorical(frame["height"].round().astype(str))),
            {"numeric": ["noise"], "categorical": ["town", "height"]},
            "needs feature 'height' as numeric: got 'height' as categorical",
        ),
        (
            lambda frame: frame.assign(town=frame["town"].cat.codes.astype(float)),
            {"numeric": ["noise", "height", "town"], "categorical": []},
            "needs feature 'town' as categorical",
        ),
        (lambda frame: frame.assign(target=frame["target"].map({0: "no", 1: "yes"})), {}, "other classes"),
    ],
    ids=["column gone", "number now a category", "category now a number", "other classes"],
)
def test_a_champion_that_cannot_be_asked_is_unusable_with_the_reason(
    world: World, change: Any, roles: dict[str, Any], reason: str
) -> None:
    (model,) = world.train(logistic=LOGISTIC)
    later = World(world.store).load(change(rows_of("binary")), roles=roles)
    result = later.evaluate(later.train(stump=STUMP), METRICS, champion=champion_of(model))
    champion = later.read(result).champion
    assert champion is not None
    assert champion.unusable is not None
    assert reason in champion.unusable
    assert champion.differences == {}
    assert champion.metrics == dict.fromkeys(METRICS)
    assert result.facts["champion"] == 7


@pytest.mark.parametrize(
    ("before", "paired"),
    [
        ({"by": "random", "holdout": 0.4}, True),
        ({"by": "random", "holdout": 0.3}, False),
        ({"by": "cross_validation", "folds": 4}, False),
    ],
)
def test_a_champion_of_another_split_has_seen_rows_that_are_held_out_now(
    store: ArtifactStore, before: dict[str, Any], paired: bool
) -> None:
    first = World(store).load(rows_of("binary"), **{"split": before["by"]})
    first.split = [first.run("prepare", {"split": before}, dataset=first.dataset)]
    (model,) = first.train(logistic=LOGISTIC)
    judged = first.evaluate([model], METRICS)
    champion = champion_of(model, metrics={"roc_auc": 0.6}, evaluation=judged.artifacts["evaluation"])
    now = World(store).load(rows_of("binary"))
    report = now.report(now.train(stump=STUMP), METRICS, champion=champion)
    assert report.champion is not None
    assert report.champion.compared == ("paired" if paired else "recorded")
    assert (report.champion.seen is None) == paired
    then = first.read(judged)
    # Asked on the very rows that it was measured on then, it says the same.
    assert report.champion.intervals == then.intervals
    assert report.champion.calibration == then.challenger.calibration
    assert (report.champion.candidate, report.champion.rows) == ("logistic", then.rows)
    assert report.champion.features == {"height": "numeric", "noise": "numeric", "town": "categorical"}


def test_by_time_only_a_champion_of_a_later_boundary_has_seen_the_holdout() -> None:
    early, late = (SplitSignature(by="time", holdout=0.2, boundary=day) for day in ("2013-01-01", "2013-02-01"))
    assert early.trained_on_holdout_of(late) is None
    assert early.trained_on_holdout_of(early) is None
    assert "2013-02-01" in str(late.trained_on_holdout_of(early))


def test_a_cached_result_is_returned_for_the_same_champion_only(world: World) -> None:
    logistic, stump = world.train(logistic=LOGISTIC, stump=STUMP)
    assert not world.evaluate([logistic], METRICS, champion=champion_of(stump)).cached
    assert world.evaluate([logistic], METRICS, champion=champion_of(stump)).cached
    assert not world.evaluate([logistic], METRICS, champion=champion_of(stump, version=8)).cached
