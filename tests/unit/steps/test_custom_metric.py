"""A metric of the user's own: a function in the plugins folder, as docs/custom-metrics.md writes it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from evaluated_world import LOGISTIC, RIDGE, STUMP, World, champion_of, rows_of
from sklearn.metrics import matthews_corrcoef, mean_pinball_loss, roc_auc_score, top_k_accuracy_score
from sklearn.metrics import mean_absolute_percentage_error as MAPE

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.evaluation.bootstrap import resample
from airflow_mlops_provider.evaluation.custom_metrics import OwnMetrics, bind
from airflow_mlops_provider.evaluation.metrics import predictions_of
from airflow_mlops_provider.evaluation.resampled_metrics import statistics_of
from airflow_mlops_provider.exceptions import DataError, MLOpsError, NotAllowedError, TransientServiceError
from airflow_mlops_provider.spec import CustomMetric

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mlops_provider.storage import ArtifactStore

GUIDE = Path(__file__).parents[3] / "docs" / "custom-metrics.md"
PROFIT = {"function": "profit.expected_profit", "params": {"margin": 0.2}, "columns": ["amount"]}


def example() -> str:
    [code] = re.findall(r"<!-- example: profit.py -->\n```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    return str(code)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AllowList]:
    """Write the user's module, and return what allows it."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    monkeypatch.syspath_prepend(str(plugins))

    def write(code: str | None = None) -> AllowList:
        (plugins / "profit.py").write_text(example() if code is None else code)
        monkeypatch.delitem(sys.modules, "profit", raising=False)
        return AllowList(plugins_folder=str(plugins))

    return write


@pytest.fixture
def town(store: ArtifactStore) -> World:
    """A town whose rows have an amount that no model knows."""
    frame = rows_of("binary")
    frame["amount"] = np.random.default_rng(5).lognormal(3, 0.3, len(frame))
    return World(store).load(frame, roles={"amounts": ["amount"]})


def profit(truth: np.ndarray, scores: np.ndarray, amount: np.ndarray) -> float:
    return float(np.mean(np.where(scores < 0.5, np.where(truth == 1, -amount, 0.2 * amount), 0.0)))


def test_the_guides_function_decides_with_its_interval(town: World, plugin: Callable[..., AllowList]) -> None:
    town.allow_list = plugin()
    models = town.train(logistic=LOGISTIC, stump=STUMP)
    report = town.report(models, [PROFIT, "roc_auc"], slices=["town"])
    assert report.metrics == ["expected_profit", "roc_auc"]
    amount = town.column("amount")
    for model, name in zip(models, ("logistic", "stump"), strict=True):
        truth, scores, rows = town.held_out_rows(model)
        own = profit(truth, scores[:, 1], amount[rows])
        assert report.candidates[name].metrics["expected_profit"] == pytest.approx(own)
    best = max(report.candidates, key=lambda name: report.candidates[name].metrics["expected_profit"] or 0)
    assert report.winner == best
    span = report.intervals["expected_profit"]
    assert span.low is not None
    assert span.high is not None
    assert span.low < report.challenger.metrics["expected_profit"] < span.high
    assert report.over_baseline["expected_profit"].quantiles
    assert {"expected_profit"} == set(report.worst_slices) & {"expected_profit"}
    assert report.importance is not None
    assert report.importance.columns


def test_of_a_cost_less_is_better(town: World, plugin: Callable[..., AllowList]) -> None:
    town.allow_list = plugin("def misses_cost(y_true, y_pred):\n    return float((y_true != y_pred).mean())\n")
    report = town.report(town.train(logistic=LOGISTIC, stump=STUMP), ["profit.misses_cost", "accuracy"])
    for one in report.candidates.values():
        assert one.metrics["misses_cost"] == pytest.approx(1 - (one.metrics["accuracy"] or 0))
    assert report.winner == min(report.candidates, key=lambda name: report.candidates[name].metrics["misses_cost"] or 9)
    gained = report.over_baseline["misses_cost"].value
    assert gained == pytest.approx(report.over_baseline["accuracy"].value)


def test_a_function_of_scikit_learn_is_a_metric(town: World) -> None:
    models = town.train(logistic=LOGISTIC)
    metric = {"function": "sklearn.metrics.matthews_corrcoef", "name": "matthews_score"}
    report = town.report(models, ["roc_auc", metric])
    truth, scores, _ = town.held_out_rows(models[0])
    assert report.challenger.metrics["matthews_score"] == pytest.approx(matthews_corrcoef(truth, scores[:, 1] > 0.5))


@pytest.mark.parametrize(
    ("task", "candidate", "metric", "expected"),
    [
        (
            "regression",
            RIDGE,
            {"function": "sklearn.metrics.mean_pinball_loss", "params": {"alpha": 0.9}},
            lambda truth, scores: mean_pinball_loss(truth, scores[:, 0], alpha=0.9),
        ),
        (
            "regression",
            RIDGE,
            "sklearn.metrics.mean_absolute_percentage_error",
            lambda truth, scores: MAPE(truth, scores[:, 0]),
        ),
        (
            "multiclass",
            LOGISTIC,
            {"function": "sklearn.metrics.top_k_accuracy_score", "params": {"k": 2}},
            lambda truth, scores: top_k_accuracy_score(truth, scores, k=2),
        ),
        (
            "multiclass",
            LOGISTIC,
            {"function": "sklearn.metrics.cohen_kappa_score"},
            None,  # its parameters are called y1 and y2: it gets probabilities, and says so
        ),
    ],
    ids=["pinball loss", "percentage error", "top two", "a function of labels by another name"],
)
def test_functions_of_scikit_learn_measure_other_tasks(
    store: ArtifactStore, task: str, candidate: dict[str, Any], metric: Any, expected: Callable[..., float] | None
) -> None:
    world = World(store, task).load(rows_of(task))
    models = world.train(one=candidate)
    if expected is None:
        with pytest.raises(MLOpsError, match="metric 'cohen_kappa_score': sklearn.metrics.cohen_kappa_score failed"):
            world.evaluate(models, [metric])
        return
    report = world.report(models, [metric])
    truth, scores, _ = world.held_out_rows(models[0])
    [value] = report.challenger.metrics.values()
    assert value == pytest.approx(expected(truth, scores), rel=1e-6)
    [span] = report.intervals.values()
    assert span.low is not None
    assert span.high is not None
    assert span.low < value < span.high


def test_the_champion_is_measured_by_it_too(town: World, plugin: Callable[..., AllowList]) -> None:
    town.allow_list = plugin()
    logistic, stump = town.train(logistic=LOGISTIC, stump=STUMP)
    report = town.report([logistic], [PROFIT, "roc_auc"], champion=champion_of(stump))
    assert report.champion is not None
    truth, scores, rows = town.held_out_rows(stump)
    own = profit(truth, scores[:, 1], town.column("amount")[rows])
    assert report.champion.metrics["expected_profit"] == pytest.approx(own)
    assert report.champion.differences["expected_profit"].quantiles


def test_another_code_measures_anew(town: World, plugin: Callable[..., AllowList]) -> None:
    town.allow_list = plugin()
    models = town.train(logistic=LOGISTIC)
    first, again = (town.evaluate(models, [PROFIT]) for _ in range(2))
    town.allow_list = plugin(example().replace("-1.0", "-2.0"))
    changed = town.evaluate(models, [PROFIT])
    assert (first.cached, again.cached, changed.cached) == (False, True, False)
    assert first.facts["metrics"] != changed.facts["metrics"]


def test_a_search_is_decided_by_it(town: World, plugin: Callable[..., AllowList]) -> None:
    town.allow_list = plugin()
    search = {"method": "grid", "space": {"C": [0.01, 1.0]}, "cv": 2, "metric": PROFIT}
    [model] = town.train(logistic={**LOGISTIC, "search": search})
    found = model.facts["search"]
    assert found["metric"] == "expected_profit"
    assert found["failed"] == 0
    assert found["best"] is not None


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def expected_profit(y_true, y_score, **kwargs):\n    return 1 / 0\n", "ZeroDivisionError"),
        ("def expected_profit(y_true, y_score, **kwargs):\n    return None\n", "did not return a number: got NoneType"),
        ("def expected_profit(y_true):\n    return 0.0\n", "takes 1 positional argument but 2 were given"),
        (
            "def expected_profit(y_true, y_score, sample_weight=None, **kwargs):\n    return y_score.sum()\n",
            "does not weight rows by `sample_weight`",
        ),
    ],
    ids=["raises", "no number", "takes other arguments", "ignores weights"],
)
def test_what_is_no_metric_is_an_error_that_names_it(
    town: World, plugin: Callable[..., AllowList], code: str, words: str
) -> None:
    town.allow_list = plugin(code)
    with pytest.raises(MLOpsError, match="metric 'expected_profit': profit.expected_profit") as caught:
        town.evaluate(town.train(logistic=LOGISTIC), ["roc_auc", "profit.expected_profit"])
    assert words in str(caught.value)


def test_a_function_that_is_not_allowed_is_not_imported(town: World) -> None:
    with pytest.raises(NotAllowedError, match="os"):
        town.evaluate(town.train(logistic=LOGISTIC), [{"function": "os.getpid", "name": "pid_score"}])


def test_a_column_that_is_gone_is_named(world: World, plugin: Callable[..., AllowList]) -> None:
    world.allow_list = plugin()
    with pytest.raises(DataError, match="no column 'amount'"):
        world.evaluate(world.train(logistic=LOGISTIC), [PROFIT])


def test_a_function_changes_nothing_that_others_see(town: World, plugin: Callable[..., AllowList]) -> None:
    town.allow_list = plugin(
        """
def frame_gain(y_true, y_score, frame):
    frame["amount"] *= -1
    return float(frame["amount"].mean())
def truth_gain(y_true, y_score):
    y_true[:] = 0
    return 0.0
"""
    )
    models = town.train(logistic=LOGISTIC, stump=STUMP)
    report = town.report(models, [{"function": "profit.frame_gain", "columns": ["amount"]}, "roc_auc"])
    one, other = (report.candidates[name].metrics["frame_gain"] for name in ("logistic", "stump"))
    assert one == other
    with pytest.raises(MLOpsError, match="truth_gain failed: got ValueError: assignment destination is read-only"):
        town.evaluate(models, ["profit.truth_gain"])


def test_each_function_gets_its_own_columns_in_the_order_of_the_rows(
    town: World, plugin: Callable[..., AllowList]
) -> None:
    town.allow_list = plugin(
        """
import pandas as pd
def columns_gain(y_true, y_score, frame):
    return float(len(frame.columns))
def aligned_gain(y_true, y_score, frame):
    return float((frame["amount"] * pd.Series(y_true)).mean())
def none_gain(y_true, y_score, frame):
    return float(frame is None)
"""
    )
    [model] = town.train(logistic=LOGISTIC)
    metrics = [
        {"function": "profit.columns_gain", "columns": ["height"]},
        {"function": "profit.aligned_gain", "columns": ["amount"]},
        "profit.none_gain",
    ]
    found = town.report([model], metrics).challenger.metrics
    truth, _, rows = town.held_out_rows(model)
    assert found["aligned_gain"] == pytest.approx((town.column("amount")[rows] * truth).mean())
    assert (found["columns_gain"], found["none_gain"]) == (1, 1)


def test_only_a_second_parameter_called_y_pred_gets_classes(town: World) -> None:
    metric = {"function": "sklearn.metrics.log_loss", "name": "sk_log_loss"}
    found = town.report(town.train(logistic=LOGISTIC), ["log_loss", metric]).challenger.metrics
    assert found["sk_log_loss"] == pytest.approx(found["log_loss"])


def test_a_metric_that_raises_fails_a_search_too(town: World, plugin: Callable[..., AllowList]) -> None:
    town.allow_list = plugin("def a_score(y_true, y_score):\n    raise ConnectionError('refused')\n")
    search = {"method": "grid", "space": {"C": [0.01, 1.0]}, "cv": 2, "metric": "profit.a_score"}
    with pytest.raises(TransientServiceError, match="metric 'a_score': profit.a_score could not reach"):
        town.train(logistic={**LOGISTIC, "search": search})


@pytest.mark.parametrize("value", ["np.float32(0.5)", "np.array(0.5)", "np.bool_(True)", "float('inf')"])
def test_numbers_of_numpy_are_numbers_and_infinity_is_undefined(
    town: World, plugin: Callable[..., AllowList], value: str
) -> None:
    code = f"import numpy as np\ndef a_score(y_true, y_score, sample_weight=None):\n    return {value}\n"
    town.allow_list = plugin(code)
    found = town.report(town.train(logistic=LOGISTIC), ["roc_auc", "profit.a_score"]).challenger
    assert found.metrics["a_score"] in (0.5, 1.0, None)
    assert ("a_score" in found.undefined) == (value == "float('inf')")


def test_nan_is_undefined_and_says_so(town: World, plugin: Callable[..., AllowList]) -> None:
    town.allow_list = plugin("def expected_profit(y_true, y_score):\n    return float('nan')\n")
    report = town.report(town.train(logistic=LOGISTIC), ["roc_auc", "profit.expected_profit"])
    assert report.challenger.metrics["expected_profit"] is None
    assert report.challenger.undefined["expected_profit"] == "it is nan"
    assert report.intervals["expected_profit"].low is None


def weighted_auc(y_true: Any, y_score: Any, sample_weight: Any = None) -> float:
    return float(roc_auc_score(y_true, y_score, sample_weight=sample_weight))


def plain_auc(y_true: Any, y_score: Any) -> float:
    return float(roc_auc_score(y_true, y_score))


@pytest.mark.parametrize("function", [weighted_auc, plain_auc])
def test_it_is_resampled_as_the_packages_own(function: Callable[..., float]) -> None:
    chance = np.random.default_rng(1)
    truth = chance.integers(0, 2, 300)
    likely = 1 / (1 + np.exp(-truth - chance.normal(size=300)))
    metric = CustomMetric(function="mine.own_score")
    own = OwnMetrics({"own_score": bind(metric, function)})
    predictions = predictions_of("binary", truth, np.column_stack([1 - likely, likely]), (0, 1), own=own)
    drawn = resample(statistics_of(["roc_auc", "own_score"], predictions), predictions.drawn, 50, 1)
    np.testing.assert_allclose(drawn["own_score"].values, drawn["roc_auc"].values, atol=1e-9)
    np.testing.assert_allclose(drawn["own_score"].left_out, drawn["roc_auc"].left_out, atol=1e-9)
