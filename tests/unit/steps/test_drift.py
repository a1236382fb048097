from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from airflow_mlops_provider.data.tables import TableInfo, write_table
from airflow_mlops_provider.exceptions import ArtifactError, MLOpsError, SpecError
from airflow_mlops_provider.job import Champion, StepRequest
from airflow_mlops_provider.monitoring.drift_report import ColumnDrift, DriftReport
from airflow_mlops_provider.results import MAX_XCOM_BYTES, StepResult
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.spec import Columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.storage import ArtifactStore

AS_OF = datetime(2013, 3, 1, tzinfo=UTC)
COLUMNS = {"target": "late", "numeric": ["x", "y"], "categorical": ["c"]}
SCRIPT = "</script><script>alert(1)</script>"


def frame(rows: int = 2000, *, seed: int = 0, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": rng.normal(shift, 1, rows),
            "y": rng.normal(size=rows),
            "c": rng.choice(list("abcd"), rows, p=[0.4, 0.3, 0.2, 0.1]),
            "late": rng.integers(0, 2, rows),
            "p_0": (low := rng.beta(2, 5, rows)),
            "p_1": 1 - low,
            "prediction": rng.integers(0, 2, rows),
        }
    )


class Window:
    """A champion with its reference, and windows that are held against it."""

    def __init__(self, store: ArtifactStore) -> None:
        self.store = store
        self.columns: dict[str, Any] = COLUMNS
        self.task = "binary"
        self.importance: dict[str, float] | None = {"x": 0.3, "y": 0.1, "c": 0.1}
        self.section: dict[str, Any] = {}

    def table(self, data: pd.DataFrame) -> ArtifactRef:
        table = pa.Table.from_pandas(data, preserve_index=False).replace_schema_metadata({})
        for index, field in enumerate(table.schema):
            if field.type in (pa.string(), pa.large_string()):
                table = table.set_column(index, field.name, table[field.name].cast(pa.string()).dictionary_encode())
        batches = [table.slice(start, 500) for start in range(0, len(table), 500)]
        info = TableInfo(task=self.task, columns=Columns(**self.columns))
        return write_table(self.store, batches, table.schema, info)

    def champion(self, reference: pd.DataFrame) -> Champion:
        importance = (
            None
            if self.importance is None
            else {
                "metric": "roc_auc",
                "rows": 9,
                "repeats": 3,
                "columns": {name: {"mean": mean, "sd": 0.0} for name, mean in self.importance.items()},
            }
        )
        ref = self.table(reference)
        evaluation = self.store.add_json({"importance": importance})
        return Champion(seq=1, version=3, digest="d", model=ref, order_key=AS_OF, reference=ref, evaluation=evaluation)

    def run(
        self,
        current: pd.DataFrame,
        reference: pd.DataFrame | None = None,
        *,
        predictions: pd.DataFrame | None = None,
        champion: Champion | None = None,
        **section: Any,
    ) -> StepResult:
        said = current if predictions is None else predictions
        said = said[[name for name in ("p_0", "p_1", "prediction", "model_version") if name in said]]
        data = current.drop(columns=["p_0", "p_1", "prediction"], errors="ignore")
        champion = champion or self.champion(frame(seed=1) if reference is None else reference)
        request = StepRequest(
            step="drift",
            pipeline="churn",
            as_of=AS_OF,
            section={**self.section, **section},
            inputs={"dataset": [self.result("dataset", data)], "predictions": [self.result("predictions", said)]},
            champion=champion,
        )
        return run_step(request, self.store)

    def result(self, role: str, data: pd.DataFrame) -> StepResult:
        artifacts = {role: self.table(data)}
        return StepResult(step=role, pipeline="churn", key="0" * 64, as_of=AS_OF, artifacts=artifacts)

    def report(self, result: StepResult) -> DriftReport:
        return DriftReport.model_validate(self.store.read_json(result.artifacts["drift"]))

    def column(self, result: StepResult, name: str) -> ColumnDrift:
        [found] = [column for column in self.report(result).columns if column.column == name]
        return found

    def problems(self, result: StepResult) -> set[tuple[str | None, str]]:
        return {(problem.column, problem.kind) for problem in self.report(result).problems}


@pytest.fixture
def window(store: ArtifactStore) -> Window:
    return Window(store)


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
        "why": "No drift: 0 of 3 features drifted; they hold 0% of the importance, and from 50% on a window drifts.",
        "rows": 2000,
        "version": 3,
        "share": 0.0,
        "weighted_share": 0.0,
        "prediction_drift": False,
        "target_drift": False,
        "columns": [],
        "drifted_columns": 0,
        "problems": [],
        "problem_count": 0,
    }


def test_a_shift_of_half_a_deviation_is_measured_as_that(window: Window) -> None:
    result = window.run(frame(shift=0.5))
    column = window.column(result, "x")
    assert column.drifted
    assert column.statistic == pytest.approx(0.5, abs=0.06)
    assert column.threshold == 0.1
    assert column.noise is not None
    assert column.noise < 0.1
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


def spoilt(column: str, change: Callable[[Any], Any]) -> pd.DataFrame:
    data = frame()
    data[column] = change(data[column])
    return data


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
        (spoilt("x", lambda x: x.where(x.index != 7, 1e300)), ("x", "out_of_range"), True),
        (spoilt("p_1", lambda p: np.nan), ("p_1", "all_missing"), True),
        (frame().drop(columns="prediction"), ("prediction", "missing_column"), True),
    ],
)  # fmt: skip
def test_what_evidently_passes_in_silence_is_told(
    window: Window, data: pd.DataFrame, problem: tuple[str, str], drifted: bool
) -> None:
    result = window.run(data)
    assert problem in window.problems(result)
    assert window.column(result, problem[0]).drifted is drifted
    told: Any = result.facts["problems"]
    assert told[0].startswith(f"{problem[0]}: ")


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


@pytest.mark.parametrize("unit", [1e-200, 1e-9, 1.0, 1e9, 1e200, 1e307])
def test_drift_does_not_depend_on_the_unit(window: Window, unit: float) -> None:
    before, after = frame(seed=1), frame(shift=0.5)
    for data in (before, after):
        data[["x", "y"]] *= unit
    result = window.run(after, before)
    assert window.column(result, "x").statistic == pytest.approx(0.5, abs=0.06)
    assert [window.column(result, name).drifted for name in ("x", "y")] == [True, False]


def test_values_on_neither_side_are_no_drift_and_said(window: Window) -> None:
    before, after = frame(seed=1), frame()
    before["x"] = after["x"] = np.nan
    column = window.column(window.run(after, before), "x")
    assert (column.drifted, column.statistic, column.why) == (False, None, "no values on either side")


def test_values_where_the_reference_has_none_are_drift(window: Window) -> None:
    before = frame(seed=1)
    before["x"] = np.nan
    assert ("x", "no_reference") in window.problems(window.run(frame(), before))


@pytest.mark.parametrize("rows", [0, 1, 199])
def test_too_few_rows_say_nothing(window: Window, rows: int) -> None:
    result = window.run(frame(rows, shift=3))
    assert (result.facts["judged"], result.facts["drifted"], result.facts["weighted_share"]) == (False, False, None)
    assert result.facts["prediction_drift"] is None
    assert "drift needs 200" in str(result.facts["why"])
    assert not any(column.drifted for column in window.report(result).columns)


def test_a_small_window_of_many_categories_is_no_drift_by_chance(window: Window) -> None:
    rng = np.random.default_rng(0)
    before, after = frame(20_000, seed=1), frame(300)
    before["c"] = rng.integers(0, 100, len(before)).astype(str)
    after["c"] = rng.integers(0, 100, len(after)).astype(str)
    column = window.column(window.run(after, before), "c")
    assert column.statistic is not None
    assert column.noise is not None
    assert column.threshold < column.statistic < column.noise
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


def test_predictions_of_other_rows_are_told(window: Window) -> None:
    assert (None, "other_rows") in window.problems(window.run(frame(), predictions=frame(1000)))


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


@pytest.mark.parametrize(
    ("names", "said"), [(["x", "z"], "names no feature: got z"), (["x", "y", "c"], "leaves no feature to compare")]
)
def test_what_cannot_be_left_out_is_refused(window: Window, names: list[str], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        window.run(frame(), ignore=names)


def test_a_champion_without_a_reference_is_an_error(window: Window) -> None:
    champion = window.champion(frame(seed=1)).model_copy(update={"reference": None})
    with pytest.raises(MLOpsError, match=r"version 3 of 'churn' has no reference"):
        window.run(frame(), champion=champion)


@pytest.mark.parametrize(
    ("reference", "said"),
    [(frame(0), "holds no row"), (frame().drop(columns="x"), "x: missing column"), (frame().assign(x="a"), "wrong")],
)
def test_a_reference_that_cannot_be_used_is_an_error(window: Window, reference: pd.DataFrame, said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        window.run(frame(), reference)


def wide(window: Window, columns: int, rows: int = 300) -> StepResult:
    names = [f"{SCRIPT}ж{index}" for index in range(columns)]
    window.columns = {"target": "late", "numeric": names[: columns // 2], "categorical": names[columns // 2 :]}
    window.importance = dict.fromkeys(names, 0.1)

    def data(seed: int, shift: float) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        numbers = {name: rng.normal(shift, 1, rows) for name in window.columns["numeric"]}
        texts = {name: rng.choice([SCRIPT, "b", "c"], rows) for name in window.columns["categorical"]}
        return pd.concat([frame(rows, seed=seed)[["late", "p_1", "prediction"]], pd.DataFrame(numbers | texts)], axis=1)

    return window.run(data(0, 9.0), data(1, 0.0), keep_evidently=columns < 10)


def test_the_page_and_the_facts_stay_small_with_300_columns(window: Window) -> None:
    result = wide(window, 300)
    assert len(json.dumps(result.xcom())) <= MAX_XCOM_BYTES
    assert result.facts["drifted_columns"] == 150
    named: Any = result.facts["columns"]
    assert 0 < len(named) < 20
    assert result.artifacts["report"].size < 1_000_000
    page = window.store.fetch(result.artifacts["report"]).read_text()
    assert page.count("<svg") == 303
    assert "<script" not in page


def test_evidently_keeps_its_own_page_when_asked_and_names_cannot_break_out_of_it(window: Window) -> None:
    assert "evidently" not in window.run(frame()).artifacts
    result = wide(window, 4)
    page = gzip.decompress(window.store.fetch(result.artifacts["evidently"]).read_bytes()).decode()
    assert "alert(1)" in page
    assert "<script>alert(1)" not in page
    assert result.artifacts["evidently"].size < 2_500_000


def test_the_page_shows_the_verdict_and_what_matters_first(window: Window) -> None:
    page = window.store.fetch(window.run(frame(shift=1)).artifacts["report"]).read_text()
    assert "Drift: 1 of 3 features drifted, such as &#x27;x&#x27;; they hold 60% of the importance" in page
    assert page.index('<td class="">x</td>') < page.index('<td class="">y</td>')


def test_the_same_window_is_not_compared_again(window: Window) -> None:
    reference = frame(seed=1)
    first, again = (window.run(frame(shift=1), reference) for _ in range(2))
    assert (first.cached, again.cached) == (False, True)
    changed = window.run(frame(shift=1), reference, numeric_threshold=0.2)
    assert not changed.cached
