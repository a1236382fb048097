from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from evaluated_world import LOGISTIC, RIDGE, STUMP, World, rows_of

from airflow_mlops_provider.data.tables import read_table, table_info
from airflow_mlops_provider.modeling.predictions import predictions_frame
from airflow_mlops_provider.modeling.splits import read_split
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("split", ["random", "cross_validation"])
def test_the_reference_is_the_data_and_what_the_winner_said_of_rows_held_out(
    store: ArtifactStore, task: str, split: str
) -> None:
    frame = rows_of(task)
    world = World(store, task).load(frame, split)
    models = world.train(one=RIDGE if task == "regression" else LOGISTIC)
    metric = {"regression": "rmse"}.get(task, "log_loss")
    result = world.evaluate(models, [metric])
    found = read_table(store, result.artifacts["reference"])
    assert found["height"].tolist() == frame["height"].tolist()
    assert found["target"].tolist() == frame["target"].tolist()
    info = table_info(store, result.artifacts["reference"])
    assert (info.task, info.columns.features, info.columns.keys) == (task, ["height", "noise", "town"], [])
    held_out = np.arange(len(frame)) if split == "cross_validation" else held_out_rows(world)
    assert np.flatnonzero(found["prediction"].notna()).tolist() == list(held_out)
    message = predictions_frame(store, models[0].artifacts["predictions"])
    names = [name for name in message if name.startswith(("p_", "prediction"))]
    assert found[names].dropna().to_numpy() == pytest.approx(message[names].to_numpy())
    if task != "regression":
        classes = np.array(sorted(frame["target"].unique()))
        assert found["prediction"].dropna().tolist() == classes[message[names].to_numpy().argmax(axis=1)].tolist()


def test_the_reference_says_when_its_rows_were(store: ArtifactStore) -> None:
    frame = rows_of("binary")
    frame["at"] = pd.date_range("2013-01-01", periods=len(frame), freq="h", tz="UTC")
    world = World(store).load(frame, roles={"timestamp": "at"})
    result = world.evaluate(world.train(one=LOGISTIC), ["log_loss"])
    assert table_info(store, result.artifacts["reference"]).columns.timestamp == "at"
    assert read_table(store, result.artifacts["reference"], ["at"])["at"].tolist() == frame["at"].tolist()


def held_out_rows(world: World) -> list[int]:
    split = world.split[0].artifacts
    return np.flatnonzero(read_split(world.store, split["split"], split["assignment"]).fold).tolist()


def test_a_large_reference_is_a_sample_spread_over_the_rows(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_mlops_provider.evaluation.reference.MAX_ROWS", 60)
    frame = rows_of("binary")
    world = World(store).load(frame)
    result = world.evaluate(world.train(one=LOGISTIC), ["log_loss"])
    found = read_table(store, result.artifacts["reference"])
    positions = [frame["height"].tolist().index(height) for height in found["height"]]
    assert (len(positions), positions[0]) == (60, 0)
    assert positions == sorted(set(positions))
    assert max(np.diff(positions)) <= len(frame) // 60 + 1
    held_out = set(held_out_rows(world))
    assert [position in held_out for position in positions] == found["prediction"].notna().tolist()


def test_equal_trainings_have_equal_references(tmp_path: Path) -> None:
    refs = []
    for name in ("a", "b"):
        world = World(ArtifactStore(str(tmp_path / name))).load(rows_of("binary"))
        refs.append(world.evaluate(world.train(one=STUMP), ["log_loss"]).artifacts["reference"].sha256)
    assert refs[0] == refs[1]
