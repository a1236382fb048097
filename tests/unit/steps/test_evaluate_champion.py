from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from evaluated_world import LOGISTIC, METRICS, RIDGE, STUMP, World, champion_of, rows_of
from sklearn.metrics import roc_auc_score

from airflow_mlops_provider.evaluation.report import EvaluationReport, SplitSignature
from airflow_mlops_provider.evaluation.resampling_report import Resampled
from airflow_mlops_provider.modeling.splits import read_split, write_split

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
        assert difference.quantiles == pytest.approx([0.0] * 1001, abs=1e-9)


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


def test_repeated_measurements_of_one_customer_are_drawn_together(store: ArtifactStore) -> None:
    frame = pd.concat([rows_of("binary").assign(customer=np.arange(400))] * 4, ignore_index=True)
    frame = frame.assign(key=np.arange(len(frame)))
    world = World(store).load(
        frame, roles={"keys": ["key", "customer"]}, split={"by": "random", "holdout": 0.4, "group": "customer"}
    )
    logistic, stump = world.train(logistic=LOGISTIC, stump=STUMP)
    settings: dict[str, Any] = {"bootstrap": {"resamples": 400}, "fairness": {"groups": ["town"], "min_rows": 50}}
    result = world.evaluate([logistic], ["log_loss"], champion=champion_of(stump), **settings)
    together = world.read(result)
    # The same rows held out, of a split that knows no customers.
    stored = read_split(store, *(world.split[0].artifacts[name] for name in ("split", "assignment")))
    unaware = replace(stored, plan=stored.plan.model_copy(update={"group": None}))
    world.split = [world.split[0].model_copy(update={"artifacts": write_split(store, unaware)})]
    apart = world.report([logistic], ["log_loss"], champion=champion_of(stump), **settings)

    assert together.resampled == Resampled(group="customer", units=together.rows.holdout // 4)
    assert apart.resampled == Resampled(units=apart.rows.holdout)
    assert together.challenger.metrics == apart.challenger.metrics
    # Four equal rows of each customer tell as much as one: intervals are twice as wide.
    for ours, theirs in zip(widths(together), widths(apart), strict=True):
        assert ours / theirs == pytest.approx(2, rel=0.25)
    shown = store.fetch(result.artifacts["report"]).read_text(encoding="utf-8")
    assert f"in whole groups by customer, {together.rows.holdout // 4} in all " in shown
    assert "row by row, as if each were independent" in apart.intervals_by


def test_rows_with_a_timestamp_are_judged_by_their_days(store: ArtifactStore) -> None:
    frame = rows_of("binary", rows=1200).assign(at=pd.date_range("2013-01-01", periods=1200, freq="2h", tz="UTC"))
    world = World(store).load(frame, split="time", roles={"timestamp": "at"})
    logistic, stump = world.train(logistic=LOGISTIC, stump=STUMP)
    result = world.evaluate([logistic, stump], METRICS, champion=champion_of(stump))
    report = world.read(result)
    assert report.resampled == Resampled(units=40, block=timedelta(days=1))
    assert report.over_baseline["roc_auc"].candidates == 2
    assert report.over_baseline["roc_auc"].quantiles[25] > 0
    assert "40 blocks of a day" in store.fetch(result.artifacts["report"]).read_text(encoding="utf-8")


def widths(report: EvaluationReport) -> list[float]:
    """Return those of the intervals of the challenger, the champion, their difference, and a group of fairness."""
    assert report.champion is not None
    assert report.fairness is not None
    spans = [report.intervals["log_loss"], report.champion.intervals["log_loss"]]
    spans += [report.fairness.groups[0].metrics["log_loss"]]
    low, high = np.quantile(report.champion.differences["log_loss"].quantiles, [0.025, 0.975])
    return [high - low, *(span.high - span.low for span in spans)]


@pytest.mark.parametrize(("groups", "words"), [(29, "they are few, so the intervals are wider"), (30, "")])
def test_few_groups_are_warned_of(groups: int, words: str) -> None:
    drawn = Resampled(group="customer", units=groups)
    assert drawn.few == bool(words)
    assert words in drawn.words


def test_a_champion_may_use_a_feature_that_was_dropped_since(world: World) -> None:
    (model,) = world.train(logistic=LOGISTIC)
    frame = rows_of("binary")
    frame.loc[frame.index[::2], "noise"] = np.nan
    later = World(world.store).load(frame, missing={"max_share": 0.3, "over": "drop"})
    report = later.report(later.train(stump=STUMP), METRICS, champion=champion_of(model))
    assert report.champion is not None
    assert report.champion.unusable is None
    assert report.champion.metrics["roc_auc"] is not None


@pytest.mark.parametrize("split", ["random", "cross_validation"])
@pytest.mark.parametrize(
    ("task", "target", "reason"),
    [
        ("binary", "left", "it predicts 'target', and the pipeline's target is 'left'"),
        ("multiclass", "target", "it is a binary model, and the pipeline's task is multiclass"),
        ("regression", "target", "it is a binary model, and the pipeline's task is regression"),
    ],
)
def test_a_champion_of_another_target_or_task_is_not_compared(
    task: str, target: str, reason: str, split: str, world: World
) -> None:
    (model,) = world.train(logistic=LOGISTIC)
    measured = world.evaluate([model], METRICS).artifacts["evaluation"]
    frame, roles = rows_of(task).rename(columns={"target": target}), {"target": target}
    later = World(world.store, task=task).load(frame, split, roles=roles)
    metrics, candidate = (["rmse"], RIDGE) if task == "regression" else (METRICS, LOGISTIC)
    champion = later.report(
        later.train(it=candidate), metrics, champion=champion_of(model, evaluation=measured, metrics={"log_loss": 0.5})
    ).champion
    assert champion is not None
    assert champion.unusable == reason
    assert champion.differences == {}


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
        (
            lambda frame: frame.assign(target=frame["target"].map({0: "no", 1: "yes"})),
            {},
            "different classes",
        ),
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
