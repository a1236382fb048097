"""Tables that the card of a version shares with the page of challenger and champion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.exceptions import shorten
from airflow_mlops_provider.reports import Cell, shown_of, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.evaluation.report import Interval
    from airflow_mlops_provider.evaluation.verdicts import Verdict

#: Letters of a name: of a column or a class one may be longer than a page.
LONG = 80
#: Lines of a table; the table says how much it leaves out, and the artifact has it all.
SHOWN = 60
STORED = "the artifact evaluation"
_WORDS = 300
#: Letters of a name that stays on one line.
_SHORT = 30
_NAMED = 5


def gates_section(verdicts: Sequence[Verdict]) -> str:
    """Return every gate with what it got and what it expected, those that failed first."""
    ordered = sorted(verdicts, key=lambda verdict: verdict.passed)
    shown, note = shown_of(ordered, SHOWN, "gates", "the artifact verdicts of the task gate")
    rows = [
        [
            name_cell(verdict.name),
            Cell("pass" if verdict.passed else verdict.on_fail, _kind(verdict)),
            *(
                Cell(shorten(text, _WORDS), "text" * (len(text) > _SHORT))
                for text in (verdict.got, verdict.expected, verdict.why)
            ),
        ]
        for verdict in shown
    ]
    return table("Gates", ["Gate", "Verdict", "Got", "Expected", "Why"], rows, note or _none(verdicts))


def gates_line(verdicts: Sequence[Verdict]) -> Cell:
    """Return in one sentence what the gates say."""
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if not failed:
        return Cell(
            f"All {len(verdicts)} gates passed." if verdicts else "No gates were applied.",
            "good" * bool(verdicts),
        )
    names = ", ".join(shorten(verdict.name, LONG) for verdict in failed[:_NAMED])
    more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    kind = "bad" if any(verdict.on_fail == "fail" for verdict in failed) else "warn"
    return Cell(f"{len(failed)} of {len(verdicts)} gates did not pass: {names}{more}.", kind)


def name_cell(name: str) -> Cell:
    """Return a name, on one line when it is short."""
    return Cell(shorten(name, LONG), "whole" if len(name) <= _SHORT else "text")


def slice_name(column: str, value: str) -> str:
    """Return what a slice is called."""
    return f"{shorten(column, LONG)} = {shorten(value, LONG)}"


def number(value: float | None) -> Cell:
    """Return a figure, or a dash where there is none."""
    return Cell("–" if value is None else f"{value:.4g}", "number")


def interval(span: Interval | None) -> Cell:
    """Return an interval, or why there is none."""
    if span is None or span.low is None or span.high is None:
        return Cell("–" if span is None else span.why or "–")
    return Cell(f"{span.low:.4g} to {span.high:.4g}", "whole")


def _kind(verdict: Verdict) -> str:
    return "good" if verdict.passed else "bad" if verdict.on_fail == "fail" else "warn"


def _none(verdicts: Sequence[Verdict]) -> str:
    return "" if verdicts else "The task that published this version received no verdicts."
