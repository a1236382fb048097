"""The errors of this package: one class a kind of trouble, each holding its evidence.

No error shows a password, whatever a library put into its text: each passes through `redaction.hide`. Nothing here
knows Airflow; operators turn these into the right task state. Only
`TransientServiceError` is worth another try: everything else needs a person or other data.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_mlops_provider.redaction import hide

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_SHOWN = 400
#: So many wrong settings are listed, and of the others only their number.
MAX_PROBLEMS = 20
#: Characters that no database and no terminal takes, or that a terminal obeys.
_UNPRINTABLE = re.compile(r"[\0-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def shorten(value: object, limit: int = _MAX_SHOWN) -> str:
    """Return `value` as bounded text.

    >>> shorten("a" * 10, limit=6)
    'aaa...'
    """
    text = value if isinstance(value, str) else _shown(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _shown(value: object) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, thousands of nested lists
        return f"a value of type {type(value).__name__}"


def printable(text: str) -> str:
    r"""Return text that can be stored and shown: what cannot is written as Python writes it.

    >>> print(printable("churn\0\udcff.yaml"))
    churn\x00\udcff.yaml
    """
    return _UNPRINTABLE.sub(lambda match: ascii(match.group())[1:-1], text)


def _visible(value: object) -> object:
    """Return a value as it is, or as text without what may be secret in it."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = value if isinstance(value, str) else _shown(value)
    visible = hide(text)
    return value if visible == text else visible


class MLOpsError(Exception):
    """Something went wrong that a person can act on.

    :param what: one sentence that names the file, column, row or setting at fault.
    :param got: what was found there.
    :param expected: what should have been there.
    :param hint: what to do about it.

    >>> print(MLOpsError("column 'late' is missing", got=["a"], expected="late", hint="Add it."))
    column 'late' is missing: got ['a'], expected late. Add it.
    """

    def __init__(self, what: str, *, got: object = None, expected: object = None, hint: str | None = None) -> None:
        self.what = hide(what)
        self.got = _visible(got)
        self.expected = _visible(expected)
        self.hint = None if hint is None else hide(hint)
        super().__init__(self._render())

    def _render(self) -> str:
        parts = []
        if self.got is not None:
            parts.append(f"got {shorten(self.got)}")
        if self.expected is not None:
            parts.append(f"expected {shorten(self.expected)}")
        sentence = self.what + (": " + ", ".join(parts) if parts else "")
        return printable(f"{sentence.rstrip('.')}. {self.hint}" if self.hint else sentence)


def out_of_memory(what: str, error: MemoryError | None = None) -> MLOpsError:
    """Return the error of work that got no more memory; another try would get no more either."""
    return MLOpsError(
        what,
        got=str(error) or None,
        hint="Give the worker more memory (`runtime.mem_limit` in a container), run fewer tasks at once by a pool, or "
        "read fewer rows: data.window.",
    )


class SpecError(MLOpsError):
    """A setting in the pipeline file (or an operator's argument) is wrong.

    :param problems: one sentence for each wrong setting.
    :param more: how many there are besides.
    """

    def __init__(
        self,
        what: str,
        *,
        problems: Sequence[str] = (),
        more: int = 0,
        got: object = None,
        expected: object = None,
        hint: str | None = None,
    ) -> None:
        self.problems = tuple(problems)
        lines = [what, *(f"  - {shorten(problem)}" for problem in self.problems[:MAX_PROBLEMS])]
        if (more := more + max(0, len(self.problems) - MAX_PROBLEMS)) > 0:
            lines.append(f"  ... and {more} more")
        super().__init__("\n".join(lines), got=got, expected=expected, hint=hint)


class NotAllowedError(SpecError):
    """A pipeline names a class or function that the allow-list does not hold."""


class DataError(MLOpsError):
    """The data cannot be used as it is."""


class ArtifactError(MLOpsError):
    """A stored artifact is missing, damaged or may not be addressed."""


class NewerDocumentError(ArtifactError):
    """What a later release has stored cannot be read by this one."""


class StorageError(MLOpsError):
    """The artifact store answered, and the answer means that a person must act."""


class ModelError(MLOpsError):
    """A model cannot be trained, stored, trusted or applied."""


class ModelUnavailableError(ModelError):
    """A stored model is gone, damaged, not the one that the ledger names, or cannot be loaded."""


class RegistryError(MLOpsError):
    """MLflow answered, and the answer means that a person must act."""


class ResultTooLargeError(MLOpsError):
    """A step's result is too large, or not finite, for an XCom."""


class TransientServiceError(MLOpsError):
    """A service could not be reached or failed for now: the one error that is retried."""
