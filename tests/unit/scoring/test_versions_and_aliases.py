from __future__ import annotations

from typing import Any

import pytest
from scored_customers import AS_OF, MODEL, World

from airflow_mlops_provider.effects.scoring import chosen
from airflow_mlops_provider.exceptions import ModelError, ModelUnavailableError, RegistryError


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
