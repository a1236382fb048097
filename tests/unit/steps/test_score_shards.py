"""Scoring in shards: real models and the real step, on a store in a folder."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from airflow_mlops_provider import effects
from airflow_mlops_provider.exceptions import DataError, MLOpsError, ModelError, SpecError
from airflow_mlops_provider.job import Champion, StepRequest
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from airflow_mlops_provider.results import StepResult

AS_OF = datetime(2013, 6, 1, tzinfo=UTC)
COLUMNS = {"target": "late", "timestamp": "at", "keys": ["id", "place"], "numeric": ["x"], "categorical": ["c"]}
MODELS: dict[str, dict[str, Any]] = {
    "binary": {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "params": {"max_iter": 5}},
    "multiclass": {"estimator": "sklearn.linear_model.LogisticRegression"},
    "regression": {"estimator": "sklearn.ensemble.RandomForestRegressor", "params": {"n_estimators": 5}},
}
GROUP = 64
ROWS = 4 * GROUP + 44


def rows(task: str, count: int = ROWS, seed: int = 0) -> pd.DataFrame:
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
            # Long, so that a column of them outgrows Parquet's dictionary.
            "id": [f"{index:05}" + "r" * (20_000 if index % 2 else 30_000) for index in range(count)],
            "place": generator.choice(["here", "there"], size=count),
            "at": [AS_OF - timedelta(minutes=count - index) for index in range(count)],
            "x": np.where(np.arange(count) % 17 == 0, np.nan, x),
            "c": np.where(np.arange(count) % 19 == 0, None, generator.choice(["a", "b"], size=count)),
            "late": target,
        }
    )


class World:
    """A champion trained by the real steps, and rows of five row groups, the last of them short."""

    def __init__(self, folder: Path, task: str = "binary") -> None:
        self.folder, self.task = folder, task
        self.store = ArtifactStore(str(folder / "store"))
        self.computed: list[dict[str, Any]] = []
        trained_on = self.ingest(rows(task, 300, seed=1).assign(id=lambda frame: frame["id"].str[:5]), "training")
        split = self.run("prepare", {"split": {"by": "random", "holdout": 0.25}}, dataset=[trained_on])
        section = {"name": "one", "candidate": MODELS[task]}
        self.model = self.run("train", section, dataset=[trained_on], split=[split])
        self.dataset = self.ingest(rows(task))

    def run(self, step: str, section: dict[str, Any], recompute: bool = False, **inputs: Any) -> StepResult:
        champion = inputs.pop("champion", None)
        request = StepRequest(
            step=step,
            pipeline="tested",
            as_of=AS_OF,
            section=section,
            inputs=inputs,
            champion=champion,
            recompute=recompute,
        )
        return run_step(request, self.store)

    def ingest(self, frame: pd.DataFrame, purpose: str = "scoring") -> StepResult:
        file = self.folder / f"{len(list(self.folder.glob('*.parquet')))}.parquet"
        frame.to_parquet(file)
        data = {"source": {"uri": str(file)}, "columns": COLUMNS}
        return self.run("ingest", {"task": self.task, "data": data, "purpose": purpose})

    def champion(self, **changes: Any) -> Champion:
        values = {"seq": 1, "version": 7, "digest": self.model.facts["digest"], "model": self.model.artifacts["model"]}
        return Champion(**values | {"order_key": AS_OF} | changes)

    def shard(self, index: int, count: int, **settings: Any) -> StepResult:
        section = {"shard": {"index": index, "count": count}}
        return self.run("score", section, dataset=[self.dataset], **{"champion": self.champion(), **settings})

    def shards(self, count: int, **settings: Any) -> list[StepResult]:
        return [self.shard(index, count, **settings) for index in range(count)]

    def whole(self) -> StepResult:
        return self.run("score", {}, dataset=[self.dataset], champion=self.champion())

    def joined(self, given: list[StepResult], *, recompute: bool = False, **requested: Any) -> StepResult:
        """Ask as the task `score` does, and note what is computed."""

        def compute(
            section: dict[str, Any], champion: Champion | None, *, parts: Sequence[StepResult] = (), recompute: bool
        ) -> StepResult:
            inputs = {"parts": list(parts)} if parts else {"dataset": [self.dataset]}
            result = self.run("score", section, recompute, champion=champion, **inputs)
            if not result.cached:
                self.computed.append({**section, **({"parts": len(parts)} if parts else {})})
            return result

        score_with = effects.joining(compute, given, recompute=recompute)
        return score_with(requested.pop("section", {}), requested.pop("champion", self.champion()))

    def bytes(self, scored: StepResult) -> bytes:
        return self.store.fetch(scored.artifacts["predictions"]).read_bytes()


@pytest.fixture(autouse=True)
def small_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("snapshot", "tables"):
        monkeypatch.setattr(f"airflow_mlops_provider.data.{module}.ROW_GROUP_ROWS", GROUP)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("task", MODELS)
def test_joined_shards_are_the_bytes_and_the_facts_of_one_pass(tmp_path: Path, task: str) -> None:
    world = World(tmp_path, task)
    whole = world.whole()
    groups = pq.ParquetFile(world.store.fetch(whole.artifacts["predictions"])).metadata
    assert [groups.row_group(index).num_rows for index in range(groups.num_row_groups)] == [GROUP] * 4 + [44]
    for count, rows_of in (
        (2, [2 * GROUP, 2 * GROUP + 44]),
        (3, [GROUP, 2 * GROUP, GROUP + 44]),
        (7, [0, GROUP, GROUP, 0, GROUP, GROUP, 44]),
    ):
        parts = world.shards(count)
        assert [part.facts["rows"] for part in parts] == rows_of, "each row group in one shard, in order"
        assert ["predictions" in part.artifacts for part in parts] == [each > 0 for each in rows_of]
        world.computed.clear()
        scored = world.joined(parts)
        assert world.computed == [{"parts": count}], "what the shards' tasks have computed is only joined"
        assert world.bytes(scored) == world.bytes(whole)
        shares = [facts.pop("shares", None) for facts in (dict(scored.facts), dict(whole.facts))]
        assert shares[0] == shares[1]
        numbers = [{k: v for k, v in result.facts.items() if k != "shares"} for result in (scored, whole)]
        assert numbers[0] == pytest.approx(numbers[1])
        assert world.joined(parts).cached, "and once"
        mixed = world.run("score", {}, recompute=True, parts=parts[::-1], champion=world.champion())
        assert (mixed.key, mixed.artifacts) == (scored.key, scored.artifacts), "in whatever order they are given"


def test_whatever_became_of_the_shards_all_rows_are_scored(world: World) -> None:
    whole = world.bytes(world.whole())
    first, third = world.shard(0, 3), world.shard(2, 3)
    assert world.bytes(world.joined([third, first])) == whole
    assert world.computed == [{"shard": {"index": 1, "count": 3}}, {"parts": 3}], "the lost one is computed"
    world.computed.clear()
    assert world.joined([]).cached, "with no shard at all it is one pass, which was made above"
    later = world.joined(world.shards(3), champion=world.champion(version=8))
    baseline = world.joined(
        world.shards(3), section={"baseline": {"classes": [0, 1], "values": [0.5, 0.5]}}, champion=None
    )
    assert world.computed == [{}, {"baseline": {"classes": [0, 1], "values": [0.5, 0.5]}}], "another version: one pass"
    assert [(each.facts["version"], each.facts["rows"]) for each in (later, baseline)] == [(8, ROWS), (0, ROWS)]


def test_recomputing_computes_each_shard_once(world: World) -> None:
    old = world.joined(world.shards(2))
    fresh = world.shard(0, 2, recompute=True)
    world.computed.clear()
    scored = world.joined([fresh], recompute=True)
    assert world.computed == [{"shard": {"index": 1, "count": 2}}, {"parts": 2}]
    assert scored.artifacts == old.artifacts


def test_a_column_that_was_retyped_is_refused_when_all_rows_are_known(world: World) -> None:
    strange = rows("binary").assign(c="1.0")
    world.dataset = world.ingest(strange)
    with pytest.raises(
        DataError, match=f"knows none of the values of column 'c': got {ROWS} values.*such as \\['a', 'b"
    ):
        world.joined(world.shards(2))
    strange.loc[ROWS - 1, "c"] = "a"
    world.dataset = world.ingest(strange)
    assert world.joined(world.shards(2)).facts["rows"] == ROWS, "one shard alone would have been refused"


def test_a_prediction_that_is_not_a_number_is_told_with_its_row_in_the_dataset(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "airflow_mlops_provider.modeling.scorer.predict",
        lambda pipeline, frame, task: np.where(np.arange(len(frame))[:, None] == 20, np.nan, 0.5),
    )
    with pytest.raises(ModelError, match=f"first in row {2 * GROUP + 21}:"):
        world.shard(1, 2)


def test_shards_that_are_no_set_are_refused(world: World) -> None:
    parts = world.shards(3)
    for wrong in (parts[:2], [*parts, parts[0]], [*parts[:2], world.shard(1, 2)]):
        with pytest.raises(MLOpsError, match="did not receive each shard exactly once"):
            world.run("score", {}, parts=wrong, champion=world.champion())
    with pytest.raises(SpecError, match="there is no shard 3 of 3"):
        world.shard(3, 3)
