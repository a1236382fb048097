"""One check of the data and its verdict, as the guards and Great Expectations give it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.results import Failure, text_within
from airflow_mlops_provider.spec.frozen import Frozen, Share

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: What of a failed check goes into XCom, in bytes of JSON; the report holds it whole.
_SHOWN_BYTES = 400


class Check(Frozen):
    """A verdict in words and numbers.

    :param unexpected: how many values are wrong, of those that were looked at; None for a check of the whole table.
    :param share: the same as a share.
    """

    name: str
    column: str | None = None
    policy: Literal["fail", "warn"]
    passed: bool
    expected: str
    got: str
    unexpected: int | None = Field(None, ge=0)
    share: Share | None = None

    @property
    def label(self) -> str:
        """The name, with the column when there is one."""
        return self.name if self.column is None else f"{self.name} of column {self.column!r}"


class ValidationReport(Document):
    """Every check of one validation, stored as the artifact `validation`."""

    rows: int
    checks: list[Check]

    @property
    def failed(self) -> list[Check]:
        """Checks that fail the step, the worst first: those of the whole table, then by share of wrong values."""
        return _worst_first(check for check in self.checks if not check.passed and check.policy == "fail")

    @property
    def warned(self) -> list[Check]:
        """Checks that did not pass and only warn, the worst first."""
        return _worst_first(check for check in self.checks if not check.passed and check.policy == "warn")

    def failure(self) -> Failure | None:
        """Return why the data may not be used; None when it may."""
        if not (failed := self.failed):
            return None
        others = text_within(", ".join(check.label for check in failed[1:6]), _SHOWN_BYTES)
        return Failure(
            what=f"{len(failed)} of {len(self.checks)} checks of {self.rows} rows failed, the worst: "
            + text_within(failed[0].label, _SHOWN_BYTES),
            got=text_within(failed[0].got, _SHOWN_BYTES),
            expected=text_within(failed[0].expected, _SHOWN_BYTES),
            hint=(f"Also failed: {others}. " if others else "") + "The validation report shows every check.",
        )


@dataclass(frozen=True)
class CheckResult:
    """A check, and the numbers of the rows that it found wrong: bounded, counted from 0 in the snapshot."""

    check: Check
    rows: Sequence[int] = field(default_factory=tuple)


def _worst_first(checks: Iterable[Check]) -> list[Check]:
    return sorted(checks, key=lambda check: -(1.0 if check.share is None else check.share))
