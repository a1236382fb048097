"""Objects of the store that are gone: what later runs make of it, and what they never do."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

import lost_objects
from airflow_mlops_provider import effects
from airflow_mlops_provider.exceptions import ArtifactError, ModelUnavailableError, RegistryError
from airflow_mlops_provider.registry.ledger import quarantine
from airflow_mlops_provider.storage import local_path
from lost_objects import NAME, World

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mlops_provider.registry import LedgerEntry
    from airflow_mlops_provider.results import ArtifactRef


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, migrated_mlflow: Path) -> Path:
    folder = tmp_path_factory.mktemp("lost")
    (folder / "live" / "mlflow").mkdir(parents=True)
    shutil.copy(migrated_mlflow, folder / "live" / "mlflow" / "mlflow.db")
    return folder


@pytest.fixture
def world(folder: Path) -> World:
    """Three champions, of which the last serves; as they were made, whatever a test before has done."""
    return lost_objects.restored(folder)


def entry_of(world: World, version: int) -> LedgerEntry:
    return next(entry for entry in world.registry.history(NAME) if entry.version == version)


def file_of(ref: ArtifactRef) -> Path:
    return local_path(ref.uri)


def copies_of(world: World, entry: LedgerEntry) -> list[Path]:
    content = file_of(entry.artifact).read_bytes()
    return [path for path in (world.folder / "mlflow").rglob("model.skops") if path.read_bytes() == content]


def lose_everywhere(world: World, version: int) -> None:
    entry = entry_of(world, version)
    for path in (*copies_of(world, entry), file_of(entry.artifact)):
        path.unlink()
    world.opened()


def lose_for_good(world: World, ref: ArtifactRef) -> None:
    """Lose a document with all that it could be put back from."""
    file_of(ref).unlink()
    for copy in (world.folder / "mlflow").rglob(f"{ref.sha256}.json"):
        copy.unlink()
    shutil.rmtree(world.folder / "store" / "receipts")
    world.opened()


def standing(world: World) -> tuple[Any, ...]:
    history = world.registry.history(NAME)
    return history, quarantine(history), world.registry.alias(NAME, "champion")


@pytest.mark.parametrize(("seed", "share"), [(0, 0.05), (1, 0.05), (2, 0.3), (3, 1.0)])
def test_every_later_run_works_or_says_what_to_do_and_no_champion_is_lost(
    folder: Path, seed: int, share: float
) -> None:
    [found] = lost_objects.rounds(folder, [seed], share=share)
    assert found["wrong"] == []
    assert found["lost"] >= 5
    if share < 0.1:
        # An old version's evaluation may be gone together with all that it could be made of; all else is made anew.
        assert set(found["refused"]) <= {"promote by hand"}


# ---------------------------------------------------------------- rolling back


def test_a_rollback_to_a_version_whose_model_is_gone_is_refused_and_says_what_is_left(world: World) -> None:
    lose_everywhere(world, 2)
    before = standing(world)
    with pytest.raises(RegistryError) as caught:
        world.roll_back("previous")
    assert "cannot be rolled back to version 2 (entry 2): its model is lost" in str(caught.value)
    assert str(caught.value).endswith("Nothing was changed. It can be rolled back to version 1 (entry 1).")
    assert standing(world) == before
    assert world.roll_back("1") == "version 1"


def test_a_rollback_names_no_version_that_is_gone_as_well(world: World) -> None:
    lose_everywhere(world, 2)
    lose_everywhere(world, 1)
    before = standing(world)
    with pytest.raises(RegistryError, match="there is no other version to roll back to. Train and promote a new one"):
        world.roll_back("previous")
    assert standing(world) == before


def test_a_model_that_only_the_store_lost_is_put_back_before_it_serves(world: World) -> None:
    entry = entry_of(world, 2)
    file_of(entry.artifact).unlink()
    assert world.roll_back("previous") == "version 2"
    assert world.store.holds(entry.artifact)
    assert world.score(16).facts["fallback"] is None


@pytest.mark.parametrize("content", [b"", b"?", None])
def test_a_copy_of_mlflow_that_is_another_file_is_not_put_back(world: World, content: bytes | None) -> None:
    entry = entry_of(world, 2)
    other = file_of(entry_of(world, 1).artifact).read_bytes()
    [copy] = copies_of(world, entry)
    copy.write_bytes(other if content is None else content)
    file_of(entry.artifact).unlink()
    before = standing(world)
    with pytest.raises(RegistryError, match="its model is lost"):
        world.roll_back("previous")
    assert standing(world) == before
    assert not world.store.has(entry.artifact)


def test_a_changed_model_is_seen_though_it_was_read_before(world: World) -> None:
    entry = entry_of(world, 2)
    world.store.fetch(entry.artifact)
    file_of(entry.artifact).write_bytes(b"?" * entry.artifact.size)
    assert world.roll_back("previous") == "version 2"
    assert world.store.holds(entry.artifact)


@pytest.mark.parametrize("role", ["reference", "evaluation"])
def test_what_a_former_champion_is_watched_by_is_made_anew(world: World, role: str) -> None:
    ref = getattr(entry_of(world, 2), role)
    file_of(ref).unlink()
    world.roll_back("previous")
    assert world.store.holds(ref)


@pytest.mark.parametrize("role", ["reference", "evaluation"])
def test_a_rollback_is_not_put_off_for_what_only_monitoring_needs(world: World, role: str) -> None:
    entry = entry_of(world, 2)
    lose_for_good(world, getattr(entry, role))
    done = effects.roll_back(
        world.registry, world.store, pipeline=NAME, model=NAME, to="2", reason="late", caller=("back",)
    )
    assert done.result.facts["lost"] == [role]
    assert f"Its {role} can no longer be found" in done.reason
    assert world.registry.alias(NAME, "champion") == 2
    world.score(16)
    assert world.watch(16) == "keep"


def test_what_was_rolled_back_before_a_crash_is_found_whatever_was_lost_since(world: World) -> None:
    world.roll_back("previous")
    lose_everywhere(world, 2)
    before = standing(world)
    assert world.roll_back("previous") == "version 2"
    assert standing(world) == before


# ---------------------------------------------------------------- training beside a champion that lacks something


@pytest.mark.parametrize("role", ["reference", "evaluation"])
@pytest.mark.parametrize("remakes", [True, False])
def test_training_runs_beside_a_champion_that_lacks_a_document(world: World, role: str, remakes: bool) -> None:
    ref = getattr(entry_of(world, 3), role)
    if remakes:
        file_of(ref).unlink()
    else:
        lose_for_good(world, ref)
    assert world.train(16) == "promoted"
    assert world.store.has(ref) == remakes


def test_training_beside_a_champion_whose_model_is_gone_says_so_and_what_to_do(world: World) -> None:
    lose_everywhere(world, 3)
    before = standing(world)
    message = world.train(16)
    assert message.startswith("Not promoted: champion v3: its model is gone from the artifact store and from MLflow")
    assert "promote the new version by hand: airflow mlops promote" in message
    assert standing(world) == before


def test_the_ways_out_that_it_names_lead_out(world: World) -> None:
    lose_everywhere(world, 3)
    world.train(16)
    assert "version 4 is the champion" in world.promote(4, despite_gates=True)
    assert world.train(18) == "promoted"


def test_a_champion_that_is_back_is_compared_with_again(world: World) -> None:
    entry = entry_of(world, 3)
    content = file_of(entry.artifact).read_bytes()
    lose_everywhere(world, 3)
    world.train(16)
    file_of(entry.artifact).write_bytes(content)
    assert world.train(16) == "promoted"


# ---------------------------------------------------------------- promotion


@pytest.mark.parametrize("role", ["model", "reference", "evaluation"])
def test_what_is_lost_before_the_promotion_is_there_after_it(world: World, role: str) -> None:
    evaluation, judged = world.published(16)
    file_of(evaluation.artifacts[role]).unlink()
    world.opened()
    assert world.promoted(evaluation, judged, 16) == "promoted"
    assert world.store.holds(evaluation.artifacts[role])


@pytest.mark.parametrize("role", ["model", "reference", "evaluation"])
def test_without_its_files_nothing_is_promoted(world: World, role: str) -> None:
    evaluation, judged = world.published(16)
    before = standing(world)
    for name in ("model.skops", "evaluation/*.json"):
        for copy in (world.folder / "mlflow").rglob(name):
            copy.unlink()
    if role == "reference":  # it would be made anew; without its request nothing bears the evaluation out
        shutil.rmtree(world.folder / "store" / "receipts" / NAME / "evaluate")
    file_of(evaluation.artifacts[role]).unlink()
    world.opened()
    message = "the request behind step" if role == "reference" else f"cannot be promoted: its {role} is lost"
    with pytest.raises(ArtifactError, match=f"{message}.*Clear the"):
        world.promoted(evaluation, judged, 16)
    assert standing(world) == before


# ---------------------------------------------------------------- scoring and monitoring


def test_the_third_champion_is_asked_when_the_two_after_it_are_gone(world: World) -> None:
    lose_everywhere(world, 3)
    lose_everywhere(world, 2)
    facts = world.score(16).facts
    assert (facts["version"], facts["fallback"]) == (1, "former")
    assert world.watch(16) == "keep", "that it cannot be asked says nothing of how good it is"


def test_a_version_that_was_asked_for_by_number_is_not_stood_in_for(world: World) -> None:
    lose_everywhere(world, 2)
    champion = effects.as_champion(entry_of(world, 2))
    dataset = world.steps.ingest(lost_objects.START + 16 * lost_objects.DAY, "scoring")
    with pytest.raises(ModelUnavailableError, match="Restore its file, or roll back to another version"):
        world.steps.run("score", as_of=dataset.as_of, section={}, inputs={"dataset": [dataset]}, champion=champion)


@pytest.mark.parametrize("role", ["reference", "evaluation", "artifact"])
def test_a_window_is_decided_though_the_champion_lacks_something(world: World, role: str) -> None:
    world.score(16)
    if role == "artifact":
        lose_everywhere(world, 3)
    else:
        lose_for_good(world, getattr(entry_of(world, 3), role))
    world.opened()
    assert world.watch(16) == "keep"
    decided = str(world.registry.decisions(NAME)[-1].value)
    wanted = "model" if role == "artifact" else role
    if wanted != "evaluation":
        assert f"the {wanted} of version 3 is gone from the artifact store" in decided
