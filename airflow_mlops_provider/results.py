"""What a step takes and gives back: small, finite, JSON."""

from __future__ import annotations

import hmac
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, JsonValue

from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.exceptions import MLOpsError, ResultTooLargeError, shorten
from airflow_mlops_provider.spec import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What one task may put into XCom, in bytes of JSON.
MAX_XCOM_BYTES = 4096
#: The XCom under which a task leaves why it failed or skipped itself: Airflow keeps that in the log alone.
MESSAGE = "message"

Item = TypeVar("Item")


class ArtifactRef(Frozen):
    """Where an artifact lies, and what it must be when it is read."""

    uri: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class Failure(Frozen):
    """Why a verdict is bad: the evidence of an `MLOpsError`, as data."""

    what: str
    got: str | None = None
    expected: str | None = None
    hint: str | None = None

    def as_error(self) -> MLOpsError:
        """Return the error to raise."""
        return MLOpsError(self.what, got=self.got, expected=self.expected, hint=self.hint)


class StepResult(Document):
    """What a step made. Stored as `receipt.json`, written last: the commit point of the step.

    :param key: digest of everything that the result depends on; equal keys mean an equal result.
    :param artifacts: what was stored, by role.
    :param facts: a few numbers and names, a kilobyte or two; what is long is an artifact.
    :param failure: set when the step ran well and its verdict is bad.
    :param cached: True when a committed receipt was returned and nothing was computed.
    """

    step: str
    pipeline: str
    key: str = Field(pattern=r"^[0-9a-f]{64}$")
    as_of: datetime
    artifacts: dict[str, ArtifactRef] = Field(default_factory=dict)
    facts: dict[str, JsonValue] = Field(default_factory=dict)
    failure: Failure | None = None
    cached: bool = False

    def xcom(self) -> dict[str, Any]:
        """Return the result as XCom takes it.

        :raises ResultTooLargeError: over 4 KB, or a number that is not finite.
        """
        value = self.model_dump(mode="json", exclude_defaults=True)
        check_xcom(value, f"result of step {self.step!r} of {self.pipeline!r}")
        return value


class Receipt(StepResult):
    """A result as it is stored.

    :param request: sha256 of the `request.json` beside it; None of an earlier release.
    :param signature: what only one who knows the store's secret can write; None where it has none.
    """

    SCHEMA = 2

    request: str | None = None
    signature: str | None = None

    @classmethod
    def of(cls, result: StepResult, request: str | None, secret: str | None) -> Receipt:
        """Return the receipt of a result, signed where there is a secret."""
        values = {name: getattr(result, name) for name in StepResult.model_fields}
        receipt = cls(**values, request=request)
        return receipt if secret is None else receipt.model_copy(update={"signature": receipt.signed_with(secret)})

    def signed_with(self, secret: str) -> str:
        """Return the signature that it has to have."""
        fields = self.model_dump(mode="json", exclude={"signature", "cached"})
        return hmac.new(secret.encode(), json.dumps(fields, sort_keys=True).encode(), "sha256").hexdigest()

    def is_signed_with(self, secret: str) -> bool:
        """Return whether it was written by one who knows the secret, and is as it was written."""
        return hmac.compare_digest(self.signature or "", self.signed_with(secret))

    def result(self) -> StepResult:
        """Return the result."""
        return StepResult(**{name: getattr(self, name) for name in StepResult.model_fields})


def text_within(value: object, size: int) -> str:
    """Return `value` as text that takes at most `size` bytes of JSON, where a letter beyond ASCII takes six.

    >>> text_within("a" * 10, 6), text_within("ж" * 10, 30)
    ('aaa...', 'жж...')
    """
    text = shorten(value, size)
    while (taken := _bytes(text)) > size and len(text) > len("..."):
        text = shorten(text.removesuffix("..."), max(len("..."), len(text) * size // taken))
    return text


def first_within(items: Iterable[Item], size: int) -> list[Item]:
    """Return the first items that take at most `size` bytes of JSON together.

    >>> first_within(["a", "b", "c"], 10)
    ['a', 'b']
    """
    shown: list[Item] = []
    for item in items:
        size -= _bytes(item) + len('"", ')
        if size < 0:
            break
        shown.append(item)
    return shown


def _bytes(value: object) -> int:
    """Return how much JSON a value takes, without the quotes or brackets around it."""
    return len(json.dumps(value)) - 2


def check_xcom(value: Any, what: str) -> None:
    """Refuse what Airflow would store badly: over 4 KB of JSON, or NaN, which fails the task too late."""
    try:
        size = len(json.dumps(value, allow_nan=False).encode())
    except ValueError as error:
        raise ResultTooLargeError(f"{what} holds a number that is not finite", got=str(error)) from error
    if size > MAX_XCOM_BYTES:
        raise ResultTooLargeError(
            f"{what} is too large for XCom",
            got=f"{size} bytes",
            expected=f"at most {MAX_XCOM_BYTES}",
            hint="Store large values as an artifact.",
        )
