"""Numbers that have to be raised are raised: FORMAT with a step's defaults, SCHEMA with a document's shape."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.exceptions import ArtifactError, NewerDocumentError
from write_formats import Table, formats, not_raised, stored

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def now() -> Table:
    return formats()


def test_what_changed_was_raised(now: Table) -> None:
    assert not_raised(stored(), now) == []


def test_every_stored_document_is_in_the_table(now: Table) -> None:
    names = {name.rpartition(".")[2] for name in now["documents"]}
    assert names >= {
        "Approval", "CardFacts", "ComparableChampions", "Decision", "DecisionEntry", "DriftReport", "EstimateReport",
        "EvaluationReport", "LedgerEntry", "LiveReport", "ModelInfo", "Part", "PrivacyReport", "Receipt",
        "SearchReport", "SplitPlan", "StoredRequest", "TableInfo", "ValidationReport", "Verdicts", "_Note",
    }  # fmt: skip


EVALUATION = "airflow_mlops_provider.evaluation.report.EvaluationReport"
ENTRY = "airflow_mlops_provider.registry.ledger.LedgerEntry"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table["documents"][EVALUATION]["fields"].update(added="1"), "raise SCHEMA of .*added"),
        (lambda table: table["documents"][EVALUATION]["fields"].pop("winner"), "raise SCHEMA of .*winner"),
        (lambda table: table["documents"][EVALUATION]["fields"].update(rows="1"), "raise SCHEMA of .*rows"),
        (lambda table: table["documents"][ENTRY]["fields"].pop("version"), "raise SCHEMA of .*version"),
        (
            lambda table: table["steps"]["drift"]["defaults"].update({"Section.min_rows": 1}),
            "raise FORMAT of step drift: another default of Section.min_rows",
        ),
    ],
    ids=["a field more", "a field less", "another field", "a field less of the ledger", "another default"],
)
def test_what_was_not_raised_is_named(now: Table, change: Callable[[Any], Any], says: str) -> None:
    table = copy.deepcopy(now)
    change(table)
    [sentence] = not_raised(now, table)
    assert re.search(says, sentence)


def test_what_asks_for_no_number_is_free(now: Table) -> None:
    table = copy.deepcopy(now)
    table["documents"][ENTRY]["fields"]["added"] = "1"  # whoever does not know it passes over it
    table["steps"]["drift"]["defaults"]["Drift.added"] = 1
    table["steps"]["gate"]["format"] += 1
    assert not_raised(now, table) == []


class Note(Document):
    SCHEMA: ClassVar[int] = 3

    text: str

    @classmethod
    def upgraded(cls, raw: Any, schema: int) -> Any:
        if schema == 1:
            raw = {"words": raw}
        return {"text": raw["words"]}


@pytest.mark.parametrize(
    "raw",
    [
        '"a"',
        {"schema": 2, "words": "a"},
        b'{"schema": 2, "release": "0.2.0", "words": "a"}',
        {"schema": 3, "text": "a"},
    ],
    ids=str,
)
def test_what_earlier_releases_have_stored_is_read(raw: Any) -> None:
    assert Note.read(raw).text == "a"


def test_a_value_is_stored_with_its_schema_and_read_again() -> None:
    note = Note(text="a")
    assert note.stored() == {"schema": 3, "text": "a"}
    assert Note.read(note.stored(release=True)) == note


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "{",
        b"\xff",
        "[" * 100_000,
        "1",
        "null",
        '{"schema": "3"}',
        '{"schema": true}',
        '{"schema": 0}',
        "{}",
        {"schema": 2},
    ],
    ids=lambda raw: str(raw)[:20],
)
def test_what_is_no_document_is_named(raw: Any) -> None:
    with pytest.raises(ArtifactError, match=r"note 7 cannot be read.*expected a Note of schema 3 or earlier"):
        Note.read(raw, "note 7")


def test_what_a_later_release_has_stored_is_named_with_it() -> None:
    with pytest.raises(NewerDocumentError, match=r"by a later release .*, 0\.9\.0, .*got schema 4, expected schema 3"):
        Note.read({"schema": 4, "release": "0.9.0", "else": 1})
