"""What a gate says, as a value and in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pydantic import Field

from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.evaluation.probe_report import Latency
from airflow_mlops_provider.spec.frozen import Finite, Frozen
from airflow_mlops_provider.spec.gates import OnFail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_mlops_provider.evaluation.report import Scores
    from airflow_mlops_provider.spec.gates import Gate, JudgedBy

#: Two predictions of one model may differ in the last digits, by the order in which threads add up its trees: no gain.
ROUNDING = 1e-9


class Verdict(Frozen):
    """The verdict of one gate.

    :param got: what was measured, in words.
    :param expected: what the gate requires, in words.
    :param why: the reason, where the numbers alone do not say it.
    :param metric: what was held against the bound, where it is a metric.
    :param margin: how far that lies on the good side of the bound, in its own unit, and below zero beyond it; None
        where there is no such number, or several of different units.
    :param spent: chance of a false replacement that this look took; None where it was no look at one.
    """

    name: str
    kind: str
    passed: bool
    on_fail: OnFail = "fail"
    got: str
    expected: str
    why: str = Field("", description="Empty when got and expected say it all.")
    metric: str | None = None
    margin: Finite | None = None
    spent: Finite | None = None


class Verdicts(Document):
    """The gates' verdicts on one evaluation, as they are stored."""

    SCHEMA = 4

    verdicts: list[Verdict]
    latency: Latency | None = Field(None, description="Measured for a gate; null where no gate needs it.")

    @classmethod
    def upgraded(cls, raw: Any, schema: int) -> Any:
        """Return what was stored as a bare list."""
        return {"verdicts": raw} if schema == 1 else raw


def gates_table(verdicts: Sequence[Verdict | Mapping[str, Any]]) -> str:
    """Return verdicts, or what was stored of them, as an aligned table of plain text, for a log.

    >>> print(gates_table([Verdict(name="size", kind="model_size", passed=True, got="3.0 MB", expected="<= 50 MB")]))
    gate  verdict  got     expected  why
    size  pass     3.0 MB  <= 50 MB
    """
    lines: list[tuple[str, ...]] = [("gate", "verdict", "got", "expected", "why")]
    for verdict in map(Verdict.model_validate, verdicts):
        outcome = "pass" if verdict.passed else verdict.on_fail.upper()
        lines.append((verdict.name, outcome, verdict.got, verdict.expected, verdict.why))
    # A column name may hold a line break, which would tear the table.
    lines = [tuple(" ".join(cell.split()) for cell in line) for line in lines]
    widths = [max(len(line[index]) for line in lines) for index in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[4]]).rstrip()
        for line in lines
    )


def number(value: float | None) -> str:
    """Return a number as people read it.

    >>> number(0.412345678), number(None)
    ('0.4123', 'undefined')
    """
    return "undefined" if value is None or not math.isfinite(value) else f"{value:.4g}"


# ---------------------------------------------------------------- for the gates


def verdict_of(
    gate: Gate,
    *,
    passed: bool,
    got: str,
    expected: str,
    why: str = "",
    metric: str | None = None,
    margin: float | None = None,
    spent: float | None = None,
) -> Verdict:
    """Return the verdict of a gate."""
    return Verdict(
        name=gate.label,
        kind=gate.kind,
        passed=passed,
        on_fail=gate.on_fail,
        got=got,
        expected=expected,
        why=why,
        metric=metric,
        margin=finite(margin),
        spent=spent,
    )


def finite(value: float | None) -> float | None:
    """Return a finite number, None for any other."""
    return value if value is not None and math.isfinite(value) else None


def within(value: float | None, low: float | None, high: float | None) -> bool:
    """Return whether a number lies within bounds; what is no number never does."""
    if finite(value) is None or value is None:
        return False
    return (low is None or value >= low) and (high is None or value <= high)


def room(value: float | None, low: float | None = None, high: float | None = None) -> float | None:
    """Return how far a number lies within its bounds: to the nearer one, and below zero when it is beyond.

    >>> room(0.75, low=0.5), room(0.75, low=0.5, high=0.625), room(None, low=0.5)
    (0.25, -0.125, None)
    """
    if value is None or (low is None and high is None):
        return None
    return min(sign * (value - bound) for sign, bound in ((1, low), (-1, high)) if bound is not None)


def bounds(low: float | None, high: float | None) -> str:
    """Return bounds in words."""
    return " and ".join(f"{sign} {number(bound)}" for sign, bound in ((">=", low), ("<=", high)) if bound is not None)


def end(judged_by: JudgedBy) -> str:
    """Return in words which end of an interval is held against a bound; nothing of the value itself."""
    return "" if judged_by == "point" else f" at the {judged_by} end of its interval"


def reason_of(scores: Scores, metric: str) -> str:
    """Return why a metric is undefined."""
    return scores.undefined.get(metric, f"{metric} was not measured")
