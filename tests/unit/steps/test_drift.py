from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drift_windows import AS_OF, Window, frame, spoilt


def test_a_window_like_the_reference_does_not_drift(window: Window) -> None:
    result = window.run(frame())
    report = window.report(result)
    assert not report.problems
    assert [(column.column, column.role, column.method, column.drifted) for column in report.columns] == [
        ("x", "feature", "wasserstein", False),
        ("y", "feature", "wasserstein", False),
        ("c", "feature", "jensenshannon", False),
        ("late", "target", "jensenshannon", False),
        ("p_1", "prediction", "wasserstein", False),
        ("prediction", "prediction", "jensenshannon", False),
    ]
    assert result.facts == {
        "judged": True,
        "drifted": False,
        "why": "No drift: none of 3 features drifted.",
        "rows": 2000,
        "version": 3,
        "share": 0.0,
        "weighted_share": 0.0,
        "stretches": 0,
        "prediction_drift": False,
        "target_drift": False,
        "columns": [],
        "drifted_columns": 0,
        "incident": [],
        "problems": [],
        "problem_count": 0,
    }


def test_a_shift_of_half_a_deviation_is_measured_as_that(window: Window) -> None:
    result = window.run(frame(shift=0.5))
    column = window.column(result, "x")
    assert column.drifted
    assert column.statistic == pytest.approx(0.5, abs=0.06)
    assert column.threshold == 0.1
    assert (column.bound, column.bound_by) == (0.1, "threshold")
    assert (column.importance, column.weight) == (0.3, pytest.approx(0.6))
    assert result.facts["columns"] == ["x"]
    assert result.facts["weighted_share"] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("importance", "weights", "drifted"),
    [
        ({"x": 0.3, "y": 0.1, "c": 0.1}, [0.6, 0.2, 0.2], True),
        ({"x": 0.01, "y": 0.5, "c": 0.49}, [0.01, 0.5, 0.49], False),
        ({"x": -0.5, "y": 0.1, "c": 0.1}, [0, 0.5, 0.5], False),
        ({"y": 0.2, "c": 0.2}, [1 / 3, 1 / 3, 1 / 3], False),
        ({"x": -1, "y": -1, "c": 0}, [1 / 3, 1 / 3, 1 / 3], False),
        ({}, [1 / 3, 1 / 3, 1 / 3], False),
        (None, [1 / 3, 1 / 3, 1 / 3], False),
    ],
    ids=["important", "unimportant", "harmful", "not measured", "none helps", "none measured", "no importance"],
)
def test_drift_counts_by_what_the_champion_makes_of_the_column(
    window: Window, importance: dict[str, float] | None, weights: list[float], drifted: bool
) -> None:
    window.importance = importance
    result = window.run(frame(shift=1))
    assert [column.weight for column in window.report(result).columns[:3]] == pytest.approx(weights)
    assert result.facts["drifted"] is drifted
    assert result.facts["share"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("unit", [1e-200, 1e-9, 1.0, 1e9, 1e200, 1e307])
def test_drift_does_not_depend_on_the_unit(window: Window, unit: float) -> None:
    before, after = frame(seed=1), frame(shift=0.5)
    for data in (before, after):
        data[["x", "y"]] *= unit
    result = window.run(after, before)
    assert window.column(result, "x").statistic == pytest.approx(0.5, abs=0.06)
    assert [window.column(result, name).drifted for name in ("x", "y")] == [True, False]


@pytest.mark.parametrize("rows", [0, 1, 199])
def test_too_few_rows_say_nothing(window: Window, rows: int) -> None:
    result = window.run(frame(rows, shift=3))
    assert (result.facts["judged"], result.facts["drifted"], result.facts["weighted_share"]) == (False, False, None)
    assert result.facts["prediction_drift"] is None
    assert "it needs 200" in str(result.facts["why"])
    assert not any(column.drifted for column in window.report(result).columns)


def test_a_small_window_of_many_categories_is_no_drift_by_chance(window: Window) -> None:
    rng = np.random.default_rng(0)
    before, after = frame(20_000, seed=1), frame(300)
    before["c"] = rng.integers(0, 100, len(before)).astype(str)
    after["c"] = rng.integers(0, 100, len(after)).astype(str)
    column = window.column(window.run(after, before), "c")
    assert column.statistic is not None
    assert column.bound is not None
    assert column.threshold < column.statistic < column.bound
    assert (column.drifted, column.why) == (False, "within the noise of so few rows")


def test_labels_are_compared_once_enough_of_them_are_there(window: Window) -> None:
    data = frame()
    data["late"] = data["late"].where(data.index < 150).astype("Int64")
    assert window.run(data).facts["target_drift"] is None
    data["late"] = pd.Series(1, index=data.index).where(data.index < 300).astype("Int64")
    assert window.run(data).facts["target_drift"] is True
    assert window.run(data.drop(columns="late")).facts["target_drift"] is None


def test_predictions_that_moved_are_told_and_do_not_decide(window: Window) -> None:
    result = window.run(spoilt("p_1", lambda p: p**4))
    assert (result.facts["prediction_drift"], result.facts["drifted"]) == (True, False)


def test_predictions_of_another_version_are_not_held_against_this_one(window: Window) -> None:
    result = window.run(frame().assign(model_version=2, p_1=0.5))
    assert result.facts["prediction_drift"] is None
    assert result.facts["problems"] == ["other version (got predictions of 2, expected those of version 3)"]
    assert not window.report(window.run(frame().assign(model_version=3))).problems


def test_a_regression_compares_its_numbers(window: Window) -> None:
    window.task = "regression"
    before, after = ((data.assign(prediction=data.p_1, late=data.p_1)) for data in (frame(seed=1), frame()))
    result = window.run(after.assign(prediction=after.p_1 * 2), before)
    assert (result.facts["prediction_drift"], result.facts["target_drift"]) == (True, False)
    assert window.column(result, "prediction").method == "wasserstein"


def test_a_feature_of_the_calendar_may_be_left_out(window: Window) -> None:
    result = window.run(frame(shift=5), ignore=["x"])
    report = window.report(result)
    assert [column.column for column in report.columns if column.role == "feature"] == ["y", "c"]
    assert (result.facts["drifted"], report.problems) == (False, [])
    assert [column.weight for column in report.columns[:2]] == [0.5, 0.5]


def test_the_same_window_is_not_compared_again(window: Window) -> None:
    reference = frame(seed=1)
    first, again = (window.run(frame(shift=1), reference) for _ in range(2))
    assert (first.cached, again.cached) == (False, True)
    changed = window.run(frame(shift=1), reference, numeric_threshold=0.2)
    assert not changed.cached


def dated(days: int, *, last: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """Return days of 100 rows, of which x has its own level each day, up to some days before as_of."""
    data = frame(100 * days, seed=seed)
    data["x"] += np.repeat(np.random.default_rng(seed).normal(shift, 0.5, days), 100)
    ago = np.repeat(np.arange(days)[::-1] + last, 100) + 0.5
    data["at"] = pd.Timestamp(AS_OF) - pd.to_timedelta(ago, unit="D")
    return data


def test_days_differ_in_the_reference_too(window: Window) -> None:
    window.columns = window.columns | {"timestamp": "at"}
    before, after = dated(60, last=1, seed=1), dated(1, last=0, seed=4)
    after["x"] += 0.5 - after["x"].mean()
    result = window.run(after, before, window=86_400, min_rows=50)
    column = window.column(result, "x")
    assert (column.drifted, column.bound_by) == (False, "stretches")
    assert column.why == "within the range of stretches of the reference"
    assert (result.facts["stretches"], result.facts["drifted"]) == (60, False)
    assert window.report(result).usual_by == "The usual range comes from 60 stretches of 1 day of the reference."
    moved = window.run(after.assign(x=after["x"] + 2), before, window=86_400, min_rows=50)
    assert window.column(moved, "x").drifted
    assert moved.facts["drifted"]


def test_one_column_that_decides_alone_has_to_lie_farther_than_it_ever_did(window: Window) -> None:
    window.columns = window.columns | {"timestamp": "at"}
    before, after = dated(60, last=1, seed=1), dated(1, last=0, seed=4)
    after["x"] += 1.1 - after["x"].mean()
    result = window.run(after, before, window=86_400, min_rows=50)
    report = window.report(result)
    assert window.column(result, "x").drifted
    assert report.level is not None
    assert report.usual_level is not None
    assert 1 < report.level < report.usual_level
    assert result.facts["drifted"] is False
    assert "but no farther than they do together in the reference" in str(result.facts["why"])


def test_a_reference_that_knows_no_time_says_so(window: Window) -> None:
    result = window.run(frame(), window=86_400)
    predictions = window.report(result).usual_by
    assert predictions is not None
    assert predictions.startswith("The usual range assumes independent rows")
    assert "reference has no timestamps" in predictions
    assert predictions in window.store.fetch(result.artifacts["report"]).read_text().replace("&#x27;", "'")


def test_shorter_stretches_are_named(window: Window) -> None:
    window.columns = window.columns | {"timestamp": "at"}
    before, after = dated(28, last=7, seed=1), dated(7, last=0, seed=2)
    predictions = window.report(window.run(after, before, window=7 * 86_400)).usual_by
    assert predictions is not None
    assert "stretches of 1.75 days of the reference: it has too few of 7 days" in predictions


def test_predictions_drift_when_they_lie_far_from_what_was_judged_and_from_what_serves(window: Window) -> None:
    calm = frame(seed=1)
    level = np.random.default_rng(3).beta(2, 5, len(calm))
    serving = calm.assign(serving_p_0=level, serving_p_1=1 - level, serving_prediction=calm["prediction"])
    alone = calm.assign(p_1=calm["p_1"] - 0.2)
    both = serving.assign(p_1=alone["p_1"])

    def drifted(current: pd.DataFrame, reference: pd.DataFrame, version: int) -> object:
        champion = window.champion(reference).model_copy(update={"version": version})
        return window.run(current, champion=champion).facts["prediction_drift"]

    assert drifted(frame(), alone, 1)
    assert not drifted(frame(), both, 2), "it is what the serving model says"
    assert drifted(frame().assign(p_1=lambda each: each["p_1"] + 0.3), both, 3)
    assert not drifted(frame(), serving, 4)
