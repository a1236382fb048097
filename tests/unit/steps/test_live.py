from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from airflow_mlops_provider.exceptions import ArtifactError, MLOpsError
from airflow_mlops_provider.job import Champion, StepRequest
from airflow_mlops_provider.monitoring.live_report import LiveReport
from airflow_mlops_provider.runner import run_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mlops_provider.evaluation.report import Interval
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.storage import ArtifactStore

AS_OF = datetime(2013, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ROLES = {"target": "target", "numeric": ["height"], "categorical": ["town"]}
METRICS = {
    "binary": ["log_loss", "roc_auc"],
    "multiclass": ["log_loss", "balanced_accuracy"],
    "regression": ["rmse", "r2"],
}
GOOD = {
    "binary": {"estimator": "sklearn.linear_model.LogisticRegression"},
    "multiclass": {"estimator": "sklearn.linear_model.LogisticRegression"},
    "regression": {"estimator": "sklearn.linear_model.Ridge"},
}
BAD = {
    "binary": {"estimator": "sklearn.dummy.DummyClassifier", "params": {"strategy": "prior"}},
    "multiclass": {"estimator": "sklearn.dummy.DummyClassifier", "params": {"strategy": "prior"}},
    "regression": {"estimator": "sklearn.dummy.DummyRegressor"},
}


def rows(task: str = "binary", size: int = 600, seed: int = 0, *, flipped: bool = False) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    height = generator.normal(size=size)
    town = generator.choice(["Ams", "Ber"], size=size)
    signal = (-height if flipped else height) + generator.normal(scale=0.5, size=size)
    frame = pd.DataFrame({"height": height, "town": town})
    if task == "binary":
        frame["target"] = (signal > 0).astype("int64")
    elif task == "multiclass":
        frame["target"] = pd.cut(signal, [-9, -0.5, 0.5, 9], labels=["low", "mid", "top"]).astype(str)
    else:
        frame["target"] = 10 + 3 * signal
    return frame


@dataclass
class Town:
    """Champions trained by the real steps, and labelled windows."""

    store: ArtifactStore
    ingested: Callable[..., StepResult]
    step: Callable[..., StepResult]
    task: str = "binary"

    def window(self, frame: pd.DataFrame, **roles: Any) -> StepResult:
        return self.ingested(frame, task=self.task, **{**ROLES, **roles})

    def version(
        self,
        number: int,
        candidate: dict[str, Any],
        *,
        frame: pd.DataFrame | None = None,
        group: str | None = None,
        metrics: list[Any] | None = None,
        **roles: Any,
    ) -> Champion:
        """Train, measure on a holdout, and return the version as the ledger names it."""
        dataset = self.window(rows(self.task, seed=number) if frame is None else frame, **roles)
        split = self.step("prepare", {"split": {"by": "random", "holdout": 0.5, "group": group}}, dataset=dataset)
        trained = self.step("train", {"name": "one", "candidate": candidate}, dataset=dataset, split=split)
        section = {"metrics": metrics or METRICS[self.task], "candidates": ["one"], "evaluation": {"importance": None}}
        measured = self.step("evaluate", section, dataset=dataset, split=split, models=trained)
        return Champion(
            seq=number,
            version=number,
            digest="d" * 64,
            model=trained.artifacts["model"],
            order_key=AS_OF - timedelta(days=30),
            metrics=measured.facts["metrics"],
            evaluation=measured.artifacts["evaluation"],
        )

    def live(
        self, window: StepResult, champion: Champion | None, former: Champion | None = None, **section: Any
    ) -> Any:
        request = StepRequest(
            step="live",
            pipeline="tests",
            as_of=AS_OF,
            section={
                "metrics": METRICS[self.task],
                "former": None if former is None else former.model_dump(mode="json"),
                **section,
            },
            inputs={"dataset": [window]},
            champion=champion,
        )
        return run_step(request, self.store)

    def report(self, *arguments: Any, **section: Any) -> LiveReport:
        result = self.live(*arguments, **section)
        report = LiveReport.model_validate(self.store.read_json(result.artifacts["live"]))
        assert result.facts["decayed"] == report.decayed
        assert result.facts["cannot_predict"] == report.cannot_predict
        result.xcom()
        return report


@pytest.fixture
def town(store: ArtifactStore, ingested: Any, step: Any) -> Town:
    return Town(store, ingested, step)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_champion_is_as_good_as_promised_while_the_world_stays(town: Town, task: str) -> None:
    town.task = task
    report = town.report(town.window(rows(task, seed=50)), town.version(1, GOOD[task]))
    assert (report.judged, report.decayed, report.comparison) == (True, False, None)
    assert report.against_former == "no former champion to compare with"
    metric = METRICS[task][0]
    assert report.champion is not None
    assert f"{metric} is {report.champion.metrics[metric]:.4g} [" in str(report.against_holdout)
    assert f"{report.holdout[metric]:.4g} on the holdout" in str(report.against_holdout)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_it_decays_when_the_world_turns(town: Town, task: str) -> None:
    town.task = task
    assert town.report(town.window(rows(task, seed=50, flipped=True)), town.version(1, GOOD[task])).decayed


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_champion_worse_than_the_former_on_the_same_rows_is_found_out(town: Town, task: str) -> None:
    town.task = task
    good, bad = town.version(1, GOOD[task]), town.version(2, BAD[task])
    window = town.window(rows(task, seed=50))
    worse = town.report(window, bad, good)
    assert worse.comparison is not None
    assert worse.comparison.difference < -3 * worse.comparison.variance**0.5
    assert "for version 1, the former champion" in str(worse.against_former)
    assert not worse.decayed, "it never promised more"
    better = town.report(window, good, bad)
    assert better.comparison is not None
    assert better.comparison.difference == pytest.approx(-worse.comparison.difference)
    one, other = worse.differences[METRICS[task][0]], better.differences[METRICS[task][0]]
    assert one.high is not None
    assert other.low is not None
    assert one.high < 0 < other.low, "the difference of the same resamples, seen from the other side"
    assert one.high == pytest.approx(-other.low)


def test_repeated_measurements_of_one_customer_are_drawn_together(town: Town) -> None:
    def often(seed: int) -> pd.DataFrame:
        return pd.concat([rows(seed=seed).assign(customer=np.arange(600))] * 4, ignore_index=True)

    keys = {"keys": ["customer"]}
    good, bad = (town.version(1, one["binary"], frame=often(1), group="customer", **keys) for one in (GOOD, BAD))
    together = town.report(town.window(often(50), **keys), good, bad.model_copy(update={"version": 2}))
    apart = town.report(town.window(often(50).drop(columns="customer")), good, bad.model_copy(update={"version": 2}))
    assert together.resampled is not None
    assert apart.resampled is not None
    assert (together.resampled.group, apart.resampled.group) == ("customer", None), "a window that lost the column"
    # Four equal rows of each customer tell as much as one: intervals are twice as wide.
    assert width(together.differences["log_loss"]) / width(apart.differences["log_loss"]) == pytest.approx(2, rel=0.25)
    assert together.champion is not None
    assert apart.champion is not None
    spans = [report.champion.intervals["roc_auc"] for report in (together, apart)]
    assert width(spans[0]) / width(spans[1]) == pytest.approx(2, rel=0.25)


def width(span: Interval) -> float:
    assert span.low is not None
    assert span.high is not None
    return span.high - span.low


# ---------------------------------------------------------------- days


def days(count: int, rows_a_day: int = 60, seed: int = 0, *, weather: float = 2.0) -> pd.DataFrame:
    """Rows of days that differ: what is hard to predict varies with a day's weather."""
    frame = rows(size=count * rows_a_day, seed=seed)
    chance = np.random.default_rng(seed)
    frame["at"] = pd.date_range(AS_OF - timedelta(days=count), periods=len(frame), freq=DAY / rows_a_day)
    turned = np.repeat(chance.random(count) < 0.1 * weather, rows_a_day)
    return frame.assign(target=np.where(turned, 1 - frame["target"], frame["target"]))


def dated(town: Town, count: int, **settings: Any) -> StepResult:
    return town.window(days(count, **settings), timestamp="at")


def test_a_window_of_a_day_is_as_unsure_as_days_differ_on_the_holdout(town: Town) -> None:
    spans = {}
    for weather in (0.0, 2.0):
        champion = town.version(1, GOOD["binary"], frame=days(40, weather=weather), timestamp="at")
        report = town.report(dated(town, 1, rows_a_day=600, seed=50, weather=0), champion)
        assert report.champion is not None
        assert (report.blocks, report.resampled and report.resampled.block) == (1.0, None)
        assert "and the error of days on the holdout" in str(report.against_holdout)
        spans[weather] = width(report.champion.intervals["log_loss"])
    assert spans[2.0] > 3 * spans[0.0]


def test_a_day_that_the_holdout_has_had_too_is_no_decay(town: Town) -> None:
    champion = town.version(1, GOOD["binary"], frame=days(40), timestamp="at")
    turned = town.window(days(1, rows_a_day=600, seed=50, weather=10), timestamp="at")  # every fifth day was such a one
    assert not town.report(turned, champion).decayed
    calm = town.version(2, GOOD["binary"], frame=days(40, weather=0), timestamp="at")
    assert town.report(turned, calm).decayed


def test_a_window_of_many_days_draws_them_as_the_holdout_does(town: Town) -> None:
    champion = town.version(1, GOOD["binary"], frame=days(40), timestamp="at")
    report = town.report(dated(town, 10, seed=50), champion)
    assert report.resampled is not None
    assert (report.resampled.block, report.resampled.units, report.blocks) == (DAY, 10, pytest.approx(10))
    assert "by 10 blocks of a day" in str(report.against_holdout)


def test_where_nobody_knows_how_days_differ_rows_alone_count_and_that_is_said(town: Town) -> None:
    good = town.version(1, GOOD["binary"], frame=days(3, rows_a_day=200), timestamp="at")
    bad = town.version(2, BAD["binary"], frame=days(3, rows_a_day=200), timestamp="at")
    report = town.report(dated(town, 1, rows_a_day=600, seed=50), bad, good)
    assert report.comparison is not None
    assert report.comparison.error is None
    assert str(report.against_holdout).endswith(
        "rows alone, since the champion's evaluation does not record how much days differ"
    )


def test_few_rows_of_a_class_decide_nothing(town: Town) -> None:
    champion = town.version(1, GOOD["binary"])
    frame = rows(seed=50)
    rare = pd.concat([frame[frame["target"] == 0], frame[frame["target"] == 1].head(19)], ignore_index=True)
    report = town.report(town.window(rare.assign(height=-rare["height"])), champion, champion)
    assert not report.decayed
    assert "only 19 rows of class 1: at least 20 are needed" in str(report.against_holdout)
    assert report.not_compared is not None


def test_two_equal_models_are_never_told_apart(town: Town) -> None:
    one = town.version(1, GOOD["binary"])
    twin = one.model_copy(update={"seq": 2, "version": 2})
    report = town.report(town.window(rows(seed=50)), twin, one)
    assert report.comparison is not None
    assert (report.comparison.difference, report.comparison.variance) == (0, 0)
    assert [report.differences["log_loss"].low, report.differences["log_loss"].high] == [0, 0]


def test_a_metric_of_the_users_own_is_watched_too(town: Town) -> None:
    own: list[Any] = [{"function": "sklearn.metrics.matthews_corrcoef", "name": "matthews_score"}, "log_loss"]
    champion, former = (town.version(number, GOOD["binary"], metrics=own) for number in (1, 2))
    report = town.report(
        town.window(rows(seed=50, flipped=True)), champion, former, metrics=own, estimated={"metric": "log_loss"}
    )
    assert report.metric == "matthews_score"
    assert report.champion is not None
    assert report.champion.metrics["matthews_score"] is not None
    assert report.champion.metrics["matthews_score"] < 0 < (report.holdout["matthews_score"] or 0)
    assert report.decayed
    assert report.comparison is not None
    assert report.differences["matthews_score"].low is not None


def test_a_margin_is_what_may_be_lost(town: Town) -> None:
    good = town.version(1, GOOD["binary"])
    turned = town.window(rows(seed=50, flipped=True))
    assert not town.report(turned, good, live={"margin": 50.0}).decayed


def test_another_metric_may_decide(town: Town) -> None:
    report = town.report(town.window(rows(seed=50)), town.version(1, GOOD["binary"]), live={"metric": "roc_auc"})
    assert report.metric == "roc_auc"
    assert str(report.against_holdout).startswith("roc_auc is 0.")


def test_too_few_rows_say_nothing(town: Town) -> None:
    result = town.live(town.window(rows(size=199)), town.version(1, GOOD["binary"]))
    assert result.facts["judged"] is False
    assert result.facts["why"] == "199 labelled rows, 200 are needed"
    assert (result.facts["decayed"], result.facts["comparison"]) == (False, None)


def test_a_window_with_one_class_says_nothing_of_a_metric_that_needs_two(town: Town) -> None:
    frame = rows(seed=50).assign(target=1)
    report = town.report(town.window(frame), town.version(1, GOOD["binary"]), live={"metric": "roc_auc"})
    assert report.judged is False
    assert report.why == "roc_auc is undefined: no rows of class 0"


def test_rows_of_a_class_that_the_champion_does_not_know_are_counted(town: Town) -> None:
    town.task = "multiclass"
    frame = rows("multiclass", seed=50)
    frame.loc[:9, "target"] = "huge"
    report = town.report(town.window(frame), town.version(1, GOOD["multiclass"]))
    assert (report.judged, report.unknown_labels, report.measured_rows) == (True, 10, 600)


def test_a_champion_that_cannot_predict_is_worse_than_one_that_can(town: Town) -> None:
    former = town.version(1, GOOD["binary"])
    other = rows(seed=2).rename(columns={"height": "width"})
    dataset = town.window(other, numeric=["width"])
    split = town.step("prepare", {"split": {"by": "random"}}, dataset=dataset)
    trained = town.step("train", {"name": "one", "candidate": GOOD["binary"]}, dataset=dataset, split=split)
    broken = former.model_copy(update={"seq": 2, "version": 2, "model": trained.artifacts["model"]})
    window = town.window(rows(seed=50))
    report = town.report(window, broken, former)
    assert (report.judged, report.decayed, report.cannot_predict) == (True, True, True)
    assert "'width'" in str(report.against_holdout)
    assert "version 2 cannot predict these rows, but version 1 can" in str(report.against_former)
    # The other way round it is no reason to prefer the champion's elder.
    turned = town.report(window, former, broken)
    assert (turned.cannot_predict, turned.comparison) == (False, None)
    assert "version 2, the former champion, cannot be compared" in str(turned.against_former)


def test_a_former_champion_of_other_classes_is_not_compared(town: Town) -> None:
    champion = town.version(2, GOOD["binary"])
    town.task = "multiclass"
    former = town.version(1, GOOD["multiclass"])
    town.task = "binary"
    report = town.report(town.window(rows(seed=50)), champion, former)
    assert (report.cannot_predict, report.comparison) == (False, None)
    assert "has different classes" in str(report.against_former)


def test_without_a_recorded_holdout_there_is_no_decay(town: Town) -> None:
    bare = town.version(1, GOOD["binary"]).model_copy(update={"evaluation": None, "metrics": {}})
    report = town.report(town.window(rows(seed=50, flipped=True)), bare)
    assert not report.decayed
    assert "not recorded" in str(report.against_holdout)
    old = bare.model_copy(update={"metrics": {"log_loss": 0.4}, "version": 3})
    assert town.report(town.window(rows(seed=50, flipped=True)), old).decayed, "an old ledger entry has its metrics"


def test_a_model_that_is_not_the_stored_one_is_an_error(town: Town) -> None:
    champion = town.version(1, GOOD["binary"])
    forged = champion.model_copy(update={"model": champion.model.model_copy(update={"sha256": "0" * 64})})
    with pytest.raises(ArtifactError):
        town.live(town.window(rows(seed=50)), forged)


def test_it_needs_a_champion(town: Town) -> None:
    with pytest.raises(MLOpsError, match="needs a champion"):
        town.live(town.window(rows()), None)


def test_the_same_window_is_measured_once_whatever_the_day(town: Town) -> None:
    champion, window = town.version(1, GOOD["binary"]), town.window(rows(seed=50))
    first, again = town.live(window, champion), town.live(window, champion)
    assert again.key == first.key
    assert again.artifacts == first.artifacts
    assert town.live(window, champion, live={"margin": 0.2}).key != first.key
