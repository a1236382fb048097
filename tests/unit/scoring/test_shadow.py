from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from scored_customers import World

from airflow_mlops_provider.data.tables import read_table
from airflow_mlops_provider.registry import Registry
from airflow_mlops_provider.storage import local_path

if TYPE_CHECKING:
    from pathlib import Path


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
    assert "cannot score alongside the champion" in caplog.text
    assert not (world.folder / "artifacts" / "predictions_shadow").exists()


def test_a_challenger_that_was_promoted_has_no_shadow(world: World) -> None:
    world.register(0)
    assert world.score(shadow=True).facts["shadow"] == {"version": 1, "why": "the challenger is the champion"}
