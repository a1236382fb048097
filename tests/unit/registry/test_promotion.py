from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry import LedgerEntry, PromotionRequest, Registry
from airflow_mlops_provider.registry.chain import digest_of
from airflow_mlops_provider.registry.client import Connection
from airflow_mlops_provider.registry.ledger import LEDGER, Ledger, champion_to_beat
from airflow_mlops_provider.registry.promotion import refusal
from airflow_mlops_provider.registry.write_once import WriteOnceLog

Versions = Callable[[str, int], None]
Request = Callable[..., PromotionRequest]


def champion(client: Any) -> int:
    return int(client.get_registered_model("flights").aliases["champion"])


def status(client: Any) -> list[str | None]:
    found = client.search_model_versions("name = 'flights'")
    return [version.tags.get("mlops.status") for version in sorted(found, key=lambda found: int(found.version))]


def roll_back(registry: Registry) -> None:
    assert registry.rollback("flights", to="previous", reason="late", idem="rollback").status == "rolled_back"


def test_the_first_version_becomes_champion(
    registry: Registry, client: Any, versions: Versions, request_for: Request
) -> None:
    versions("flights", 1)
    assert registry.head("flights") is None
    outcome = registry.promote(request_for(1, day=1))
    assert (outcome.status, outcome.changed, outcome.entry) == ("promoted", True, registry.head("flights"))
    assert outcome.reason == "version 1 is the champion (entry 1), the first"
    assert champion(client) == 1
    assert status(client) == ["champion"]


def test_a_better_version_takes_over_and_the_former_is_archived(
    registry: Registry, client: Any, versions: Versions, request_for: Request
) -> None:
    versions("flights", 2)
    registry.promote(request_for(1, day=1))
    outcome = registry.promote(request_for(2, day=2, compared_with=1, approver="ann"))
    assert outcome.status == "promoted"
    assert [(entry.seq, entry.version, entry.approver) for entry in registry.history("flights")] == [
        (1, 1, None),
        (2, 2, "ann"),
    ]
    assert champion(client) == 2
    assert status(client) == ["archived", "champion"]


def test_an_entry_keeps_what_was_asked(registry: Registry, versions: Versions, request_for: Request) -> None:
    versions("flights", 1)
    wanted = request_for(1, day=1)
    registry.promote(wanted)
    head = registry.head("flights")
    assert head is not None
    stored = head.model_dump(exclude={"seq", "previous", "next_seq", "nonce", "at", "action", "quarantined", "lifted"})
    assert stored == wanted.model_dump(exclude={"model", "allow_older", "lift_quarantine"})


def test_the_same_effect_again_changes_nothing(
    registry: Registry, client: Any, versions: Versions, request_for: Request
) -> None:
    versions("flights", 2)
    registry.promote(request_for(1, day=1))
    registry.promote(request_for(2, day=2, compared_with=1))
    outcome = registry.promote(request_for(1, day=1))
    assert (outcome.status, outcome.changed, outcome.repaired) == ("already", False, False)
    assert outcome.entry is not None
    assert outcome.entry.seq == 1
    assert outcome.reason.endswith("the champion is version 2 (entry 2)")
    assert len(registry.history("flights")) == 2
    assert champion(client) == 2


def test_another_effect_on_the_champion_changes_nothing(
    registry: Registry, versions: Versions, request_for: Request
) -> None:
    versions("flights", 1)
    registry.promote(request_for(1, day=1))
    outcome = registry.promote(request_for(1, day=1, idem="another", compared_with=1))
    assert (outcome.status, outcome.changed) == ("already", False)
    assert len(registry.history("flights")) == 1


def test_an_older_version_leaves_the_newer_champion(
    registry: Registry, client: Any, versions: Versions, request_for: Request
) -> None:
    versions("flights", 2)
    registry.promote(request_for(2, day=2))
    outcome = registry.promote(request_for(1, day=1))
    assert (outcome.status, outcome.changed) == ("older", False)
    assert "version 2, has data up to 2013-03-02" in outcome.reason
    assert champion(client) == 2
    forced = registry.promote(request_for(1, day=1, allow_older=True, compared_with=1))
    assert forced.status == "promoted"
    assert champion(client) == 1


def test_a_challenger_gated_against_a_former_champion_is_stale(
    registry: Registry, versions: Versions, request_for: Request
) -> None:
    versions("flights", 3)
    registry.promote(request_for(1, day=1))
    registry.promote(request_for(2, day=2, compared_with=1))
    outcome = registry.promote(request_for(3, day=3, compared_with=1))
    assert (outcome.status, outcome.reason) == ("stale", "compared with entry 1, now to be compared with 2")
    assert registry.promote(request_for(3, day=3, compared_with=2)).status == "promoted"


def test_a_repaired_training_of_the_same_day_replaces_its_own_champion(
    registry: Registry, client: Any, versions: Versions, request_for: Request
) -> None:
    versions("flights", 3)
    registry.promote(request_for(1, day=1))
    registry.promote(request_for(2, day=2, compared_with=1))
    again = registry.champion_to_beat("flights", as_of=datetime(2013, 3, 2, tzinfo=UTC), lineage="lineage-2")
    assert again is not None
    assert again.seq == 1
    assert registry.promote(request_for(3, day=2, compared_with=again.seq)).status == "promoted"
    assert champion(client) == 3


def test_a_version_that_was_rolled_back_needs_its_quarantine_lifted(
    registry: Registry, client: Any, versions: Versions, request_for: Request
) -> None:
    versions("flights", 3)
    registry.promote(request_for(1, day=1))
    registry.promote(request_for(2, day=2, compared_with=1))
    roll_back(registry)
    assert champion(client) == 1
    assert status(client) == ["champion", "quarantined", None]
    again = {"idem": "again", "compared_with": 3}
    assert registry.promote(request_for(2, day=2, **again)).status == "quarantined"
    assert registry.promote(request_for(2, day=2, allow_older=True, **again)).status == "quarantined"
    twin = registry.promote(request_for(3, day=3, digest="digest-2", compared_with=3))
    assert twin.status == "quarantined"
    assert twin.reason == "version 3 (the same model as version 2) is in quarantine"
    lifted = registry.promote(request_for(2, day=2, lift_quarantine=True, **again))
    assert lifted.status == "promoted"
    assert lifted.entry is not None
    assert lifted.entry.lifted == 2
    assert status(client) == ["archived", "champion", None]
    assert registry.promote(request_for(1, day=3, idem="x", compared_with=4)).status == "promoted"
    assert registry.promote(request_for(2, day=4, idem="y", compared_with=5)).status == "promoted"


def test_the_entry_of_a_rolled_back_effect_is_not_written_again(
    registry: Registry, client: Any, versions: Versions, request_for: Request
) -> None:
    versions("flights", 2)
    registry.promote(request_for(1, day=1))
    registry.promote(request_for(2, day=2, compared_with=1))
    roll_back(registry)
    outcome = registry.promote(request_for(2, day=2, compared_with=1))
    assert (outcome.status, outcome.changed) == ("already", False)
    assert champion(client) == 1


def test_who_a_challenger_is_compared_with(request_for: Request) -> None:
    history = [
        LedgerEntry(
            **request_for(version, day=day).model_dump(exclude={"model", "allow_older", "lift_quarantine"}),
            seq=version,
            at=datetime(2026, 11, day, tzinfo=UTC),
        )
        for version, day in [(1, 1), (2, 3), (3, 5)]
    ]

    def stands_against(day: int, lineage: str = "new", allow_older: bool = False, entries: Any = history) -> int | None:
        moment = datetime(2013, 3, day, tzinfo=UTC)
        found = champion_to_beat(entries, as_of=moment, lineage=lineage, allow_older=allow_older)
        return found.seq if found else None

    assert stands_against(6) == 3
    assert stands_against(5) == 3
    assert stands_against(4) == 2
    assert stands_against(4, allow_older=True) == 3
    assert stands_against(5, lineage="lineage-5") == 2
    assert stands_against(1, lineage="lineage-1") is None
    assert stands_against(6, entries=[]) is None
    bad = history[2].model_copy(update={"quarantined": 2, "version": 1, "lineage": "lineage-1"})
    assert stands_against(6, lineage="lineage-1", entries=[*history[:2], bad]) is None


def test_a_comparison_with_an_empty_ledger_is_stale(request_for: Request) -> None:
    assert refusal([], request_for(1, day=1)) is None
    assert refusal([], request_for(1, day=1, compared_with=4)) == (
        "stale",
        "compared with entry 4, and the ledger is empty",
    )


def test_an_entry_that_is_too_long_is_refused_before_it_is_written(
    registry: Registry, client: Any, versions: Versions, request_for: Request
) -> None:
    versions("flights", 1)
    with pytest.raises(RegistryError, match="entry for version 1 is too long: got .* most in reason, .* at most 6000"):
        registry.promote(request_for(1, day=1, reason="x" * 6000))
    assert registry.history("flights") == []
    assert client.get_registered_model("flights").aliases == {}
    almost = request_for(1, day=1, reason="é" * 850)
    assert registry.promote(almost).status == "promoted"
    head = registry.head("flights")
    assert head is not None
    assert head.reason == almost.reason


def test_a_moved_alias_is_reported_and_repaired(
    registry: Registry, client: Any, versions: Versions, request_for: Request
) -> None:
    versions("flights", 2)
    registry.promote(request_for(1, day=1))
    assert registry.reconcile("flights").agrees
    client.set_registered_model_alias("flights", "champion", "2")
    report = registry.reconcile("flights", repair=False)
    assert (report.champion, report.alias, report.agrees, report.repaired) == (1, 2, False, False)
    assert report.reason == "the alias named version 2, the ledger 1"
    assert champion(client) == 2
    assert registry.reconcile("flights").repaired
    assert champion(client) == 1
    client.delete_registered_model_alias("flights", "champion")
    assert registry.promote(request_for(1, day=1)).repaired
    assert champion(client) == 1


def test_an_alias_without_a_ledger_is_left_as_it_is(registry: Registry, client: Any, versions: Versions) -> None:
    assert registry.reconcile("flights").agrees
    versions("flights", 1)
    client.set_registered_model_alias("flights", "champion", "1")
    report = registry.reconcile("flights")
    assert (report.agrees, report.repaired, report.alias) == (False, False, 1)
    assert champion(client) == 1


def test_a_champion_that_is_gone_from_the_registry_is_named(
    registry: Registry, client: Any, versions: Versions, request_for: Request
) -> None:
    versions("flights", 2)
    registry.promote(request_for(1, day=1))
    client.delete_model_version("flights", "1")
    with pytest.raises(RegistryError, match=r"version 1 of model 'flights', champion by entry 1 .* is gone"):
        registry.reconcile("flights")
    assert registry.promote(request_for(2, day=2, compared_with=1)).status == "promoted"
    assert champion(client) == 2


def test_a_deleted_ledger_is_an_error_that_says_how_to_restore_it(
    registry: Registry, mlflow_uri: str, client: Any, versions: Versions, request_for: Request
) -> None:
    versions("flights", 1)
    registry.promote(request_for(1, day=1))
    ledger = client.get_experiment_by_name("ledger/flights")
    client.delete_run(ledger.tags["run"])
    with pytest.raises(RegistryError, match="was deleted. Restore it: mlflow runs restore"):
        registry.history("flights")
    client.restore_run(ledger.tags["run"])
    client.delete_experiment(ledger.experiment_id)
    with pytest.raises(RegistryError, match=f"mlflow experiments restore --experiment-id {ledger.experiment_id}"):
        Registry.connect(mlflow_uri).history("flights")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seq-2", "no json", "entry 2 cannot be read"),
        ("seq-2", json.dumps({"idem": "x"}), "entry 2 cannot be read"),
    ],
)
def test_a_damaged_ledger_is_an_error(
    registry: Registry, client: Any, versions: Versions, request_for: Request, key: str, value: str, message: str
) -> None:
    versions("flights", 1)
    registry.promote(request_for(1, day=1))
    client.log_param(client.get_experiment_by_name("ledger/flights").tags["run"], key, value)
    with pytest.raises(RegistryError, match=message):
        registry.history("flights")


def test_an_older_release_reads_what_a_newer_one_wrote(
    registry: Registry, client: Any, versions: Versions, request_for: Request
) -> None:
    versions("flights", 1)
    registry.promote(request_for(1, day=1))
    run = client.get_experiment_by_name("ledger/flights").tags["run"]
    first = client.get_run(run).data.params["seq-1"]
    entry = json.loads(first)
    client.log_param(run, "seq-2", json.dumps({**entry, "idem": "new", "mood": "good", "previous": digest_of(first)}))
    client.log_param(run, "decision-1", "kept")
    assert [entry.idem for entry in registry.history("flights")] == ["task-1", "new"]


def test_the_second_of_two_writers_of_one_place_loses(
    mlflow_uri: str, registry: Registry, versions: Versions, request_for: Request
) -> None:
    versions("flights", 1)
    entry = registry.promote(request_for(1, day=1)).entry
    assert entry is not None
    other = entry.model_copy(update={"nonce": "other"})
    assert not Ledger(Connection(mlflow_uri), "flights").append(other)
    assert registry.history("flights") == [entry]


def test_of_two_ledgers_born_at_once_one_stays(mlflow_uri: str, client: Any) -> None:
    # Both have seen that there is none.
    ensure_run = [WriteOnceLog(Connection(mlflow_uri), "flights", LEDGER)._create() for _ in range(2)]
    assert ensure_run[0] == ensure_run[1]
    shared = client.get_experiment_by_name("mlops-ledger").experiment_id
    assert [run.info.run_id for run in client.search_runs([shared])] == ensure_run[:1]


def test_of_two_writers_of_equal_entries_one_wins(
    mlflow_uri: str, registry: Registry, versions: Versions, request_for: Request
) -> None:
    versions("flights", 1)
    entry = registry.promote(request_for(1, day=1)).entry
    assert entry is not None
    ledger = Ledger(Connection(mlflow_uri), "flights")
    equal = [LedgerEntry(**entry.model_dump(exclude={"nonce", "seq"}), seq=2) for _ in range(2)]
    assert [ledger.append(each) for each in equal] == [True, False]


def test_the_ledger_leaves_no_run_open_and_no_loser(
    registry: Registry, client: Any, versions: Versions, request_for: Request
) -> None:
    versions("flights", 1)
    registry.promote(request_for(1, day=1))
    shared = client.get_experiment_by_name("mlops-ledger").experiment_id
    assert [run.info.status for run in client.search_runs([shared])] == ["FINISHED"]


@pytest.mark.parametrize("name", ["a/b", "a:b", "o'hara", 'a"b', "a`b", "", "x" * 300])
def test_a_name_that_mlflow_or_its_filters_cannot_hold_is_refused(registry: Registry, name: str) -> None:
    with pytest.raises(RegistryError, match="cannot have this name"):
        registry.history(name)
