"""Validate: guards, then Great Expectations, then one verdict with its evidence."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.privacy import PrivacyReport
from airflow_mlops_provider.data.tables import iter_tables, table_info, table_rows, write_table
from airflow_mlops_provider.exceptions import shorten
from airflow_mlops_provider.job import Outcome
from airflow_mlops_provider.reports import Cell, page, table
from airflow_mlops_provider.spec import Validation
from airflow_mlops_provider.validation.checks import Check, CheckResult, ValidationReport
from airflow_mlops_provider.validation.expectations import run_expectations
from airflow_mlops_provider.validation.guards import run_guards

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from airflow_mlops_provider.data.tables import TableInfo
    from airflow_mlops_provider.job import Job
    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.storage import ArtifactStore

log = logging.getLogger(__name__)

Section = Validation
#: Failing rows that the page shows; the artifact holds more.
_SHOWN_ROWS = 50
#: Raised when a check or the stored report is another than before, so that what was stored is made anew.
FORMAT = 1
LIBRARIES = ("great_expectations", "pandas", "pyarrow")


def run(section: Validation, job: Job) -> Outcome:
    """Check the dataset; a bad verdict is a failure of the outcome, never an exception.

    :raises SpecError: for an expectation that does not exist or cannot be computed.
    :raises DataError: for a column that the dataset does not have.
    """
    store, dataset = job.store, job.artifact("dataset", "dataset")
    info = table_info(store, dataset)
    findings = run_guards(store, dataset, info, section)
    if rows := table_rows(store, dataset):
        findings += run_expectations(store, dataset, section, info.columns.all, info.columns.timestamp)
    report = ValidationReport(rows=rows, checks=[finding.check for finding in findings])
    for check in [*report.failed, *report.warned]:
        log.warning("%s: got %s, expected %s (policy %s)", check.label, check.got, check.expected, check.policy)
    failing = _failing_rows(store, dataset, info, findings, section.keep_failing_rows)
    artifacts = {
        "validation": store.add_document(report),
        "report": store.add_bytes(_html(report, failing, job).encode(), ".html"),
    }
    if failing is not None:
        artifacts["failing_rows"] = write_table(store, [failing], failing.schema, info)
    return Outcome(
        artifacts=artifacts,
        facts={
            "checks": len(report.checks),
            "failed": len(report.failed),
            "warned": len(report.warned),
            "rows": report.rows,
        },
        failure=report.failure(),
    )


def _failing_rows(
    store: ArtifactStore, dataset: ArtifactRef, info: TableInfo, findings: Sequence[CheckResult], keep: int
) -> pa.Table | None:
    """Return up to `keep` failing rows: the check, its column, the row's number and values.

    Every failing check gets its share of the places, so that one bad column does not hide another.
    """
    import pyarrow as pa

    bad = [finding for finding in findings if not finding.check.passed and finding.rows]
    if not bad or not keep:
        return None
    each = max(1, keep // len(bad))
    picked = [(finding.check, row) for finding in bad for row in finding.rows[:each]][:keep]
    distinct = sorted({row for _, row in picked})
    place = {row: index for index, row in enumerate(distinct)}
    values = _take(store, dataset, distinct).take(pa.array([place[row] for _, row in picked], pa.int64()))
    origin = {
        "failed_check": pa.array([check.name for check, _ in picked], pa.string()),
        "failed_column": pa.array([check.column for check, _ in picked], pa.string()),
        "row": pa.array([row + 1 for _, row in picked], pa.int64()),
    }
    return pa.table({**origin, **{name: values[name] for name in info.columns.all if name not in origin}})


def _take(store: ArtifactStore, dataset: ArtifactRef, rows: Sequence[int]) -> pa.Table:
    """Return some rows, numbered from 0 and sorted, holding one row group at a time."""
    import pyarrow as pa

    parts, offset = [], 0
    for group in iter_tables(store, dataset):
        if local := [row - offset for row in rows if offset <= row < offset + len(group)]:
            parts.append(group.take(pa.array(local, pa.int64())))
        offset += len(group)
    return pa.concat_tables(parts).unify_dictionaries().combine_chunks()


def _html(report: ValidationReport, failing: pa.Table | None, job: Job) -> str:
    failed, total = report.failed, len(report.checks)
    verdict = (
        Cell(f"{len(failed)} of {total} checks failed: the data is not used.", "bad")
        if failed
        else Cell(f"The data may be used: {total - len(report.warned)} of {total} checks passed.", "good")
    )
    # Not as_of: the verdict on the same data is not computed anew on another day.
    digest = job.artifact("dataset", "dataset").sha256[:12]
    about = Cell(f"{report.rows} rows of dataset {digest}. Rows are counted in this stored snapshot, from 1.")
    groups = (
        ("Failed", failed, "bad"),
        ("Warnings", report.warned, "warn"),
        ("Passed", [check for check in report.checks if check.passed], "good"),
    )
    sections = [_checks_table(heading, checks, kind) for heading, checks, kind in groups if checks]
    if (privacy := _privacy_table(job)) is not None:
        sections.append(privacy)
    if failing is not None:
        sections.insert(-1 if len(sections) > 1 else 1, _rows_table(failing))
    return page(f"Validation of {job.request.pipeline}", [verdict, about], sections)


def _privacy_table(job: Job) -> str | None:
    """Return what became of columns that identify people; None when ingest was not set to look for them."""
    ref = job.results("dataset")[0].artifacts.get("privacy")
    if ref is None:
        return None
    report = job.store.read_document(ref, PrivacyReport)
    rows = [[Cell(each.column), Cell(each.words)] for each in report.columns]
    return table("Columns that are not stored as they are", ["Column", "Done"], rows or [[Cell("none"), Cell("")]])


def _checks_table(heading: str, checks: Sequence[Check], kind: str) -> str:
    rows = [
        [
            Cell(check.name, kind),
            Cell(check.column or ""),
            Cell(check.got),
            Cell(check.expected),
            Cell("" if check.share is None else f"{check.share:.4%}", "number"),
        ]
        for check in checks
    ]
    return table(heading, ["Check", "Column", "Got", "Expected", "Wrong"], rows)


def _rows_table(failing: pa.Table) -> str:
    shown: list[dict[str, Any]] = failing.slice(0, _SHOWN_ROWS).to_pylist()
    rows = [[Cell("" if value is None else shorten(str(value), 80)) for value in row.values()] for row in shown]
    return table(f"Failing rows, {len(rows)} of the {len(failing)} stored", failing.column_names, rows)
