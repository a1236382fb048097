"""Scoring as an effect: real models, a real store, a real MLflow database."""

from __future__ import annotations

import csv
import logging
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from airflow_mlops_provider import effects
from airflow_mlops_provider.data.tables import read_table
from airflow_mlops_provider.effects.scoring import chosen
from airflow_mlops_provider.exceptions import (
    ArtifactError,
    DataError,
    ModelError,
    ModelUnavailableError,
    RegistryError,
    TransientServiceError,
)
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.modeling.splits import read_split
from airflow_mlops_provider.registry import PromotionRequest, Registry
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore, local_path

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mlops_provider.job import Champion
    from airflow_mlops_provider.results import StepResult

AS_OF = datetime(2013, 3, 1, tzinfo=UTC)
MODEL = "churn"
CANDIDATES = {
    "binary": ("sklearn.linear_model.LogisticRegression", "sklearn.naive_bayes.GaussianNB"),
    "regression": ("sklearn.linear_model.Ridge", "sklearn.dummy.DummyRegressor"),
}


@dataclass
class World:
    """Champions trained by the real steps, and customers to score."""

    folder: Path
    registry: Registry
    task: str = "binary"
    as_of: datetime = AS_OF
    feature: str = "age"
    results: list[StepResult] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = ArtifactStore(str(self.folder / "artifacts"))
        chance = random.Random(7)
        for name in ("old", "new"):
            with (self.folder / f"{name}.csv").open("w", newline="") as text:
                rows = csv.writer(text)
                rows.writerow(["customer", "age", "left"])
                for customer in range(300):
                    age = chance.randint(18, 80)
                    left = age + chance.gauss(0, 15)
                    rows.writerow([f"c{customer}", age, int(left > 50) if self.task == "binary" else left])

    def step(
        self, name: str, section: dict[str, Any], champion: Champion | None = None, **inputs: list[StepResult]
    ) -> StepResult:
        request = StepRequest(
            step=name, pipeline=MODEL, as_of=self.as_of, section=section, inputs=inputs, champion=champion
        )
        return run_step(request, self.store)

    def ingest(self, name: str, purpose: str = "scoring") -> StepResult:
        columns = {"target": "left", "numeric": [self.feature], "keys": ["customer"]}
        data = {"source": {"uri": str(self.folder / f"{name}.csv")}, "columns": columns}
        return self.step("ingest", {"task": self.task, "data": data, "purpose": purpose})

    def register(self, candidate: int, *, promote: bool = True) -> StepResult:
        """Train, evaluate and register one of the candidates; make it champion."""
        dataset = [self.ingest("old", "training")]
        split = [self.step("prepare", {"split": {"by": "random", "holdout": 0.5}}, dataset=dataset)]
        section = {"name": f"c{candidate}", "candidate": {"estimator": CANDIDATES[self.task][candidate]}}
        model = self.step("train", section, dataset=dataset, split=split)
        inputs = effects.evaluation_inputs(self.store, [model])
        metric = "log_loss" if self.task == "binary" else "rmse"
        evaluation = self.step("evaluate", {"metrics": [metric], "candidates": [f"c{candidate}"]}, **inputs)
        evaluation = effects.publish(self.registry, self.store, evaluation, model=MODEL, tags={})
        if promote:
            self._promote(evaluation)
        self.results.append(evaluation)
        return evaluation

    def _promote(self, evaluation: StepResult) -> None:
        facts: Any = evaluation.facts
        rival = self.registry.champion_for(MODEL, as_of=self.as_of, lineage=facts["lineage"])
        outcome = self.registry.promote(
            PromotionRequest(
                model=MODEL,
                idem=f"promote {facts['version']}",
                version=facts["version"],
                digest=self.store.read_json(evaluation.artifacts["model_info"])["digest"],
                sha256=evaluation.artifacts["model"].sha256,
                artifact=evaluation.artifacts["model"],
                lineage=facts["lineage"],
                order_key=self.as_of,
                compared_with=None if rival is None else rival.seq,
                reference=evaluation.artifacts["reference"],
                evaluation=evaluation.artifacts["evaluation"],
            )
        )
        assert outcome.status == "promoted"

    def mean_in_training(self) -> float:
        dataset = [self.ingest("old", "training")]
        split = self.step("prepare", {"split": {"by": "random", "holdout": 0.5}}, dataset=dataset)
        trains = read_split(self.store, split.artifacts["split"], split.artifacts["assignment"]).train_mask(1)
        return float(read_table(self.store, dataset[0].artifacts["dataset"])["left"][trains].mean())

    def score(self, name: str = "new", **settings: Any) -> StepResult:
        dataset = [self.ingest(name)]
        scored = effects.score(
            self.registry,
            self.store,
            model=MODEL,
            ask=lambda section, champion: self.step("score", section, champion, dataset=dataset),
            **settings,
        )
        assert scored is not None
        return scored

    def damage(self, evaluation: StepResult, artifact: str = "model") -> None:
        file = self.store.fetch(evaluation.artifacts[artifact])
        file.write_bytes(b"?" * file.stat().st_size)
        self.store = ArtifactStore(self.store.root)  # as in another process, which has checked no file yet

    def partition(self, scored: StepResult) -> Path:
        return local_path(str(scored.facts["partition"]))


@pytest.fixture
def world(tmp_path: Path, mlflow_uri: str) -> World:
    return World(tmp_path, Registry.connect(mlflow_uri))


def test_there_is_nothing_to_score_with_before_the_first_champion(world: World) -> None:
    world.register(0, promote=False)
    assert effects.score(world.registry, world.store, model=MODEL, ask=lambda *_: pytest.fail("asked")) is None


def test_the_champion_of_the_ledger_scores_and_its_partition_is_published(world: World) -> None:
    world.register(0)
    world.register(1)
    scored = world.score()
    assert (scored.facts["version"], scored.facts["fallback"], scored.facts["rows"]) == (2, None, 300)
    file = world.partition(scored)
    assert file.relative_to(world.folder / "artifacts").as_posix() == (
        "predictions/churn/as_of=2013-03-01/predictions.parquet"
    )
    assert file.read_bytes() == world.store.fetch(scored.artifacts["predictions"]).read_bytes()


def test_the_partitions_are_one_table_by_as_of(world: World) -> None:
    world.register(0)
    for as_of in (AS_OF, datetime(2013, 3, 1, 6, tzinfo=UTC)):
        world.as_of = as_of
        scored = world.score()
    whole = pd.read_parquet(world.partition(scored).parents[1])
    assert whole.groupby("as_of", observed=True).size().to_dict() == {"2013-03-01": 300, "2013-03-01T06:00:00Z": 300}
    assert set(whole.columns) == {"customer", "p_0", "p_1", "prediction", "model_version", "as_of"}


def test_a_partition_is_replaced_as_a_whole(world: World) -> None:
    world.register(0)
    first = world.score()
    before = world.partition(first).read_bytes()
    assert world.partition(world.score()).read_bytes() == before
    world.register(1)
    with world.partition(first).open("rb") as reader:
        second = world.score()
        assert reader.read() == before, "who reads the former partition keeps it"
    assert [path.name for path in world.partition(first).parent.iterdir()] == ["predictions.parquet"]
    assert set(pd.read_parquet(world.partition(second))["model_version"]) == {2}


def test_a_pipelines_name_cannot_lead_out_of_the_store(world: World) -> None:
    world.register(0)
    scored = world.score()
    elsewhere = scored.model_copy(update={"pipeline": "../../elsewhere"})
    with pytest.raises(ArtifactError, match="may not be used"):
        effects.score(world.registry, world.store, model=MODEL, ask=lambda *_: elsewhere)


def test_the_partition_is_that_of_the_champion_however_two_runs_interleave(world: World) -> None:
    world.register(0)
    slow, changes = world.store.publish, iter([True])

    def overtaken(ref: Any, key: str) -> str:
        """Let another champion come, and another run score the window with it, before this one publishes."""
        if next(changes, False):
            world.register(1)
            assert set(pd.read_parquet(world.partition(world.score()))["model_version"]) == {2}
        return str(slow(ref, key))

    world.store.publish = overtaken  # type: ignore[method-assign] # the moment between scoring and publishing
    scored = world.score()
    assert scored.facts["version"] == 2
    assert set(pd.read_parquet(world.partition(scored))["model_version"]) == {2}


def test_a_rollback_meanwhile_counts_as_well_though_its_version_is_an_older_one(world: World) -> None:
    world.register(0)
    world.register(1)
    asked: list[int] = []

    def ask(section: dict[str, Any], champion: Any) -> Any:
        asked.append(champion.version)
        if len(asked) == 1:
            world.registry.rollback(MODEL, to="previous", reason="it is poor", idem="once")
        return world.step("score", section, champion, dataset=[world.ingest("new")])

    scored = effects.score(world.registry, world.store, model=MODEL, ask=ask)
    assert scored is not None
    assert asked == [2, 1]
    assert set(pd.read_parquet(world.partition(scored))["model_version"]) == {1}


def test_a_champion_that_never_stays_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.register(0)
    head = world.registry.head(MODEL)
    assert head is not None
    monkeypatch.setattr(world.registry, "head", lambda _: head.model_copy(update={"seq": head.seq + 1}))

    with pytest.raises(TransientServiceError, match="changed 5 times"):
        world.score()


# ------------------------------------------------------------------------------------------------ fallbacks


def test_the_former_champion_stands_in_for_one_that_cannot_be_loaded(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.register(0)
    world.damage(world.register(1))
    caplog.clear()  # what training warns of
    scored = world.score()
    assert (scored.facts["version"], scored.facts["fallback"]) == (1, "former")
    assert "was changed" in str(scored.facts["reason"])
    warnings = [record.message[:9] for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["FALLBACK:", "FALLBACK:"]
    assert set(pd.read_parquet(world.partition(scored))["model_version"]) == {1}


@pytest.mark.parametrize("task", CANDIDATES)
def test_a_baseline_stands_in_when_no_champion_can_be_loaded(
    tmp_path: Path, mlflow_uri: str, task: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, Registry.connect(mlflow_uri), task)
    world.damage(world.register(0))
    world.damage(world.register(1))
    scored = world.score()
    said = pd.read_parquet(world.partition(scored))
    assert (scored.facts["version"], scored.facts["fallback"], set(said["model_version"])) == (0, "baseline", {0})
    column = "p_1" if task == "binary" else "prediction"
    assert said[column].tolist() == pytest.approx([world.mean_in_training()] * 300)
    assert "Every row was given the baseline" in caplog.text


def test_without_model_and_evaluation_there_is_nothing_left_to_ask(world: World) -> None:
    evaluation = world.register(0)
    world.damage(evaluation)
    world.damage(evaluation, "evaluation")
    with pytest.raises(ModelUnavailableError, match="version 1 .*cannot be loaded"):
        world.score()
    assert not (world.folder / "artifacts" / "predictions").exists()


def test_nobody_stands_in_when_the_rows_are_wrong(world: World) -> None:
    world.register(0)
    world.register(1)
    (world.folder / "new.csv").write_text("customer,years\nc1,40\n")
    world.feature = "years"
    with pytest.raises(DataError, match="the model needs feature 'age' as numeric"):
        world.score()
    assert not (world.folder / "artifacts" / "predictions").exists()


def test_a_champion_whose_file_is_another_model_is_not_asked(world: World) -> None:
    first = world.register(0)
    second = world.register(1, promote=False)
    # A forged ledger entry would be: the right digest, another model's file.
    wrong = second.model_copy(update={"artifacts": {**second.artifacts, "model": first.artifacts["model"]}})
    world._promote(wrong)
    scored = world.score()
    assert (scored.facts["version"], scored.facts["fallback"]) == (1, "former")
    assert "another model's" in str(scored.facts["reason"])


# ------------------------------------------------------------------------------------------------ versions, aliases


def test_a_version_or_an_alias_can_be_asked_instead(world: World) -> None:
    world.register(0)
    world.register(1, promote=False)
    assert world.score(alias="challenger").facts["version"] == 2
    assert world.score(alias="champion").facts["version"] == 1
    assert world.score(version=2).facts["version"] == 2


def test_a_version_that_never_was_champion_is_found_as_it_was_registered(world: World) -> None:
    world.register(0)
    evaluation = world.register(1, promote=False)
    found = chosen(world.registry, MODEL, version=2)
    assert found.digest == world.store.read_json(evaluation.artifacts["model_info"])["digest"]
    assert (found.model, found.order_key, found.seq) == (evaluation.artifacts["model"], AS_OF, 0)
    assert world.score(version=2).facts["version"] == 2


def test_nobody_stands_in_for_a_version_that_was_asked_for(world: World) -> None:
    world.register(0)
    world.damage(world.register(1))
    with pytest.raises(ModelUnavailableError, match="version 2"):
        world.score(version=2)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"version": 9}, RegistryError, "there is no version 9 of model 'churn'"),
        ({"alias": "staging"}, ModelError, "no version with the alias 'staging'"),
    ],
)
def test_what_is_not_there_is_named(
    world: World, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    world.register(0)
    with pytest.raises(error, match=message):
        world.score(**settings)


def test_a_version_of_somebody_else_does_not_say_which_model_it_is(world: World, mlflow_uri: str) -> None:
    from mlflow import MlflowClient

    world.register(0)
    MlflowClient(mlflow_uri).create_model_version(MODEL, str(world.folder))
    with pytest.raises(RegistryError, match="version 2 .*does not say which model it is"):
        world.score(version=2)


# ------------------------------------------------------------------------------------------------ the shadow


def test_a_challenger_scores_in_the_shadow_and_is_compared(world: World) -> None:
    world.register(0)
    world.register(1, promote=False)
    scored = world.score(shadow=True)
    mine = read_table(world.store, scored.artifacts["predictions"])
    theirs = read_table(world.store, scored.artifacts["shadow"])
    facts: Any = scored.facts["shadow"]
    assert (facts["version"], facts["rows"], set(theirs["model_version"])) == (2, 300, {2})
    assert facts["mean_difference"] == pytest.approx((mine["p_1"] - theirs["p_1"]).abs().mean())
    assert facts["different_share"] == pytest.approx((mine["prediction"] != theirs["prediction"]).mean())
    assert 0 < facts["mean_difference"] < 1
    partition = local_path(facts["partition"])
    assert partition.parts[-4:] == ("predictions_shadow", "churn", "as_of=2013-03-01", "predictions.parquet")
    assert set(pd.read_parquet(world.partition(scored))["model_version"]) == {1}


def test_two_numbers_are_compared_by_their_difference(tmp_path: Path, mlflow_uri: str) -> None:
    world = World(tmp_path, Registry.connect(mlflow_uri), "regression")
    world.register(0)
    world.register(1, promote=False)
    scored = world.score(shadow=True)
    mine, theirs = (read_table(world.store, scored.artifacts[name])["prediction"] for name in ("predictions", "shadow"))
    facts: Any = scored.facts["shadow"]
    assert facts["mean_difference"] == pytest.approx((mine - theirs).abs().mean())
    assert "different_share" not in facts


def test_a_challenger_that_cannot_score_takes_nothing_from_the_champion(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.register(0)
    world.damage(world.register(1, promote=False))
    scored = world.score(shadow=True)
    facts: Any = scored.facts["shadow"]
    assert (scored.facts["version"], facts["version"]) == (1, 2)
    assert "was changed" in facts["why"]
    assert "cannot score beside the champion" in caplog.text
    assert not (world.folder / "artifacts" / "predictions_shadow").exists()


def test_a_challenger_that_was_promoted_has_no_shadow(world: World) -> None:
    world.register(0)
    assert world.score(shadow=True).facts["shadow"] == {"version": 1, "why": "the challenger is the champion"}
