from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from airflow_mlops_provider.exceptions import ArtifactError, DataError, SpecError
from airflow_mlops_provider.modeling.splits import assign_by_hash, read_split, row_hashes
from airflow_mlops_provider.results import MAX_XCOM_BYTES

if TYPE_CHECKING:
    from airflow_mlops_provider.modeling.splits import StoredSplit
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.storage import ArtifactStore

ROLES: dict[str, Any] = {
    "target": "late",
    "timestamp": "departs",
    "keys": ["flight"],
    "numeric": ["distance", "wind"],
    "categorical": ["origin"],
}
TIME = {"split": {"by": "time", "holdout": 0.25}}
RANDOM = {"split": {"by": "random", "holdout": 0.25}}


def flights(rows: int = 400, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    distance = rng.normal(500, 100, rows)
    return pd.DataFrame(
        {
            "flight": [f"UA{number}" for number in range(rows)],
            "departs": pd.date_range("2013-01-01", periods=rows, freq="h", tz="UTC"),
            "distance": distance,
            "wind": rng.normal(10, 3, rows),
            "origin": rng.choice(["EWR", "JFK", "LGA"], rows),
            "late": (distance + rng.normal(0, 100, rows) > 500).astype(int),
        }
    )


def split_of(store: ArtifactStore, result: StepResult) -> StoredSplit:
    return read_split(store, result.artifacts["split"], result.artifacts["assignment"])


def test_a_split_by_time_holds_out_the_last_rows(store: ArtifactStore, ingested: Any, step: Any) -> None:
    result = step("prepare", TIME, dataset=ingested(flights(), **ROLES))

    split = split_of(store, result)
    assert split.fold.tolist() == [0] * 300 + [1] * 100
    assert split.plan.boundary == "2013-01-13T12:00:00+00:00"
    assert (split.plan.rows_train, split.plan.rows_holdout, split.plan.folds) == (300, 100, 1)
    assert result.facts["rows_train"] == 300
    assert result.facts["boundary"] == split.plan.boundary
    assert sum(split.plan.class_shares.values()) == pytest.approx(1)


def test_rows_of_one_moment_are_held_out_together(store: ArtifactStore, ingested: Any, step: Any) -> None:
    frame = flights()
    frame["departs"] = frame["departs"].dt.floor("D")

    split = split_of(store, step("prepare", TIME, dataset=ingested(frame, **ROLES)))

    sides = frame.groupby("departs").apply(lambda day: set(split.fold[day.index]), include_groups=False)
    assert sides.map(len).max() == 1
    assert split.plan.rows_holdout >= 100


def test_a_row_stays_on_its_side_from_day_to_day(store: ArtifactStore, ingested: Any, step: Any) -> None:
    today = flights()
    tomorrow = pd.concat([flights(100, seed=2).assign(flight=lambda new: "DL" + new["flight"]), today])

    first = split_of(store, step("prepare", RANDOM, dataset=ingested(today, **ROLES)))
    second = split_of(store, step("prepare", RANDOM, dataset=ingested(tomorrow, batch_rows=60, **ROLES)))

    assert second.fold[100:].tolist() == first.fold.tolist()
    assert first.plan.rows_holdout == pytest.approx(100, abs=30)


def test_another_seed_holds_out_other_rows(store: ArtifactStore, ingested: Any, step: Any) -> None:
    dataset = ingested(flights(), **ROLES)

    folds = [split_of(store, step("prepare", RANDOM, dataset=dataset, seed=seed)).fold for seed in (1, 2)]

    agree = float((folds[0] == folds[1]).mean())
    assert agree == pytest.approx(0.25**2 + 0.75**2, abs=0.1)


def test_cross_validation_holds_out_every_row_once(store: ArtifactStore, ingested: Any, step: Any) -> None:
    section = {"split": {"by": "cross_validation", "folds": 4}}

    split = split_of(store, step("prepare", section, dataset=ingested(flights(), **ROLES)))

    assert sorted(set(split.fold.tolist())) == [1, 2, 3, 4]
    assert np.bincount(split.fold)[1:].min() > 60
    assert (split.plan.rows_train, split.plan.rows_holdout) == (400, 400)
    assert (split.train_mask(2) ^ split.holdout_mask(2)).all()


def test_the_hash_of_a_row_knows_only_its_values(store: ArtifactStore, ingested: Any) -> None:
    frame = pd.DataFrame({"id": [1, 2, 3, 4], "kind": ["a", "b", "a", "c"], "late": [0, 1, 0, 1]})
    with_null = pd.DataFrame({"id": pd.array([None, 2, 3, 4], "Int64"), "kind": ["c", "b", "a", "c"], "late": 0})
    roles = {"target": "late", "categorical": ["kind"], "keys": ["id"]}

    hashes = row_hashes(store, ingested(frame, **roles).artifacts["dataset"], ["id", "kind"])
    again = row_hashes(store, ingested(with_null, batch_rows=2, **roles).artifacts["dataset"], ["id", "kind"])

    assert hashes[1:].tolist() == again[1:].tolist()
    assert hashes[0] != again[0]


def test_hashes_spread_evenly_over_folds() -> None:
    hashes = np.arange(100_000, dtype=np.uint64)

    counts = np.bincount(assign_by_hash(hashes, seed=3, folds=5))

    assert counts[0] == 0
    assert counts[1:].min() > 19_500


def test_a_feature_with_too_much_missing_is_refused_by_name(ingested: Any, step: Any) -> None:
    frame = flights()
    frame.loc[:199, "wind"] = np.nan

    with pytest.raises(DataError, match=r"feature 'wind' is missing in 66\.7%.*at most 30\.0%"):
        step("prepare", TIME, dataset=ingested(frame, **ROLES))


def test_a_feature_with_too_much_missing_is_dropped_where_the_file_says_so(
    store: ArtifactStore, ingested: Any, step: Any
) -> None:
    frame = flights()
    frame.loc[:199, "origin"] = None

    result = step("prepare", TIME | {"missing": {"over": "drop"}}, dataset=ingested(frame, **ROLES))

    plan = split_of(store, result).plan
    assert plan.dropped == {"origin": pytest.approx(0.666667)}
    assert plan.columns.features == ["distance", "wind"]
    assert result.facts["dropped"] == plan.dropped


def test_a_feed_that_broke_lately_is_refused(ingested: Any, step: Any) -> None:
    frame = flights()
    frame.loc[300:, "wind"] = np.nan  # a quarter of all rows, but the whole holdout

    with pytest.raises(DataError, match=r"'wind' is missing in 100\.0%"):
        step("prepare", TIME, dataset=ingested(frame, **ROLES))


def test_dropping_every_feature_is_an_error(ingested: Any, step: Any) -> None:
    frame = flights()
    frame.loc[:199, ["distance", "wind", "origin"]] = None

    with pytest.raises(DataError, match="every feature has too many missing values"):
        step("prepare", TIME | {"missing": {"over": "drop"}}, dataset=ingested(frame, **ROLES))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.assign(late=1), "target 'late' has a single class in all 400 rows"),
        (lambda frame: frame.assign(late=range(400)), "target 'late' of a binary pipeline has 400 classes"),
        (
            lambda frame: frame.assign(late=[0, 1] * 150 + [0] * 100),
            "the holdout would have no rows of class 1 of target 'late'",
        ),
        (
            lambda frame: frame.assign(late=[1] * 300 + [0, 1] * 50),
            "the training rows would have no rows of class 0 of target 'late'",
        ),
        (
            lambda frame: frame.assign(late=frame["late"].astype("Int64").where(frame.index != 17)),
            "target 'late' is missing in 1 rows, first in row 17",
        ),
        (
            lambda frame: frame.assign(wind=frame["wind"].where(frame.index != 9, np.inf)),
            "feature 'wind' is infinite in 1 rows, first in row 9",
        ),
        (lambda frame: frame.assign(wind="strong"), "feature 'wind' is not numeric"),
        (lambda frame: frame.head(19), "the dataset has too few rows.*got 19 rows"),
        (lambda frame: frame.head(30), "the holdout would have 8 rows"),
        (
            lambda frame: frame.assign(departs=frame["departs"].iloc[0]),
            "the training rows would have 0 rows",
        ),
        (
            lambda frame: frame.assign(departs=frame["departs"].where(frame.index != 5)),
            "timestamp 'departs' is missing in 1 rows, first in row 5",
        ),
    ],
)
def test_data_that_cannot_be_split_is_named(change: Any, message: str, ingested: Any, step: Any) -> None:
    with pytest.raises(DataError, match=message):
        step("prepare", TIME, dataset=ingested(change(flights()), **ROLES))


def test_a_class_of_one_fold_alone_is_refused(ingested: Any, step: Any) -> None:
    frame = flights().assign(late=[2] + [0, 1] * 199 + [1])

    with pytest.raises(DataError, match=r"the training rows of fold \d would have no rows of class 2"):
        step("prepare", {"split": {"by": "cross_validation"}}, dataset=ingested(frame, task="multiclass", **ROLES))


def test_too_many_categories_are_refused_by_name(ingested: Any, step: Any) -> None:
    with pytest.raises(DataError, match=r"category 'origin' has 3 distinct values.*at most 2"):
        step("prepare", TIME | {"max_categories": 2}, dataset=ingested(flights(), **ROLES))


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("wind", lambda frame: -frame["late"] * 10.0 + frame["wind"] / 1000),
        ("wind", lambda frame: frame["wind"].where(frame["late"] == 1)),
        ("wind", lambda frame: np.where(frame["late"] == 1, 1.0, 2.0 * (frame.index % 2))),
        ("origin", lambda frame: frame["late"].map({0: "EWR", 1: "JFK"})),
    ],
    ids=["a number", "what is missing", "a number that is no order", "a category"],
)
def test_a_feature_that_tells_the_target_is_refused(name: str, column: Any, ingested: Any, step: Any) -> None:
    frame = flights()
    frame[name] = column(frame)

    with pytest.raises(DataError, match=f"feature '{name}' alone reveals the target.*AUC of at most 0.999"):
        step("prepare", TIME | {"missing": {"max_share": 0.9}}, dataset=ingested(frame, **ROLES))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize(("noise", "fails"), [(0.0, True), (0.02, True), (0.1, False)])
def test_a_planted_copy_of_the_target_is_caught_and_named(
    task: str, noise: float, fails: bool, store: ArtifactStore, ingested: Any, step: Any
) -> None:
    rng = np.random.default_rng(5)
    frame = flights(2000)
    truth = {
        "binary": frame["late"],
        "multiclass": pd.Series(rng.integers(4, size=2000)),
        "regression": pd.Series(rng.normal(size=2000)),
    }[task]
    frame["late"] = truth
    if task == "regression":
        frame["wind"] = 3 - 2 * (truth + rng.normal(0, noise, 2000))
    else:  # as text, in other words, and the wrong one in some rows
        wrong = rng.random(2000) < noise / 5
        frame["origin"] = [f"kind {value}" for value in np.where(wrong, rng.permutation(truth), (truth + 1) % 7)]
    name = "wind" if task == "regression" else "origin"
    prepared = partial(step, "prepare", RANDOM, dataset=ingested(frame, task=task, **ROLES))
    if fails and (noise == 0 or task == "regression"):
        with pytest.raises(DataError, match=f"feature '{name}' alone reveals the target"):
            prepared()
    else:
        (reported,) = prepared().facts["warnings"]
        assert reported.startswith(f"feature '{name}' alone almost reveals the target")


@pytest.mark.parametrize("name", ["distance", "origin"])
def test_a_feature_that_tells_a_regression_target_is_refused(name: str, ingested: Any, step: Any) -> None:
    frame = flights().assign(late=np.arange(400) % 7)
    frame[name] = -(frame["late"] ** 3.0) if name == "distance" else frame["late"].astype(str)

    with pytest.raises(DataError, match=f"feature '{name}' alone reveals the target.*rank correlation"):
        step("prepare", TIME, dataset=ingested(frame, task="regression", **ROLES))


def test_features_that_make_up_the_target_are_reported(ingested: Any, step: Any) -> None:
    frame = flights()
    frame["late"] = frame["distance"] + 20 * frame["wind"]
    [warning] = step("prepare", TIME, dataset=ingested(frame, task="regression", **ROLES)).facts["warnings"]
    assert warning == (
        "distance and wind together determine the target: late is distance + 20·wind (R² 1.000000). "
        "Were they known beforehand?"
    )


def test_a_category_of_its_own_for_each_row_is_no_leak(store: ArtifactStore, ingested: Any, step: Any) -> None:
    frame = flights().assign(origin=[f"gate {number}" for number in range(400)])

    result = step("prepare", TIME, dataset=ingested(frame, **ROLES))

    assert split_of(store, result).plan.columns.categorical == ["origin"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([np.inf] + [1.0, 2.0] * 199 + [1.0], "target 'late' is not finite in 1 rows, first in row 0"),
        ([3.0] * 400, "target 'late' is the same in all 400 rows"),
        (["soon"] * 400, "target 'late' is not numeric"),
    ],
)
def test_a_regression_target_must_vary_and_be_finite(values: Any, message: str, ingested: Any, step: Any) -> None:
    with pytest.raises(DataError, match=message):
        step("prepare", TIME, dataset=ingested(flights().assign(late=values), task="regression", **ROLES))


def test_a_row_on_both_sides_of_the_boundary_is_named(ingested: Any, step: Any) -> None:
    frame = flights()
    twice = [column for column in frame.columns if column != "departs"]
    frame.loc[350, twice] = frame.loc[20, twice]

    with pytest.raises(DataError, match=r"1 held-out rows are also training rows.*first row 350.*UA20"):
        step("prepare", TIME, dataset=ingested(frame, **ROLES))


def test_the_same_key_with_new_values_is_another_row(ingested: Any, step: Any) -> None:
    frame = flights()
    frame.loc[350, "flight"] = frame.loc[20, "flight"]

    assert step("prepare", TIME, dataset=ingested(frame, **ROLES)).facts["rows_holdout"] == 100


def test_a_split_by_time_needs_a_timestamp(ingested: Any, step: Any) -> None:
    roles = {**ROLES, "timestamp": None}

    with pytest.raises(SpecError, match=r"needs data\.columns\.timestamp"):
        step("prepare", TIME, dataset=ingested(flights(), **roles))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([True, False], [False, True]),
        (["yes", "no"], ["no", "yes"]),
        ([10, 2], [2, 10]),
        (["late", "early"], ["early", "late"]),
    ],
)
def test_classes_keep_their_type_and_are_sorted(
    labels: list[Any], classes: list[Any], store: ArtifactStore, ingested: Any, step: Any
) -> None:
    frame = flights()
    frame["late"] = [labels[value] for value in frame["late"]]

    plan = split_of(store, step("prepare", TIME, dataset=ingested(frame, **ROLES))).plan

    assert plan.classes == classes
    assert [type(label) for label in plan.classes or []] == [type(label) for label in classes]
    assert set(plan.class_shares) == {str(label) for label in classes}


def test_the_facts_fit_into_xcom_whatever_the_classes_are_called(
    store: ArtifactStore, ingested: Any, step: Any
) -> None:
    rng = np.random.default_rng(1)
    names = np.array([f"{'категория' * 5} {number}" for number in range(200)])
    frame = flights(20_000).assign(late=rng.choice(names, 20_000))

    result = step("prepare", RANDOM, dataset=ingested(frame, task="multiclass", **ROLES))

    assert len(json.dumps(result.xcom())) < MAX_XCOM_BYTES
    assert len(split_of(store, result).plan.class_shares) == 200


def test_an_assignment_of_another_dataset_is_refused(store: ArtifactStore, ingested: Any, step: Any) -> None:
    one = step("prepare", TIME, dataset=ingested(flights(), **ROLES))
    other = step("prepare", TIME, dataset=ingested(flights(500), **ROLES))

    with pytest.raises(ArtifactError, match="does not belong to split"):
        read_split(store, one.artifacts["split"], other.artifacts["assignment"])


def test_preparing_imports_no_scikit_learn() -> None:
    code = (
        "import sys; import airflow_mlops_provider.steps.prepare, airflow_mlops_provider.steps.train; "
        "print([name for name in ('numpy', 'pandas', 'pyarrow', 'sklearn', 'skops') if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert loaded.stdout.strip() == "[]"
