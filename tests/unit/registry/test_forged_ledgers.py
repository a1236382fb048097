"""What others write into a ledger, straight into MLflow's database: no alias moves, and what was done is said."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry import LedgerEntry, PromotionRequest, Registry
from airflow_mlops_provider.registry.chain import digest_of
from airflow_mlops_provider.results import ArtifactRef

SHA = "a" * 64


@dataclass
class Database:
    """MLflow's database as an attacker sees it, with the ledger of `flights`: versions 1 to 3, one a day."""

    file: Path

    @property
    def registry(self) -> Registry:
        return Registry.connect(f"sqlite:///{self.file}")

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with sqlite3.connect(self.file) as connection:
            found = connection.execute(statement, values).fetchall()
        connection.close()
        return found

    @property
    def run(self) -> str:
        [[run]] = self.sql(
            "SELECT t.value FROM experiment_tags t JOIN experiments e USING (experiment_id) "
            "WHERE e.name = 'ledger/flights' AND t.key = 'run'"
        )
        return str(run)

    def get(self, key: str) -> str:
        [[text]] = self.sql("SELECT value FROM params WHERE run_uuid = ? AND key = ?", self.run, key)
        return str(text)

    def put(self, key: str, text: str) -> None:
        self.sql("INSERT OR REPLACE INTO params (run_uuid, key, value) VALUES (?, ?, ?)", self.run, key, text)

    def remove(self, key: str) -> None:
        self.sql("DELETE FROM params WHERE run_uuid = ? AND key = ?", self.run, key)

    def changed(self, key: str, **changes: Any) -> str:
        fields = json.loads(self.get(key)) | changes
        return json.dumps({name: value for name, value in fields.items() if value is not None})

    def change(self, key: str, **changes: Any) -> None:
        self.put(key, self.changed(key, **changes))

    def next(self, **changes: Any) -> str:
        """Return an entry as the fourth would be, but for some fields."""
        return self.changed("seq-3", **{"previous": digest_of(self.get("seq-3")), "idem": "x", "nonce": "x", **changes})

    def alias(self) -> int:
        [[version]] = self.sql(
            "SELECT version FROM registered_model_aliases WHERE alias = 'champion' AND name = 'flights'"
        )
        return int(version)


def request(version: int, day: int, **changes: Any) -> PromotionRequest:
    fields = {
        "model": "flights",
        "idem": f"task-{version}",
        "version": version,
        "digest": f"digest-{version}",
        "sha256": SHA,
        "artifact": ArtifactRef(uri="file:///store/model.skops", sha256=SHA, size=3),
        "lineage": f"lineage-{version}",
        "order_key": datetime(2013, 3, day, tzinfo=UTC),
        "compared_with": version - 1 or None,
    }
    return PromotionRequest(**{**fields, **changes})


@pytest.fixture(scope="module")
def three_champions(migrated_mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("champions") / "mlflow.db"
    shutil.copy(migrated_mlflow, file)
    client, registry = MlflowClient(f"sqlite:///{file}"), Registry.connect(f"sqlite:///{file}")
    client.create_registered_model("flights")
    for version in range(1, 8):
        tags = {"mlops.digest": f"digest-{version}", "mlops.sha256": SHA}
        client.create_model_version("flights", "/nowhere", tags=tags, await_creation_for=None)
    for version in (1, 2, 3):
        registry.promote(request(version, version))
    return file


@pytest.fixture
def database(three_champions: Path, tmp_path: Path) -> Database:
    return Database(Path(shutil.copy(three_champions, tmp_path / "mlflow.db")))


Attack = Callable[[Database], None]


def rewrite(number: int, **changes: Any) -> Attack:
    return lambda database: database.change(f"seq-{number}", **changes)


def forge(key: str, text: str | None = None, **changes: Any) -> Attack:
    return lambda database: database.put(key, database.next(**changes) if text is None else text)


def swap(database: Database) -> None:
    first, second = database.get("seq-1"), database.get("seq-2")
    database.put("seq-1", second)
    database.put("seq-2", first)


def other_ledger(database: Database) -> None:
    """Let the experiment name a run of the attacker's."""
    [[experiment]] = database.sql("SELECT experiment_id FROM experiments WHERE name = 'ledger/flights'")
    run = database.run[::-1]
    database.sql(f"INSERT INTO runs SELECT '{run}', {_columns(database)} FROM runs WHERE run_uuid = ?", database.run)
    database.sql("UPDATE experiment_tags SET value = ? WHERE experiment_id = ? AND key = 'run'", run, experiment)
    database.put("seq-1", json.dumps({"version": 7}))


def _columns(database: Database) -> str:
    columns = [row[1] for row in database.sql("PRAGMA table_info(runs)")]
    return ", ".join(name for name in columns if name != "run_uuid")


def other_model(database: Database, name: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{database.file}")
    client.create_registered_model(name)
    client.create_model_version(name, "/nowhere", await_creation_for=None)
    database.registry.promote(request(1, 9, model=name))


def other_model_s_ledger(database: Database) -> None:
    """Let the experiment name the ledger of another model, whose tags say that it is ours."""
    other_model(database, "wine")
    [[run]] = database.sql(
        "SELECT t.value FROM experiment_tags t JOIN experiments e USING (experiment_id) "
        "WHERE e.name = 'ledger/wine' AND t.key = 'run'"
    )
    database.sql("UPDATE tags SET value = 'flights' WHERE run_uuid = ? AND key = 'mlops.model'", run)
    database.sql("UPDATE experiment_tags SET value = ? WHERE key = 'run' AND value = ?", run, database.run)


def gone(*keys: str) -> Attack:
    def remove(database: Database) -> None:
        for key in keys:
            database.remove(key)

    return remove


def renamed(database: Database) -> None:
    database.sql("UPDATE experiments SET name = 'Ledger/flights' WHERE name = 'ledger/flights'")


def deleted(database: Database) -> None:
    database.sql("UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?", database.run)


def removed(database: Database) -> None:
    run = database.run
    for table in ("params", "tags", "runs"):
        database.sql(f"DELETE FROM {table} WHERE run_uuid = ?", run)


REFUSED: dict[str, tuple[Attack, str]] = {
    "an entry rewritten in the middle": (rewrite(2, reason="nothing to see"), "entry 3 does not follow from entry 2"),
    "the first entry rewritten": (rewrite(1, version=7), "entry 2 does not follow from entry 1"),
    "white space added to an entry": (
        lambda database: database.put("seq-2", database.get("seq-2") + " "),
        "entry 3 does not follow from entry 2",
    ),
    "the head names another model": (rewrite(3, version=1, digest="digest-1"), "version 3, which the alias names, was"),
    "the head rewritten to a version that never was": (
        rewrite(3, version=7, digest="digest-7"),
        "version 3, which the alias names, was made champion by an entry that is gone",
    ),
    "entries swapped": (swap, "entry 1 does not follow from the ledger's beginning"),
    "an entry removed": (gone("seq-2"), "entry 2 is missing, and entry 3 comes after it"),
    "the first entry removed": (gone("seq-1"), "entry 1 is missing, and entry 2 comes after it"),
    "the head removed": (gone("seq-3"), "version 3, which the alias names, was made champion by an entry that is gone"),
    "every entry removed": (gone("seq-1", "seq-2", "seq-3"), "version 3, which the alias names, was made champion"),
    "the run deleted": (deleted, "was deleted. Restore it: mlflow runs restore"),
    "the run removed": (removed, "was removed"),
    "the experiment of another case": (renamed, "version 3, which the alias names, was made champion"),
    "another run as the ledger": (
        other_ledger,
        "which the tag 'run' of its experiment names, does not belong to this log",
    ),
    "another model's ledger": (other_model_s_ledger, "entry 1 does not follow from the ledger's beginning"),
    "an entry that follows nothing": (forge("seq-4", previous=None), "entry 4 does not say which entry it follows"),
    "an entry that follows another": (forge("seq-4", previous="b" * 64), "entry 4 does not follow from entry 3"),
    "the copy of an entry": (
        lambda database: database.put("seq-4", database.get("seq-2")),
        "entry 4 does not follow from entry 3",
    ),
    "an entry of a task that wrote one": (
        forge("seq-4", idem="task-1"),
        "entry 4 was written by a task that already has an entry",
    ),
    "an entry from before the last": (forge("seq-4", at="2013-01-01T00:00:00Z"), "written before entry 3"),
    "a version with another digest": (forge("seq-4", version=2), "entry 4 says that version 2 is a different model"),
    "a version that MLflow knows by another digest": (
        forge("seq-4", version=7, digest="digest-1"),
        "entry 4 says that version 7 is model digest-1…, and MLflow holds digest-7…",
    ),
    "a rollback to what never was": (forge("seq-4", action="rollback", version=7), "rolls back to version 7, which no"),
    "an unknown version in quarantine": (
        forge("seq-4", version=5, digest="digest-5", quarantined=9),
        "puts version 9 into quarantine, which no earlier entry names",
    ),
    "a quarantine lifted that is none": (forge("seq-4", lifted=2), "lifts the quarantine of version 2, which"),
    "an entry that comes before itself": (forge("seq-4", next_seq=2), "entry 4 says that entry 2 comes after it"),
    "an unknown action": (forge("seq-4", action="dance"), "entry 4 cannot be read"),
    "a version as text": (forge("seq-4", version="7"), "entry 4 cannot be read"),
    "a version that is true": (forge("seq-4", version=True), "entry 4 cannot be read"),
    "a version without end": (forge("seq-4", version=10**40), "entry 4 cannot be read"),
    "a moment without a zone": (forge("seq-4", at="2026-01-01T00:00:00"), "entry 4 cannot be read"),
    "a moment that no clock shows": (forge("seq-4", order_key="9999-12-31T23:59:59-12:00"), "entry 4 cannot be read"),
    "no JSON": (forge("seq-4", "{"), "entry 4 cannot be read"),
    "a list": (forge("seq-4", "[1]"), "entry 4 cannot be read"),
    "nothing": (forge("seq-4", ""), "entry 4 cannot be read"),
    "NaN": (forge("seq-4", '{"metrics": {"roc_auc": NaN}}'), "entry 4 cannot be read: NaN is not a JSON number"),
    "a number of 5,000 digits": (forge("seq-4", '{"version": ' + "9" * 5000 + "}"), "entry 4 cannot be read"),
    "JSON 2,900 deep": (forge("seq-4", '{"gates": ' + "[" * 2900 + "]" * 2900 + "}"), "entry 4 cannot be read"),
    "a value of a million characters": (forge("seq-4", reason="x" * 10**6), "the limit is 6000"),
}  # fmt: skip


@pytest.mark.parametrize("attack", REFUSED)
def test_a_forged_ledger_is_one_error_and_moves_no_alias(database: Database, attack: str) -> None:
    do, message = REFUSED[attack]
    before = database.alias()
    do(database)
    for act in (
        lambda: database.registry.reconcile("flights"),
        lambda: database.registry.promote(request(5, 5, compared_with=3)),
        lambda: database.registry.rollback("flights", to=1, reason="late", idem="back"),
        lambda: database.registry.quarantine("flights", 6, reason="bad", idem="bar"),
    ):
        with pytest.raises(RegistryError, match="the ledger of model 'flights' .* is damaged: ") as caught:
            act()
        assert re.search(message, str(caught.value)), str(caught.value)
        assert database.alias() == before


#: Keys that read like ours, or come after a place that is free; and a value that would make version 7 champion there.
STRAY = [
    "seq-02", "seq-２", "seq-0", "seq--1", "seq-1 ", " seq-2", "SEQ-1", "Seq-4", "seq-1.0", "seq-4.0", "seq-+4",
    "seq-٤", "seq-4\n", "seq-", "seq-four", "seq-1e1", "seq-0x4", "seq-9", "seq-999999999", "seq-" + "9" * 200,
    "ｓｅｑ-4", "seq-4 ",
]  # fmt: skip


@pytest.mark.parametrize("key", STRAY)
def test_a_key_that_does_not_count_is_ignored_and_told(database: Database, key: str) -> None:
    database.put(key, database.next(version=7, digest="digest-7", previous=None))

    registry = database.registry
    assert [entry.version for entry in registry.history("flights")] == [1, 2, 3]
    found = registry.reconcile("flights")
    assert (found.agrees, found.champion, database.alias()) == (True, 3, 3)
    [remark] = found.remarks
    assert remark.startswith("the ledger of 'flights': values that this package did not write are ignored: ")
    assert remark.endswith("Check who can write to the experiment 'mlops-ledger' in MLflow.")
    assert registry.states(["flights"])["flights"].remarks == [remark]
    assert registry.promote(request(5, 5, compared_with=3)).status == "promoted"
    assert [entry.version for entry in database.registry.history("flights")] == [1, 2, 3, 5]


@pytest.mark.parametrize("text", ["{}", "no json", "", "[" * 5000, '{"schema": 99}'])
def test_what_lies_where_entries_are_to_come_is_stepped_over(database: Database, text: str) -> None:
    for number in (5, 6, 8):
        database.put(f"seq-{number}", text)

    for number, version in enumerate((4, 5, 6, 7), start=4):
        promoted = database.registry.promote(request(version, number, compared_with=[3, 4, 7, 9][number - 4]))
        assert promoted.status == "promoted", promoted

    registry = database.registry
    assert [entry.seq for entry in registry.history("flights")] == [1, 2, 3, 4, 7, 9, 10]
    assert database.alias() == 7
    assert "'seq-5', 'seq-6', 'seq-8'" in registry.reconcile("flights").remarks[0]
    back = registry.rollback("flights", to="previous", reason="late", idem="back").entry
    assert back is not None
    assert (back.seq, back.version) == (11, 6)


@pytest.mark.parametrize(
    "attack",
    [
        lambda database: database.sql("INSERT INTO tags VALUES ('seq-4', 'x', ?)", database.run),
        lambda database: database.sql("INSERT INTO tags VALUES ('seq-2', ?, ?)", "{}", database.run),
        lambda database: other_model(database, "Flights"),
        lambda database: database.sql(
            "INSERT INTO experiments (name, artifact_location, lifecycle_stage) VALUES ('LEDGER/flights', '', 'active')"
        ),
    ],
    ids=["a tag like a key", "a tag over an entry", "a model of another case", "an experiment of another case"],
)
def test_what_lies_elsewhere_changes_nothing(database: Database, attack: Attack) -> None:
    before = database.registry.history("flights")
    attack(database)

    found = database.registry.reconcile("flights")
    assert database.registry.history("flights") == before
    assert (found.agrees, found.remarks) == (True, [])


def test_a_ledger_is_told_of_where_many_are_read_at_once(database: Database) -> None:
    database.change("seq-2", reason="other")

    state = database.registry.states(["flights"])["flights"]
    assert "entry 3 does not follow from entry 2" in str(state.trouble)
    assert state.history == []


@pytest.mark.parametrize(
    ("attack", "serves"),
    [
        (rewrite(2, reason="other"), True),
        (forge("seq-4", "{"), True),
        (gone("seq-1"), True),
        (rewrite(3, digest="digest-7", previous="b" * 64), False),
        (gone("seq-1", "seq-3"), False),
    ],
    ids=["a past rewritten", "no entry", "the first removed", "its own entry rewritten", "its own entry removed"],
)
def test_what_serves_goes_on_serving_while_its_own_entry_is_what_mlflow_knows(
    database: Database, attack: Attack, serves: bool
) -> None:
    attack(database)
    if serves:
        [entry] = database.registry.serving("flights")
        assert (entry.version, entry.digest) == (3, "digest-3")
        return
    with pytest.raises(RegistryError, match="is damaged"):
        database.registry.serving("flights")


def test_an_alias_moved_by_hand_is_set_right_by_the_entries_that_count(database: Database) -> None:
    database.put("seq-02", database.next(version=7))
    database.sql("UPDATE registered_model_aliases SET version = 6 WHERE alias = 'champion'")

    assert database.registry.reconcile("flights").repaired
    assert database.alias() == 3


def test_an_alias_set_by_hand_to_a_version_that_was_barred_is_set_right(database: Database) -> None:
    database.registry.quarantine("flights", 6, reason="bad", idem="bar")
    database.sql("UPDATE registered_model_aliases SET version = 6 WHERE alias = 'champion'")

    assert database.registry.reconcile("flights").repaired
    assert database.alias() == 3


def test_entries_from_before_the_chain_stay_readable_and_the_chain_begins_after_them(database: Database) -> None:
    for key in ("seq-1", "seq-2", "seq-3"):
        database.change(key, previous=None)
    registry = database.registry
    assert [entry.previous for entry in registry.history("flights")] == [None] * 3

    entry = registry.promote(request(5, 5, compared_with=3)).entry
    assert entry is not None
    assert entry.previous == digest_of(database.get("seq-3"))
    database.change("seq-3", reason="other")
    with pytest.raises(RegistryError, match="entry 4 does not follow from entry 3"):
        database.registry.history("flights")


def test_a_clock_that_was_set_back_writes_no_earlier_moment(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Yesterday(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2026, 1, 1, tzinfo=tz)

    head = database.registry.history("flights")[-1]
    monkeypatch.setattr("airflow_mlops_provider.registry.ledger.datetime", Yesterday)
    for act in (
        lambda: database.registry.promote(request(5, 5, compared_with=3)),
        lambda: database.registry.rollback("flights", to="previous", reason="late", idem="back"),
    ):
        entry = act().entry
        assert entry is not None
        assert entry.at == head.at


def test_an_entry_of_a_clock_that_ran_ahead_is_told(database: Database) -> None:
    database.put("seq-4", database.next(version=5, digest="digest-5", at="2126-01-01T00:00:00Z"))

    [remark] = database.registry.remarks("flights")
    assert remark.startswith("entry 4 says that it was written at 2126-01-01 00:00 UTC, which is in the future")


def test_an_entry_that_just_fits_still_fits_with_the_digest_of_the_one_before(database: Database) -> None:
    longest = next(
        length for length in range(6000, 0, -1) if _fits(request(5, 5, compared_with=3, reason="x" * length))
    )
    entry = database.registry.promote(request(5, 5, compared_with=3, reason="x" * longest)).entry

    assert entry is not None
    assert entry.previous is not None
    assert entry.sha256 == SHA
    assert len(database.get("seq-4")) <= 6000
    assert database.registry.history("flights")[-1] == entry


def _fits(wanted: PromotionRequest) -> bool:
    """Return whether an entry would fit without the digest of the one before."""
    fields = wanted.model_dump(exclude={"model", "allow_older", "lift_quarantine"})
    entry = LedgerEntry(**fields, seq=4, at=datetime(2026, 11, 29, 22, 1, 2, 345678, tzinfo=UTC))
    text = json.dumps(entry.model_dump(mode="json", exclude={"seq"}, exclude_none=True), separators=(",", ":"))
    return len(text) <= 6000
