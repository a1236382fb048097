"""`airflow mlops diff`: two versions of a model side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.commands.terminal import (
    command,
    find_pipeline,
    moment,
    number,
    print_table,
    print_value,
    registry_of,
    version_number,
)

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow_mlops_provider.overview import Measure, VersionComparison, VersionSheet


@command
def diff(args: Namespace) -> None:
    """Show what differs: data, parameters, metrics with their intervals, gates, slices."""
    from airflow_mlops_provider.hooks.object_storage import ObjectStorageHook
    from airflow_mlops_provider.overview import compare

    first, second = version_number(args.first, "V1"), version_number(args.second, "V2")
    pipeline = find_pipeline(args.pipeline)
    found = compare(registry_of(pipeline), ObjectStorageHook().store(), pipeline, first, second)
    if args.output in ("json", "yaml"):
        print_value(found.model_dump(mode="json"), args.output)
    else:
        print_table(_rows(found), args.output)
        for sheet in (found.first, found.second):
            if sheet.trouble:
                print(f"Note: {sheet.trouble}.")
        if not found.same_dataset:
            print("Note: the metrics are of different data, so they alone do not show which version is better.")


def _rows(found: VersionComparison) -> list[dict[str, Any]]:
    """Return one row for each thing: what is equal and long is left out."""
    one, other = found.first, found.second
    lines: list[tuple[str, Any, Any, str]] = [
        ("status", one.status, other.status, ""),
        ("trained as of", moment(one.as_of), moment(other.as_of), ""),
        ("candidate", one.candidate, other.candidate, ""),
        ("model", _short(one.digest), _short(other.digest), "same" if found.same_model else ""),
        ("dataset", _short(one.dataset), _short(other.dataset), "same" if found.same_dataset else ""),
        ("rows", _rows_of(one), _rows_of(other), ""),
    ]
    lines += [(f"param {name}", *values, "") for name, values in found.params.items()]
    for metric in found.metrics:
        gain = "" if metric.gain is None else f"{metric.gain:+.4g} for version {other.version}"
        lines.append((metric.metric, _measure(metric.first), _measure(metric.second), gain))
    gates = {gate.name: gate for sheet in (one, other) for gate in sheet.gates}
    for name in gates:
        lines.append((f"gate {name}", _gate(one, name), _gate(other, name), ""))
    for item in found.slices:
        lines.append((f"slice {item.column}={item.value}", number(item.first), number(item.second), ""))
    return [
        {"": what, f"version {one.version}": first, f"version {other.version} ": second, "difference": note}
        for what, first, second, note in lines
    ]


def _short(digest: str | None) -> str | None:
    return None if digest is None else digest[:12]


def _rows_of(sheet: VersionSheet) -> str | None:
    if sheet.evaluation is None:
        return None
    rows = sheet.evaluation.rows
    return f"{rows.total} ({rows.holdout} held out)"


def _measure(measure: Measure | None) -> str | None:
    if measure is None:
        return None
    if measure.low is None or measure.high is None:
        return number(measure.value)
    return f"{number(measure.value)} [{number(measure.low)}, {number(measure.high)}]"


def _gate(sheet: VersionSheet, name: str) -> str | None:
    for gate in sheet.gates:
        if gate.name == name:
            return f"{'pass' if gate.passed else 'FAIL'}: {gate.got}, expected {gate.expected}"
    return None
