"""How rows come to their folds, and what may stand on both sides."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from airflow_mlops_provider.data.tables import Dataset, TableInfo, write_table
from airflow_mlops_provider.exceptions import DataError, SpecError
from airflow_mlops_provider.modeling.folds import assign
from airflow_mlops_provider.modeling.overlap import check_overlap, known_rows
from airflow_mlops_provider.modeling.splits import StoredSplit, read_split, train_mask, write_split
from airflow_mlops_provider.modeling.targets import target_of
from airflow_mlops_provider.spec import Columns, Preparation, Split
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mlops_provider.modeling.folds import Assignment

HOURS = 240


def visits(rows: int = HOURS, patients: int = 24) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    patient = rng.integers(patients, size=rows)
    return pd.DataFrame(
        {
            "visit": np.arange(rows),
            "patient": [f"p{number}" for number in patient],
            "at": pd.date_range("2013-01-01", periods=rows, freq="h", tz="UTC"),
            "x": rng.normal(size=rows),
            "ill": np.where(patient % 4 == 0, 1, rng.random(rows) < 0.05).astype(int),
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path))


def stored(store: ArtifactStore, frame: pd.DataFrame, delay: timedelta = timedelta(0), **roles: Any) -> Dataset:
    usual = {"target": "ill", "timestamp": "at", "keys": ["visit", "patient"], "numeric": ["x"]}
    table = pa.Table.from_pandas(frame, preserve_index=False)
    info = TableInfo(task="binary", columns=Columns(**usual | roles), label_delay=delay)
    return Dataset.open(store, write_table(store, [table], table.schema, info))


def assigned(dataset: Dataset, **split: Any) -> Assignment:
    return assign(Split(**split), dataset, target_of(dataset.column("ill"), "binary"), seed=7)


def cross(dataset: Dataset, kind: str, **split: Any) -> Assignment:
    return assigned(dataset, by="cross_validation", kind=kind, **split)


def test_stratified_folds_have_the_classes_in_equal_shares(store: ArtifactStore) -> None:
    frame = visits()
    found = cross(stored(store, frame), "stratified", folds=4)
    by_fold = frame.groupby(found.fold)["ill"].agg(["size", "sum"])
    assert by_fold.index.tolist() == [1, 2, 3, 4]
    assert np.ptp(by_fold["sum"]) <= 1
    assert np.ptp(by_fold["size"]) <= 1


@pytest.mark.parametrize("kind", ["grouped", "stratified_grouped"])
def test_no_group_is_on_both_sides_of_any_fold(kind: str, store: ArtifactStore) -> None:
    frame = visits()
    found = cross(stored(store, frame), kind, folds=4, group="patient")
    assert frame.groupby("patient").apply(lambda own: len(set(found.fold[own.index])), include_groups=False).max() == 1
    assert np.bincount(found.fold)[1:].min() > 0.6 * HOURS / 4
    if kind == "stratified_grouped":
        assert np.ptp(frame.groupby(found.fold)["ill"].mean()) < 0.2


def test_a_random_holdout_by_group_takes_whole_groups(store: ArtifactStore) -> None:
    frame = visits()
    found = assigned(stored(store, frame), by="random", holdout=0.3, group="patient")
    assert set(frame["patient"][found.fold == 1]).isdisjoint(frame["patient"][found.fold == 0])
    assert 0.1 < (found.fold == 1).mean() < 0.6


@pytest.mark.parametrize("kind", ["stratified", "grouped", "stratified_grouped"])
def test_an_assignment_does_not_depend_on_the_order_of_the_rows(kind: str, store: ArtifactStore) -> None:
    frame, group = visits(), None if kind == "stratified" else "patient"
    turned = frame.iloc[::-1].reset_index(drop=True)
    one, other = (cross(stored(store, each), kind, group=group) for each in (frame, turned))
    assert one.fold.tolist() == other.fold[::-1].tolist()
    assert (
        assign(
            Split(by="cross_validation", kind=kind, group=group),
            stored(store, frame),
            target_of(frame["ill"], "binary"),
            seed=8,
        ).fold.tolist()
        != one.fold.tolist()
    )


def test_a_time_series_trains_on_the_past_alone(store: ArtifactStore) -> None:
    frame = visits()
    frame["at"] = frame["at"].dt.floor("6h")  # rows of one moment go to one side
    found = cross(stored(store, frame), "time_series", folds=5)
    assert found.boundaries == sorted(found.boundaries)
    for number in range(1, 6):
        trains, held = frame["at"][found.train_mask(number)], frame["at"][found.fold == number]
        assert trains.max() < held.min()
        assert len(trains) >= 34 * number
    assert (found.fold == 0).sum() > 30


@pytest.mark.parametrize(
    ("delay", "embargo", "gap"), [("6h", None, 6), ("0h", "3h", 3), ("6h", "0h", 0), ("6h", "9h", 9)]
)
@pytest.mark.parametrize("by", ["time", "cross_validation"])
def test_a_row_whose_label_comes_after_the_holdout_begins_does_not_train(
    by: str, delay: str, embargo: str | None, gap: int, store: ArtifactStore
) -> None:
    frame = visits()
    split = {"embargo": pd.Timedelta(embargo).to_pytimedelta() if embargo else None, "folds": 4}
    kind = "k_fold" if by == "time" else "time_series"
    dataset = stored(store, frame, pd.Timedelta(delay).to_pytimedelta())
    found = assigned(dataset, by=by, kind=kind, **split)
    for number, boundary in enumerate(map(pd.Timestamp, found.boundaries), start=1):
        trains = frame["at"][found.train_mask(number)]
        # The row whose label comes at the boundary itself is not known before it, as at as_of in ingest.
        assert trains.max() == boundary - pd.Timedelta(hours=gap + 1 if gap else 1)
        assert ((found.fold == number) & found.train_mask(number)).sum() == 0
    assert found.idle == (gap if by == "time" else 0)


def test_a_stored_assignment_keeps_which_rows_train_when(store: ArtifactStore) -> None:
    from airflow_mlops_provider.modeling.splits import SplitPlan

    dataset = stored(store, visits(), timedelta(hours=5))
    found = cross(dataset, "time_series", folds=3)
    plan = SplitPlan(
        task="binary", columns=dataset.info.columns, by="cross_validation", folds=3, rows=HOURS, rows_train=HOURS,
        rows_holdout=180,
    )  # fmt: skip
    refs = write_split(store, StoredSplit(plan, found.fold, found.trains_from))
    again = read_split(store, refs["split"], refs["assignment"])
    for number in (1, 2, 3):
        assert again.train_mask(number).tolist() == found.train_mask(number).tolist()


@pytest.mark.parametrize(
    ("split", "says"),
    [
        ({"kind": "time_series"}, "a split by kind time_series needs data.columns.timestamp"),
        ({"kind": "grouped", "group": "x"}, r"preparation.split.group is 'x', not among the keys and categories"),
        ({"kind": "stratified", "folds": 50}, r"class 1 of target 'ill' has \d+ rows.*one for each of preparation"),
        ({"kind": "grouped", "group": "patient", "folds": 30}, "group 'patient' has 2. distinct values.*at least 30"),
    ],
)
def test_what_cannot_be_folded_is_named(split: dict[str, Any], says: str, store: ArtifactStore) -> None:
    with pytest.raises((SpecError, DataError), match=says):
        assigned(stored(store, visits(120), timestamp=None), by="cross_validation", **split)


def test_a_missing_group_is_named(store: ArtifactStore) -> None:
    frame = visits()
    frame.loc[17, "patient"] = None
    with pytest.raises(DataError, match="group 'patient' is missing in 1 rows, first in row 17"):
        cross(stored(store, frame), "grouped", group="patient")


# ---------------------------------------------------------------- both sides


def judged(dataset: Dataset, leakage: dict[str, Any], **split: Any) -> list[str]:
    section = Preparation.model_validate({"split": {"by": "time", **split}, "leakage": leakage})
    return check_overlap(section, dataset, assign(section.split, dataset, target_of(dataset.column("ill"), "b"), 7))


def with_a_repeated_row() -> pd.DataFrame:
    frame = visits().assign(visit=range(HOURS))
    frame.loc[[235, 236], ["x", "ill"]] = frame.loc[20, ["x", "ill"]].to_numpy()
    return frame.astype({"ill": int})


def test_rows_that_are_on_both_sides_are_told_with_their_share(store: ArtifactStore) -> None:
    dataset = stored(store, with_a_repeated_row())
    (reported,) = judged(dataset, {})
    assert reported.startswith("2 of 48 held-out rows (4.17%) equal a training row in every feature and the target")
    assert judged(dataset, {"duplicates": {"max_share": 0.05}}) == []
    assert judged(dataset, {"duplicates": None}) == []
    with pytest.raises(DataError, match=r"\(4\.17%\) equal a training row in every feature.*first row 235.*2\.00%"):
        judged(dataset, {"duplicates": {"policy": "fail", "max_share": 0.02}})


def test_keys_and_groups_on_both_sides_follow_their_policy(store: ArtifactStore) -> None:
    dataset = stored(store, visits(), keys=["patient"])
    assert judged(dataset, {"duplicates": None}) == []  # who comes back is no duplicate, unless the file says so
    with pytest.raises(DataError, match=r"held-out rows \(\d+.*%\) equal a training row in keys \['patient'\]"):
        judged(dataset, {"keys": {"policy": "fail"}})
    with pytest.raises(DataError, match="equal a training row in group 'patient'.*preparation.leakage.groups"):
        judged(dataset, {}, group="patient")
    assert judged(dataset, {"groups": {"policy": "warn"}}, group="patient")[0].endswith("groups allows 0.00%")
    for split in ({"kind": "grouped", "by": "cross_validation"}, {"by": "random"}):
        assert judged(dataset, {"duplicates": None}, group="patient", **split) == []


def test_a_row_is_held_against_the_rows_that_train_for_its_own_fold(store: ArtifactStore) -> None:
    found = cross(stored(store, visits(12), timestamp="at"), "time_series", folds=3)
    assert found.fold.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    hashes = np.arange(12, dtype=np.uint64)
    hashes[[4, 5]] = 77  # twice in one fold: nobody was trained on it before
    hashes[[7, 2]] = 88  # trained on before
    hashes[[3, 9]] = 99
    assert np.flatnonzero(known_rows(hashes, found)).tolist() == [7, 9]
    assert train_mask(found.fold, found.trains_from, 1).tolist() == [True] * 3 + [False] * 9
