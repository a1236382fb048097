from __future__ import annotations

from airflow_mlops_provider.monitoring.drift_report import DriftReport

FIRST = {
    "version": 3,
    "rows": 100,
    "sampled": 100,
    "reference_rows": 100,
    "judged": True,
    "drifted": True,
    "why": "Drift: 1 of 2 features drifted.",
    "least_share": 0.5,
    "weights": "equal",
    "columns": [
        {"column": "x", "role": "feature", "kind": "numeric", "threshold": 0.1, "noise": 0.2, "drifted": True},
        {"column": "y", "role": "feature", "kind": "numeric", "threshold": 0.1, "noise": None, "drifted": False},
    ],
}


def test_a_report_of_the_first_schema_is_read() -> None:
    report = DriftReport.read(FIRST)
    assert [(column.bound, column.bound_by) for column in report.columns] == [(0.2, "chance"), (None, None)]
    assert (report.usual_by, report.stretches) == (None, 0)
