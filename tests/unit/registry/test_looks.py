from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_mlops_provider.failpoints import failpoint
from airflow_mlops_provider.registry import Registry
from airflow_mlops_provider.registry.looks import Look, unseen_by

DAY = timedelta(days=1)
START = datetime(2013, 3, 1, tzinfo=UTC)


def look(day: int, lineage: str | None = None, recipe: str = "ours", **changes: Any) -> Look:
    values: dict[str, Any] = {"recipe": recipe, "lineage": lineage or f"day {day}", "as_of": START + day * DAY}
    return Look(**values | {"spent": 0.01, "candidate": "forest"} | changes)


def unseen(looks: list[Look], day: int, lineage: str | None = None, recipe: str = "ours") -> timedelta | None:
    return unseen_by(looks, recipe, lineage or f"day {day}", START + day * DAY)


def test_a_look_uses_up_the_data_before_it() -> None:
    assert unseen([], 1) is None
    assert unseen([look(1), look(2)], 5) == 3 * DAY
    assert unseen([look(1), look(2)], 2, "another of the same day") == timedelta(0)
    assert unseen([look(9)], 5) == timedelta(0)


def test_looks_at_another_champion_use_up_nothing() -> None:
    assert unseen([look(1, recipe="theirs")], 5) is None


def test_a_training_that_has_looked_has_what_it_had_then() -> None:
    looks = [look(1), look(3), look(4)]
    assert (unseen(looks, 1), unseen(looks, 3), unseen(looks, 4)) == (None, 2 * DAY, DAY)
    # The same candidates on the same data, some days later.
    assert unseen(looks, 9, lineage="day 3") == 2 * DAY


def test_of_two_looks_at_the_same_data_the_first_written_has_it() -> None:
    looks = [look(3, "one"), look(3, "other")]
    assert (unseen(looks, 3, "one"), unseen(looks, 3, "other")) == (None, timedelta(0))


def test_a_look_at_data_of_the_future_does_not_count() -> None:
    assert unseen([look(1), look(90, at=START + 2 * DAY)], 5) == 4 * DAY


def test_a_look_is_written_once_for_a_training_in_the_order_of_writing(registry: Registry) -> None:
    looks = registry.looks("flights")
    assert looks.history() == []
    first = looks.write(look(3))
    assert looks.write(look(3, spent=0.02)) == first
    second = looks.write(look(1))
    assert looks.write(look(3, recipe="theirs")).recipe == "theirs"
    assert looks.history()[:2] == [first, second]
    # They are no entries of the ledger.
    assert registry.history("flights") == []


@pytest.mark.parametrize("key", ["look-9", "look-999999999", "look-01", "look-２"])
def test_a_stray_key_is_no_look_and_stops_none(registry: Registry, key: str) -> None:
    looks = registry.looks("flights")
    first = looks.write(look(1))
    looks._log.write(key, "anything")
    second = looks.write(look(2))
    assert looks.history() == [first, second]


def test_what_is_no_look_in_the_next_place_is_passed_over(registry: Registry) -> None:
    looks = registry.looks("flights")
    first = looks.write(look(1))
    looks._log.write("look-2", "anything")
    third = looks.write(look(3))
    assert looks.history() == [first, third]
    assert "look-3" in looks._log.read()


def test_a_look_of_the_future_spends_nothing_whatever_it_says_of_its_own_time(registry: Registry) -> None:
    then = datetime(2126, 4, 1, tzinfo=UTC)
    forged = look(1).model_copy(update={"as_of": then, "at": then})
    assert unseen_by([forged], forged.recipe, "another", datetime(2026, 4, 1, tzinfo=UTC)) is None


def test_of_writers_of_one_place_each_finds_one(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (Registry.connect(mlflow_uri).looks("flights") for _ in range(2))
    one.write(look(1))
    raced = []

    def meanwhile(name: str) -> None:
        if name == "look.write.before" and not raced:
            raced.append(name)
            other.write(look(2, "the quicker"))
        failpoint(name)

    monkeypatch.setattr("airflow_mlops_provider.registry.looks.failpoint", meanwhile)
    one.write(look(2, "the slower"))

    written = one.history()
    assert [each.lineage for each in written] == ["day 1", "the quicker", "the slower"]
    assert [unseen(written, 2, each) for each in ("the quicker", "the slower")] == [DAY, timedelta(0)]


def test_a_writer_that_was_killed_finds_its_look(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(name: str) -> None:
        if name == "look.write.after":
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("airflow_mlops_provider.registry.looks.failpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            registry.looks("flights").write(look(1))
    registry.looks("flights").write(look(1))
    assert len(registry.looks("flights").history()) == 1
