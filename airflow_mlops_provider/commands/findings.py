"""What `check` and `doctor` find, and the exit code that follows."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

from airflow_mlops_provider.commands.terminal import UNREACHABLE, WRONG, print_rows
from airflow_mlops_provider.redaction import hide

if TYPE_CHECKING:
    from collections.abc import Iterator

Outcome = Literal["ok", "warning", "wrong", "unreachable"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    :param subject: a pipeline, a connection, a library.
    :param check: what of it was looked at.
    """

    subject: str
    check: str
    outcome: Outcome
    detail: str


@dataclass
class Findings:
    """What was found, in the order of looking."""

    found: list[Finding] = field(default_factory=list)

    def add(self, subject: str, check: str, outcome: Outcome, detail: str) -> None:
        """Note a finding."""
        self.found.append(Finding(subject, check, outcome, hide(detail)))

    @contextmanager
    def looking(self, subject: str, check: str) -> Iterator[list[str]]:
        """Note what comes of a check: the words that the body appends, or the error that it raises."""
        words: list[str] = []
        with self.quietly(subject, check):
            yield words
            self.add(subject, check, "ok", "; ".join(words))

    @contextmanager
    def quietly(self, subject: str, check: str) -> Iterator[None]:
        """Note the error that the body raises, and nothing where it raises none."""
        from airflow_mlops_provider.exceptions import MLOpsError, TransientServiceError

        try:
            yield
        except TransientServiceError as error:
            self.add(subject, check, "unreachable", str(error))
        except MLOpsError as error:
            self.add(subject, check, "wrong", str(error))

    def report(self, output: str) -> None:
        """Print all of it, and leave with the exit code that follows.

        :raises SystemExit: 1 when something is wrong; 3 when nothing is, but not everything could be reached.
        """
        print_rows([asdict(one) for one in self.found], output)
        outcomes = {one.outcome for one in self.found}
        if "wrong" in outcomes:
            raise SystemExit(WRONG)
        if "unreachable" in outcomes:
            raise SystemExit(UNREACHABLE)
