from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops_provider.data.tables import read_table, table_info, table_schema
from airflow_mlops_provider.exceptions import DataError, MLOpsError, ModelError, ModelUnavailableError, SpecError
from airflow_mlops_provider.job import Champion, StepRequest
from airflow_mlops_provider.modeling.model_file import load_model
from airflow_mlops_provider.modeling.predictions import feature_frame
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mlops_provider.results import StepResult

AS_OF = datetime(2013, 6, 1, tzinfo=UTC)
COLUMNS = {"target": "late", "timestamp": "at", "keys": ["id"], "numeric": ["x"], "categorical": ["c"]}
MODELS: dict[str, dict[str, Any]] = {
    "binary": {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "params": {"max_iter": 5}},
    "multiclass": {"estimator": "sklearn.linear_model.LogisticRegression"},
    "regression": {"estimator": "sklearn.ensemble.RandomForestRegressor", "params": {"n_estimators": 5, "n_jobs": -1}},
}
WITHOUT_IMPUTER = {"estimator": "sklearn.linear_model.LogisticRegression", "impute_numeric": "none"}


def rows(count: int = 300, task: str = "binary", seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=count)
    signal = x + generator.normal(scale=0.7, size=count)
    target: Any = {
        "binary": (signal > 0).astype(int),
        "multiclass": np.array(["low", "mid", "top"])[np.digitize(signal, [-0.5, 0.5])],
        "regression": 10 + 3 * signal,
    }[task]
    return pd.DataFrame(
        {
            "id": [f"r{index:05}" for index in range(count)],
            "at": [AS_OF - timedelta(minutes=count - index) for index in range(count)],
            "x": np.where(np.arange(count) % 17 == 0, np.nan, x),
            "c": np.where(np.arange(count) % 19 == 0, None, generator.choice(["a", "b"], size=count)),
            "late": target,
        }
    )


class World:
    """A model trained by the real steps, and rows to score."""

    def __init__(self, folder: Path, task: str = "binary", *, without_missing: bool = False) -> None:
        self.folder, self.task = folder, task
        self.store = ArtifactStore(str(folder / "store"))
        frame = rows(task=task).assign(x=np.arange(300) % 7) if without_missing else rows(task=task)
        dataset = self.ingest(frame, purpose="training")
        split = self.run("prepare", {"split": {"by": "random", "holdout": 0.25}}, dataset=dataset)
        section = {"name": "one", "candidate": WITHOUT_IMPUTER if without_missing else MODELS[task]}
        self.model = self.run("train", section, dataset=dataset, split=split)

    def run(self, step: str, section: dict[str, Any], *, champion: Champion | None = None, **inputs: Any) -> StepResult:
        recompute = inputs.pop("recompute", False)
        request = StepRequest(
            step=step,
            pipeline="tested",
            as_of=AS_OF,
            section=section,
            inputs={role: [result] for role, result in inputs.items()},
            champion=champion,
            recompute=recompute,
        )
        return run_step(request, self.store)

    def ingest(
        self, frame: pd.DataFrame, *, purpose: str = "scoring", columns: dict[str, Any] | None = None
    ) -> StepResult:
        file = self.folder / f"{len(list(self.folder.glob('*.parquet')))}.parquet"
        frame.to_parquet(file)
        data = {"source": {"uri": str(file)}, "columns": columns or COLUMNS}
        return self.run("ingest", {"task": self.task, "data": data, "purpose": purpose})

    def champion(self, **changes: Any) -> Champion:
        values = {"seq": 1, "version": 7, "digest": self.model.facts["digest"], "model": self.model.artifacts["model"]}
        return Champion(**values | {"order_key": AS_OF} | changes)

    def score(self, dataset: StepResult, *, champion: Champion | None = None, **settings: Any) -> StepResult:
        return self.run("score", {}, dataset=dataset, champion=champion or self.champion(), **settings)

    def predictions(self, scored: StepResult) -> pd.DataFrame:
        return read_table(self.store, scored.artifacts["predictions"])

    @property
    def pipeline(self) -> Any:
        return load_model(self.store, self.model.artifacts["model"])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("task", MODELS)
def test_every_row_gets_what_the_model_says_with_key_time_version_and_as_of(tmp_path: Path, task: str) -> None:
    world = World(tmp_path, task)
    frame = rows(200, task, seed=1)
    dataset = world.ingest(frame.drop(columns="late"))
    scored = world.score(dataset)
    message = world.predictions(scored)
    info = table_info(world.store, dataset.artifacts["dataset"])
    features = feature_frame(frame, info.columns)
    assert message["id"].tolist() == frame["id"].tolist()
    assert message["at"].tolist() == frame["at"].tolist()
    if task == "regression":
        assert message["prediction"].to_numpy() == pytest.approx(world.pipeline.predict(features), abs=1e-12)
    else:
        assert message["prediction"].tolist() == world.pipeline.predict(features).tolist()
        names = [f"p_{index}" for index in range(len(world.pipeline.classes_))]
        assert message[names].to_numpy() == pytest.approx(world.pipeline.predict_proba(features), abs=1e-12)
    assert set(message["model_version"]) == {7}
    assert message["as_of"].unique().tolist() == ["2013-06-01"]
    metadata = table_schema(world.store, scored.artifacts["predictions"]).metadata
    assert json.loads(metadata[b"classes"]) == getattr(world.pipeline, "classes_", np.array([])).tolist()


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_the_facts_are_small_and_say_what_was_predicted(tmp_path: Path, task: str) -> None:
    world = World(tmp_path, task)
    scored = world.score(world.ingest(rows(200, task, seed=1)))
    message = world.predictions(scored)["prediction"]
    facts = dict(scored.facts)
    assert [facts.pop(name) for name in ("rows", "version", "nulls")] == [200, 7, 0]
    assert facts.pop("imputed") == 22
    if task == "regression":
        assert facts == pytest.approx({"mean": message.mean(), "sd": message.std(ddof=0)})
    else:
        assert facts == {"shares": message.value_counts(normalize=True).to_dict()}
    assert len(json.dumps(scored.xcom())) < 1024


def test_scoring_again_computes_nothing_and_anew_gives_equal_bytes(world: World) -> None:
    dataset = world.ingest(rows(200, seed=1))
    first = world.score(dataset)
    assert world.score(dataset).cached
    again = world.score(dataset, recompute=True)
    assert (again.cached, again.artifacts) == (False, first.artifacts)
    other = world.score(dataset, champion=world.champion(version=8))
    assert not other.cached
    assert set(world.predictions(other)["model_version"]) == {8}


def test_rows_are_scored_a_row_group_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_mlops_provider.data.snapshot.ROW_GROUP_ROWS", 64)
    monkeypatch.setattr("airflow_mlops_provider.data.tables.ROW_GROUP_ROWS", 64)
    scored = world.score(world.ingest(rows(200, seed=1)))
    file = pq.ParquetFile(world.store.fetch(scored.artifacts["predictions"]))
    assert [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)] == [64, 64, 64, 8]
    monkeypatch.undo()
    whole = world.score(world.ingest(rows(200, seed=1)), recompute=True)
    assert world.predictions(scored).equals(world.predictions(whole))


def test_a_model_that_is_not_the_ledgers_is_refused(world: World) -> None:
    dataset = world.ingest(rows(50))
    with pytest.raises(ModelUnavailableError, match=r"version 7 .*another model.*expected 0000.*in the ledger"):
        world.score(dataset, champion=world.champion(digest="0" * 64))


def test_a_model_file_that_is_gone_or_changed_is_unavailable(world: World) -> None:
    dataset, file = world.ingest(rows(50)), world.store.fetch(world.model.artifacts["model"])
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"?")
    world.store = ArtifactStore(world.store.root)  # as in another process, which has checked no file yet
    with pytest.raises(ModelUnavailableError, match="was changed"):
        world.score(dataset)
    file.unlink()
    with pytest.raises(ModelUnavailableError, match="is missing"):
        world.score(dataset)


def without(column: str) -> dict[str, Any]:
    roles = {
        name: [each for each in value if each != column]
        for name, value in COLUMNS.items()
        if name != "target"
        if isinstance(value, list)
    }
    return {**COLUMNS, **roles}


def test_a_column_that_the_model_needs_and_is_gone_is_named(world: World) -> None:
    dataset = world.ingest(rows(50).drop(columns="x"), columns=without("x"))
    with pytest.raises(DataError, match="the model needs feature 'x' as numeric: got features \\['c'\\]"):
        world.score(dataset)


def test_a_column_in_another_role_is_named(world: World) -> None:
    columns = {**COLUMNS, "numeric": [], "categorical": ["c", "x"]}
    with pytest.raises(DataError, match="feature 'x' as numeric: got 'x' as categorical"):
        world.score(world.ingest(rows(50), columns=columns))


def test_a_column_of_another_type_is_named(world: World) -> None:
    dataset = world.ingest(rows(50))
    table = pq.read_table(world.store.fetch(dataset.artifacts["dataset"]))
    texts = pa.array([str(value) for value in table["x"].to_pylist()])
    retyped = table.set_column(table.schema.get_field_index("x"), "x", texts).replace_schema_metadata(
        table.schema.metadata
    )
    with world.store.workspace() as folder:
        pq.write_table(retyped, folder / "t")
        ref = world.store.add(folder / "t", ".parquet")
    with pytest.raises(DataError, match="column 'x' .* has another type: got .*string.*expected numeric"):
        world.score(dataset.model_copy(update={"artifacts": {"dataset": ref}}))


def test_a_category_whose_values_are_all_strange_was_retyped(world: World) -> None:
    frame = rows(200).assign(c=1.0)
    with pytest.raises(DataError, match="knows none of the values of column 'c'.*such as \\['a', 'b'"):
        world.score(world.ingest(frame))
    assert world.score(world.ingest(frame.head(50))).facts["rows"] == 50, "a few new values may be new"
    assert world.score(world.ingest(frame.assign(c=["a"] + [None] * 199))).facts["rows"] == 200


def test_predictions_that_are_not_numbers_are_refused_and_nothing_is_committed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_mlops_provider.modeling import scorer

    def broken(pipeline: Any, frame: pd.DataFrame, task: str) -> Any:
        return np.where(np.arange(len(frame))[:, None] == 20, np.nan, pipeline.predict_proba(frame))

    monkeypatch.setattr(scorer, "predict", broken)
    with pytest.raises(ModelError, match="version 7 .*not finite, first in row 21"):
        world.score(world.ingest(rows(50)))
    assert not (world.folder / "store" / "receipts" / "tested" / "score").exists()


def test_rows_that_lack_a_feature_are_marked_and_counted(world: World) -> None:
    frame = rows(200, seed=1)
    scored = world.score(world.ingest(frame))
    message = world.predictions(scored).set_index("id")["imputed"]
    expected = frame.set_index("id")[["x", "c"]].isna().any(axis=1)
    assert message.sort_index().tolist() == expected.sort_index().tolist()
    assert scored.facts["imputed"] == expected.sum() == 22
    assert not world.predictions(world.score(world.ingest(frame.assign(x=1.0, c="a"))))["imputed"].any()


def test_a_model_without_an_imputer_refuses_rows_that_lack_a_feature_and_says_which(tmp_path: Path) -> None:
    world = World(tmp_path, without_missing=True)
    assert world.score(world.ingest(rows(40).assign(x=1.0))).facts["rows"] == 40
    with pytest.raises(
        ModelError, match="version 7 .* has no imputer.*40 rows from 1 on.*got 'x' in 3 rows.*impute_numeric"
    ):
        world.score(world.ingest(rows(40).assign(c="a")))


def test_rows_that_nobody_could_tell_apart_are_numbered_and_the_log_says_so(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    without = {**COLUMNS, "keys": []}
    scored = world.predictions(world.score(world.ingest(rows(50), columns=without)))
    assert scored["row"].tolist() == list(range(1, 51))
    assert "no key" in caplog.text
    assert "row" not in world.predictions(world.score(world.ingest(rows(50)))).columns


def test_a_key_of_the_name_of_a_prediction_is_a_setting_error(world: World) -> None:
    frame = rows(50).rename(columns={"id": "p_0"})
    with pytest.raises(SpecError, match="'p_0', the name of a prediction column"):
        world.score(world.ingest(frame, columns={**COLUMNS, "keys": ["p_0"]}))


def test_a_model_of_another_task_is_refused(world: World, tmp_path: Path) -> None:
    world.task = "regression"
    with pytest.raises(ModelError, match="not a model for the task.*expected regression"):
        world.score(world.ingest(rows(50, "regression")))


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        ({"classes": [0, 1], "values": [0.7, 0.3]}, {"p_0": 0.7, "p_1": 0.3, "prediction": 0}),
        ({"values": [4.5]}, {"prediction": 4.5}),
    ],
)
def test_a_baseline_says_the_same_of_every_row(
    tmp_path: Path, baseline: dict[str, Any], expected: dict[str, Any]
) -> None:
    world = World(tmp_path)
    scored = world.run("score", {"baseline": baseline}, dataset=world.ingest(rows(50)))
    message = world.predictions(scored)
    assert message[list(expected)].drop_duplicates().to_dict("records") == [expected]
    assert set(message["model_version"]) == {0}
    assert (scored.facts["version"], scored.facts["rows"]) == (0, 50)


def test_there_has_to_be_something_to_ask(world: World) -> None:
    with pytest.raises(MLOpsError, match="received no model"):
        world.run("score", {}, dataset=world.ingest(rows(50)))
