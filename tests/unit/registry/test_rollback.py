from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry import LedgerEntry, PromotionOutcome, PromotionRequest, Registry
from airflow_mlops_provider.registry.ledger import Ledger, former_champion, served_at
from airflow_mlops_provider.results import ArtifactRef

Versions = Callable[[str, int], None]
Request = Callable[..., PromotionRequest]
RollBack = Callable[..., PromotionOutcome]


@pytest.fixture
def back(registry: Registry) -> RollBack:
    def roll_back(to: Any = "previous", idem: str = "rollback", reason: str = "late", **more: Any) -> PromotionOutcome:
        return registry.rollback("flights", to=to, reason=reason, idem=idem, **more)

    return roll_back


@pytest.fixture
def champions(registry: Registry, versions: Versions, request_for: Request) -> Callable[[int], None]:
    """Promote version after version, one a day."""

    def promote(count: int) -> None:
        versions("flights", count)
        for version in range(1, count + 1):
            outcome = registry.promote(request_for(version, day=version, compared_with=version - 1 or None))
            assert outcome.status == "promoted"

    return promote


def shown(client: Any) -> tuple[int, list[str | None]]:
    found = sorted(client.search_model_versions("name = 'flights'"), key=lambda version: int(version.version))
    champion = int(client.get_registered_model("flights").aliases["champion"])
    return champion, [version.tags.get("mlops.status") for version in found]


def serving(registry: Registry) -> list[tuple[str, int, int | None]]:
    return [(entry.action, entry.version, entry.quarantined) for entry in registry.history("flights")]


# ------------------------------------------------------------------------------------------------ what it does


def test_the_former_champion_serves_again_and_the_failed_one_is_in_quarantine(
    registry: Registry, client: Any, champions: Callable[[int], None], back: RollBack
) -> None:
    champions(3)
    outcome = back(reason=" too many late flights missed ", approver="ann")

    assert (outcome.status, outcome.changed, outcome.entry) == ("rolled_back", True, registry.head("flights"))
    assert outcome.reason == (
        "version 2 is the champion again (entry 4), after version 3, which is in quarantine: too many late flights "
        "missed"
    )
    assert serving(registry) == [("promote", 1, None), ("promote", 2, None), ("promote", 3, None), ("rollback", 2, 3)]
    assert shown(client) == (2, ["archived", "champion", "quarantined"])


def test_its_entry_says_what_serves_and_why(registry: Registry, versions: Versions, request_for: Request) -> None:
    versions("flights", 2)
    drifted_from = ArtifactRef(uri="file:///store/reference.parquet", sha256="b" * 64, size=5)
    measured = ArtifactRef(uri="file:///store/evaluation.json", sha256="c" * 64, size=6)
    registry.promote(request_for(1, day=1, reference=drifted_from, evaluation=measured, approver="bob"))
    registry.promote(request_for(2, day=2, compared_with=1))
    first, second = registry.history("flights")

    entry = registry.rollback("flights", to=1, reason="late", idem="task", approver="ann").entry

    assert entry is not None
    same = {"version", "digest", "sha256", "artifact", "lineage", "metrics", "reference", "evaluation"}
    assert entry.model_dump(include=same) == first.model_dump(include=same)
    assert entry.reference == drifted_from
    assert entry.evaluation == measured
    assert (entry.action, entry.idem, entry.approver, entry.reason) == ("rollback", "task", "ann", "late")
    assert (entry.gates, entry.compared_with, entry.lifted) == ([], None, None)
    assert entry.order_key == second.order_key, "data that was seen stays seen"
    assert entry.at > second.at


def test_an_older_challenger_does_not_come_back_after_a_rollback(
    registry: Registry, champions: Callable[[int], None], back: RollBack, versions: Versions, request_for: Request
) -> None:
    champions(3)
    back(to=1)
    assert registry.promote(request_for(2, day=2, idem="cleared", compared_with=1)).status == "older"


def test_the_failed_version_comes_back_only_when_its_quarantine_is_lifted(
    registry: Registry, client: Any, champions: Callable[[int], None], back: RollBack, request_for: Request
) -> None:
    champions(2)
    back()
    again = request_for(2, day=2, idem="again", compared_with=3)
    assert registry.promote(again).status == "quarantined"
    lifted = registry.promote(again.model_copy(update={"lift_quarantine": True}))
    assert (lifted.status, lifted.entry and lifted.entry.lifted) == ("promoted", 2)
    assert shown(client) == (2, ["archived", "champion"])


# ------------------------------------------------------------------------------------------------ where to


def test_each_further_rollback_goes_further_back(
    registry: Registry, champions: Callable[[int], None], back: RollBack
) -> None:
    champions(3)
    back(idem="first")
    back(idem="second")
    assert [entry.version for entry in registry.history("flights")] == [1, 2, 3, 2, 1]
    with pytest.raises(RegistryError) as raised:
        back(idem="third")
    assert str(raised.value) == (
        "model 'flights' cannot be rolled back to the previous champion: no champion is left before version 1. "
        "Every other version that has served is in quarantine."
    )


def test_what_a_rollback_passed_over_is_not_what_comes_before_it(
    registry: Registry, champions: Callable[[int], None], back: RollBack
) -> None:
    champions(3)
    back(to=1, idem="first")
    with pytest.raises(RegistryError, match=r"no champion is left before version 1\. Available: version 2 \("):
        back(idem="second")
    assert back(to=2, idem="third").status == "rolled_back"


def test_back_to_a_version_by_number(registry: Registry, champions: Callable[[int], None], back: RollBack) -> None:
    champions(3)
    outcome = back(to=1)
    assert outcome.entry is not None
    assert outcome.entry.version == 1
    assert serving(registry)[-1] == ("rollback", 1, 3)


def test_back_to_what_served_at_a_moment(registry: Registry, champions: Callable[[int], None], back: RollBack) -> None:
    champions(3)
    first, second, third = registry.history("flights")
    assert registry.served_at("flights", first.at - timedelta(seconds=1)) is None
    assert registry.served_at("flights", first.at) == first
    assert registry.served_at("flights", second.at.replace(tzinfo=None)) == second
    assert registry.served_at("flights", third.at + timedelta(days=1)) == third

    outcome = back(to=first.at + (second.at - first.at) / 2)

    assert outcome.entry is not None
    assert outcome.entry.version == 1


def test_who_came_before(request_for: Request) -> None:
    def history(*steps: str) -> list[LedgerEntry]:
        """Return a ledger: `p2` promotes version 2, `r1` rolls back to 1."""
        entries: list[LedgerEntry] = []
        for step in steps:
            version = int(step[1:])
            wanted = request_for(version, day=len(entries) + 1)
            rollback = {"action": "rollback", "quarantined": entries[-1].version} if step[0] == "r" else {}
            entries.append(
                LedgerEntry(
                    **wanted.model_dump(exclude={"model", "allow_older", "lift_quarantine"}),
                    **rollback,
                    seq=len(entries) + 1,
                    at=datetime(2026, 11, len(entries) + 1, tzinfo=UTC),
                )
            )
        return entries

    def former(*steps: str) -> int | None:
        found = former_champion(history(*steps))
        return found.version if found else None

    assert former() is None
    assert former("p1") is None
    assert former("p1", "p2") == 1
    assert former("p1", "p2", "p3", "r2") == 1
    assert former("p1", "p2", "p3", "r1") is None
    assert former("p1", "p2", "r1", "p3") == 1
    assert former("p1", "p2", "r1", "p3", "r1") is None
    assert former("p1", "p2", "p3", "r2", "p4", "r2") == 1
    assert former("p1", "p1", "p2", "p2") == 1
    twins = history("p1", "p2", "p3")
    twins[1] = twins[1].model_copy(update={"digest": twins[2].digest})
    assert former_champion(twins) == twins[0], "the same model under another number is no other champion"
    assert served_at([], datetime(2026, 1, 1, tzinfo=UTC)) is None


# ------------------------------------------------------------------------------------------------ what it refuses


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_a_reason_is_required(champions: Callable[[int], None], back: RollBack, reason: str) -> None:
    champions(2)
    with pytest.raises(RegistryError, match="rolling back model 'flights' needs a reason"):
        back(reason=reason)


def test_without_a_champion_there_is_nothing_to_roll_back(back: RollBack) -> None:
    with pytest.raises(
        RegistryError, match="'flights' cannot be rolled back: it never had a champion: got to version 3"
    ):
        back(to=3)


@pytest.mark.parametrize(
    ("to", "words"),
    [
        (7, "to version 7: that version was never champion. Available: version 2 (entry 2, "),
        (3, "to version 3: version 3 is the champion already (entry 3)"),
        (
            datetime(2013, 3, 1, tzinfo=UTC),
            "to what served at 2013-03-01T00:00:00+00:00: the first champion has served since 20",
        ),
        (datetime(2999, 1, 1), "to what served at 2999-01-01T00:00:00+00:00: version 3 is the champion already"),
    ],
)
def test_back_to_what_is_not_there_names_what_is(
    registry: Registry, champions: Callable[[int], None], back: RollBack, to: Any, words: str
) -> None:
    champions(3)
    with pytest.raises(RegistryError) as raised:
        back(to=to)
    assert words in str(raised.value)
    assert len(registry.history("flights")) == 3


def test_back_to_a_version_in_quarantine_or_its_twin_is_refused(
    registry: Registry, versions: Versions, request_for: Request, back: RollBack
) -> None:
    versions("flights", 4)
    registry.promote(request_for(1, day=1))
    registry.promote(request_for(2, day=2, compared_with=1, digest="same"))
    registry.promote(request_for(3, day=3, compared_with=2, digest="same"))
    with pytest.raises(RegistryError, match="version 2 is the same model that serves as version 3"):
        back(to=2)
    assert back().entry == registry.history("flights")[-1]
    assert registry.history("flights")[-1].version == 1
    for to, same in ((3, ""), (2, r" \(the same model as version 3\)")):
        with pytest.raises(RegistryError, match=rf"version {to}{same} is in quarantine\. .* promote it with lift"):
            back(to=to, idem="again")


def test_a_version_that_mlflow_no_longer_holds_is_refused_before_the_ledger_names_it(
    registry: Registry, client: Any, champions: Callable[[int], None], back: RollBack
) -> None:
    champions(3)
    client.delete_model_version("flights", "2")
    with pytest.raises(RegistryError, match=r"back to version 2 \(entry 2\): it is gone from MLflow"):
        back()
    assert len(registry.history("flights")) == 3
    assert back(to=1).status == "rolled_back"


def test_a_champion_that_is_gone_from_mlflow_can_be_rolled_back(
    registry: Registry, client: Any, champions: Callable[[int], None], back: RollBack
) -> None:
    champions(2)
    client.delete_model_version("flights", "2")
    assert back().status == "rolled_back"
    assert shown(client) == (1, ["champion"])


# ------------------------------------------------------------------------------------------------ once


def test_the_same_rollback_again_changes_nothing(
    registry: Registry, client: Any, champions: Callable[[int], None], back: RollBack
) -> None:
    champions(3)
    first = back()
    client.set_registered_model_alias("flights", "champion", "3")
    second = back()
    assert (second.status, second.changed, second.repaired, second.entry) == ("already", False, True, first.entry)
    assert len(registry.history("flights")) == 4
    assert shown(client)[0] == 2


def test_only_the_champion_that_was_meant_is_rolled_back(
    registry: Registry, champions: Callable[[int], None], back: RollBack
) -> None:
    champions(3)
    outcome = back(expected_head=2)
    assert (outcome.status, outcome.changed, outcome.entry) == ("stale", False, registry.head("flights"))
    assert outcome.reason == (
        "the champion changed in the meantime: entry 2 was to be rolled back, but version 3 is champion by entry 3"
    )
    assert len(registry.history("flights")) == 3
    assert back(expected_head=3).status == "rolled_back"


def test_a_lost_race_does_not_roll_back_the_winner(
    registry: Registry,
    client: Any,
    champions: Callable[[int], None],
    back: RollBack,
    request_for: Request,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    champions(2)
    client.create_model_version("flights", "/nowhere", await_creation_for=None)
    append, entries = Ledger.append, []

    def beaten(self: Ledger, entry: LedgerEntry) -> bool:
        # Another process promotes in the moment before our write.
        if not entries:
            entries.append(entry)
            sooner = request_for(3, day=9, idem="other", compared_with=2)
            monkeypatch.setattr(Ledger, "append", append)
            Registry.promote(registry, sooner)
        return append(self, entry)

    monkeypatch.setattr(Ledger, "append", beaten)
    outcome = back()
    assert (outcome.status, outcome.changed) == ("stale", False)
    assert [entry.idem for entry in registry.history("flights")] == ["task-1", "task-2", "other"]


def test_an_entry_too_long_is_refused_before_it_is_written(
    registry: Registry, champions: Callable[[int], None], back: RollBack
) -> None:
    champions(2)
    with pytest.raises(RegistryError, match="too long: got .* most in reason"):
        back(reason="x" * 6000)
    assert len(registry.history("flights")) == 2
