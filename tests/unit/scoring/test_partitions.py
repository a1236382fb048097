from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Any

import pandas as pd
import pytest
from scored_customers import AS_OF, MODEL, World

from airflow_mlops_provider import effects
from airflow_mlops_provider.exceptions import ArtifactError, TransientServiceError


def test_there_is_nothing_to_score_with_before_the_first_champion(world: World) -> None:
    world.register(0, promote=False)
    assert effects.score(world.registry, world.store, model=MODEL, score_with=lambda *_: pytest.fail("asked")) is None


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
    assert set(whole.columns) == {"customer", "p_0", "p_1", "prediction", "imputed", "model_version", "as_of"}


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
    with pytest.raises(ArtifactError, match="is not allowed"):
        effects.score(world.registry, world.store, model=MODEL, score_with=lambda *_: elsewhere)


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
    requested: list[int] = []

    def score_with(section: dict[str, Any], champion: Any) -> Any:
        requested.append(champion.version)
        if len(requested) == 1:
            world.registry.rollback(MODEL, to="previous", reason="it is poor", idem="once")
        return world.step("score", section, champion, dataset=[world.ingest("new")])

    scored = effects.score(world.registry, world.store, model=MODEL, score_with=score_with)
    assert scored is not None
    assert requested == [2, 1]
    assert set(pd.read_parquet(world.partition(scored))["model_version"]) == {1}


def test_a_champion_that_never_stays_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.register(0)
    [head] = world.registry.serving(MODEL)
    places = count(head.seq)
    monkeypatch.setattr(world.registry, "serving", lambda _: [head.model_copy(update={"seq": next(places)})])

    with pytest.raises(TransientServiceError, match="changed 5 times"):
        world.score()
