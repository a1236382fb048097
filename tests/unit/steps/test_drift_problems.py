from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from drift_windows import AS_OF, Window, frame, spoilt

from airflow_mlops_provider.exceptions import ArtifactError, MLOpsError, SpecError


@pytest.mark.parametrize(
    ("data", "problem", "drifted"),
    [
        (frame().drop(columns="x"), ("x", "missing_column"), True),
        (spoilt("x", lambda x: np.nan), ("x", "all_missing"), True),
        (spoilt("c", lambda c: pd.Series([None] * len(c), dtype="string")), ("c", "all_missing"), True),
        (spoilt("x", lambda x: x.astype(str)), ("x", "wrong_type"), True),
        (spoilt("c", lambda c: [1.5] * len(c)), ("c", "wrong_type"), True),
        (spoilt("x", lambda x: np.inf), ("x", "all_missing"), True),
        (spoilt("x", lambda x: x.where(x.index % 4 > 0, np.inf)), ("x", "missing_share"), True),
        (spoilt("x", lambda x: x.where(x.index % 4 > 0)), ("x", "missing_share"), True),
        (spoilt("c", lambda c: c.where(c.index % 4 > 0)), ("c", "missing_share"), True),
        (spoilt("x", lambda x: x.where(x.index % 400 > 0, -np.inf)), ("x", "infinite"), False),
        (spoilt("x", lambda x: 0.0), ("x", "constant"), True),
        (spoilt("c", lambda c: "a"), ("c", "constant"), True),
        (spoilt("c", lambda c: c.replace("d", "e")), ("c", "new_categories"), True),
        (spoilt("c", lambda c: c.where(c.index != 7, "e")), ("c", "new_categories"), False),
        (spoilt("x", lambda x: x + 2**62), ("x", "out_of_range"), True),
        (spoilt("x", lambda x: (x * 100).astype("int64") + 2**62), ("x", "out_of_range"), True),
        (spoilt("x", lambda x: x.where(x.index != 7, 1e300)), ("x", "out_of_range"), False),
        (spoilt("p_1", lambda p: np.nan), ("p_1", "all_missing"), True),
        (frame().drop(columns="prediction"), ("prediction", "missing_column"), True),
    ],
)  # fmt: skip
def test_what_a_distance_does_not_show_is_reported(
    window: Window, data: pd.DataFrame, problem: tuple[str, str], drifted: bool
) -> None:
    result = window.run(data)
    assert problem in window.problems(result)
    assert window.column(result, problem[0]).drifted is drifted
    reported: Any = result.facts["problems"]
    assert reported[0].startswith(f"{problem[0]}: ")


@pytest.mark.parametrize("name", ["x", "c", "p_1"])
def test_a_broken_column_makes_the_window_drift_whatever_its_weight(window: Window, name: str) -> None:
    window.importance = {"x": 0.001, "y": 1, "c": 0.001}
    result = window.run(frame().drop(columns=name))
    assert result.facts["drifted"] is True
    assert f"{name!r} cannot be compared" in str(result.facts["why"])


def test_a_broken_column_that_the_champion_ignores_does_not(window: Window) -> None:
    window.importance = {"x": 0.0, "y": 1, "c": 1}
    result = window.run(frame().drop(columns="x"))
    assert result.facts["drifted"] is False
    assert window.column(result, "x").drifted


@pytest.mark.parametrize(
    ("reference", "current", "drifted"),
    [(0.0, 0.0, False), (0.0, 1e-9, True), (7.0, None, True), (None, None, False)],
    ids=["the same", "another", "now varies", "varies on both sides"],
)
def test_a_column_that_is_constant_in_the_reference_is_compared(
    window: Window, reference: float | None, current: float | None, drifted: bool
) -> None:
    before, after = frame(seed=1), frame()
    if reference is not None:
        before["x"] = reference
    if current is not None:
        after["x"] = current
    assert window.column(window.run(after, before), "x").drifted is drifted


def test_values_on_neither_side_are_no_drift_and_said(window: Window) -> None:
    before, after = frame(seed=1), frame()
    before["x"] = after["x"] = np.nan
    column = window.column(window.run(after, before), "x")
    assert (column.drifted, column.statistic, column.why) == (False, None, "no values on either side")


def test_values_where_the_reference_has_none_are_drift(window: Window) -> None:
    before = frame(seed=1)
    before["x"] = np.nan
    assert ("x", "no_reference") in window.problems(window.run(frame(), before))


def test_predictions_of_other_rows_are_told(window: Window) -> None:
    assert (None, "other_rows") in window.problems(window.run(frame(), predictions=frame(1000)))


@pytest.mark.parametrize(
    ("names", "scored_rows"),
    [(["x", "z"], "names a column that is not a feature: got z"), (["x", "y", "c"], "leaves no feature to compare")],
)
def test_what_cannot_be_left_out_is_refused(window: Window, names: list[str], scored_rows: str) -> None:
    with pytest.raises(SpecError, match=scored_rows):
        window.run(frame(), ignore=names)


def test_a_champion_without_a_reference_is_an_error(window: Window) -> None:
    champion = window.champion(frame(seed=1)).model_copy(update={"reference": None})
    with pytest.raises(MLOpsError, match=r"version 3 of 'churn' has no reference"):
        window.run(frame(), champion=champion)


@pytest.mark.parametrize(
    ("reference", "scored_rows"),
    [
        (frame(0), "contains no rows"),
        (frame().drop(columns="x"), "x: missing column"),
        (frame().assign(x="a"), "wrong"),
    ],
)
def test_a_reference_that_cannot_be_used_is_an_error(window: Window, reference: pd.DataFrame, scored_rows: str) -> None:
    with pytest.raises(ArtifactError, match=scored_rows):
        window.run(frame(), reference)


def test_a_wild_value_of_the_reference_does_not_hide_one_of_the_window(window: Window) -> None:
    before, after = frame(seed=1), frame()
    before.loc[3, "x"] = after.loc[9, "x"] = 999_999.0
    result = window.run(after, before)
    assert ("x", "out_of_range") in window.problems(result)
    assert not window.column(result, "x").drifted
    assert window.column(window.run(frame(shift=3), before), "x").drifted
    assert ("x", "out_of_range") not in window.problems(window.run(frame(), before))


@pytest.mark.parametrize("tail", ["lognormal", "zeros"])
def test_a_heavy_tail_is_not_reported_as_out_of_range(window: Window, tail: str) -> None:
    rng = np.random.default_rng(0)
    draw = {
        "lognormal": lambda n: rng.lognormal(0, 2, n),
        "zeros": lambda n: rng.exponential(size=n) * rng.choice(2, n),
    }
    before, after = frame(20_000, seed=1), frame(300)
    before["x"], after["x"] = draw[tail](len(before)), draw[tail](len(after))
    assert ("x", "out_of_range") not in window.problems(window.run(after, before))


def test_what_is_broken_of_what_the_champion_uses_is_an_incident(window: Window) -> None:
    holes = spoilt("x", lambda x: x.where(x.index % 5 < 2))
    result = window.run(holes)
    assert result.facts["incident"] == ["x: 60.0% of the values are missing (at most 30% allowed, usually 0.0%)"]
    page = window.store.fetch(result.artifacts["report"]).read_text()
    assert '<p class="bad">Incident: x: 60.0% of the values are missing' in page
    assert window.run(holes, max_missing=0.7).facts["incident"] == []
    assert window.run(frame().drop(columns="c")).facts["incident"] == [
        "c: missing column: got no such column, expected categories"
    ]
    assert window.run(spoilt("p_1", lambda p: np.nan)).facts["incident"] != []
    assert window.run(frame(shift=5)).facts["incident"] == []


def test_a_window_that_fails_an_expectation_of_its_values_is_an_incident(window: Window) -> None:
    between = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "x", "min_value": -9, "max_value": 9}}
    known = {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "c", "value_set": list("abcd")}}
    elsewhere = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "of_training_alone"}}
    requested = {"expectations": [between, known, elsewhere]}
    assert window.run(frame(), **requested).facts["incident"] == []
    wild = spoilt("x", lambda x: x.mask(x.index % 100 == 0, 77.0))
    assert window.run(wild, **requested).facts["incident"] == [
        "x: 20 values fail expect_column_values_to_be_between (min_value -9, max_value 9)"
    ]
    mostly = {**between, "kwargs": {**between["kwargs"], "mostly": 0.99}}
    assert window.run(wild, expectations=[mostly]).facts["incident"] == []
    many = spoilt("x", lambda x: x.mask(x.index % 50 == 0, 77.0))
    assert window.run(many, expectations=[mostly]).facts["incident"] != [], "40 where 20 may fail, with 18 by chance"
    target = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "late"}}
    unlabelled = frame().assign(late=lambda each: each["late"].where(each.index % 3 == 0).astype("Int64"))
    assert window.run(unlabelled, expectations=[target]).facts["incident"] == [], "labels come late"
    assert window.run(wild).facts["incident"] == []
    assert window.run(wild, **requested, min_rows=3000).facts["incident"] == [], "too few rows say nothing"


def test_a_broken_column_that_the_champion_does_not_use_is_no_incident(window: Window) -> None:
    window.importance = {"x": 0.0, "y": 1, "c": 1}
    assert window.run(spoilt("x", lambda x: x.where(x.index % 5 < 2))).facts["incident"] == []


def test_predictions_that_are_all_alike_are_drift_for_the_world_may_have_turned(window: Window) -> None:
    window.columns = window.columns | {"timestamp": "at"}

    def dated(days: int, last: int) -> pd.DataFrame:
        data = frame(100 * days, seed=last)
        ago = np.repeat(np.arange(days)[::-1] + last, 100) + 0.5
        return data.assign(at=pd.Timestamp(AS_OF) - pd.to_timedelta(ago, unit="D"))

    result = window.run(dated(1, 0).assign(prediction=1), dated(40, 1), window=86_400, min_rows=50)
    assert (result.facts["prediction_drift"], result.facts["incident"]) == (True, [])


def test_a_column_that_was_always_missing_so_often_is_no_incident(window: Window) -> None:
    before, after = frame(seed=1), frame()
    for data in (before, after):
        data["x"] = data["x"].where(data.index % 5 < 2)
    assert window.run(after, before).facts["incident"] == []


def test_a_value_that_is_stuck_is_an_incident_unless_stretches_have_one_value_too(window: Window) -> None:
    window.columns = {"target": "late", "numeric": ["x", "y", "month"], "categorical": ["c"], "timestamp": "at"}
    window.importance = None

    def dated(days: int, last: int) -> pd.DataFrame:
        data = frame(100 * days, seed=last)
        number = np.repeat(np.arange(days)[::-1] + last, 100)
        data["at"] = pd.Timestamp(AS_OF) - pd.to_timedelta(number + 0.5, unit="D")
        return data.assign(month=(number // 10).astype(float))

    stuck = dated(1, 0).assign(x=0.7, month=9.0)
    result = window.run(stuck, dated(40, 1), window=86_400, min_rows=50)
    assert result.facts["incident"] == ["x: the same value in every row, unlike any stretch of the reference"]
    assert window.column(result, "month").drifted
