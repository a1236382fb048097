from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from scored_customers import CANDIDATES, World

from airflow_mlops_provider.exceptions import DataError, ModelUnavailableError
from airflow_mlops_provider.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path


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
    assert warnings == ["FALLBACK:"] * 3
    assert set(pd.read_parquet(world.partition(scored))["model_version"]) == {1}


def test_mlflows_copy_of_a_lost_champion_is_put_back(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.register(0)
    lost = world.register(1)
    world.damage(lost, everywhere=False)
    scored = world.score()
    assert (scored.facts["version"], scored.facts["fallback"]) == (2, None)
    assert world.store.holds(lost.artifacts["model"])
    assert "model.skops of version 2 of churn was lost and has been restored from MLflow." in caplog.text


def test_who_stands_in_for_the_champion_is_looked_after_before_it_is_needed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    former = world.register(0)
    world.register(1)
    world.store.fetch(former.artifacts["model"]).unlink()
    world.score()
    assert world.store.holds(former.artifacts["model"])

    world.remove_everywhere(former)
    world.score()
    assert "Version 1 of churn cannot stand in for the champion: " in caplog.text


@pytest.mark.parametrize("task", CANDIDATES)
def test_a_baseline_stands_in_when_no_champion_can_be_loaded(
    tmp_path: Path, mlflow_uri: str, task: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, Registry.connect(mlflow_uri), task)
    world.damage(world.register(0))
    world.damage(world.register(1))
    scored = world.score()
    words = pd.read_parquet(world.partition(scored))
    assert (scored.facts["version"], scored.facts["fallback"], set(words["model_version"])) == (0, "baseline", {0})
    column = "p_1" if task == "binary" else "prediction"
    assert words[column].tolist() == pytest.approx([world.mean_in_training()] * 300)
    assert "Every row gets the baseline" in caplog.text


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
    assert "contains another model" in str(scored.facts["reason"])
