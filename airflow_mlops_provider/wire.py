"""What goes into a container and what comes out of it: one line of JSON each.

The order comes by standard input, which no `inspect`, argument list, environment or log shows: it holds the store's
credentials and secret. The answer goes to standard output, alone; all that is logged goes to standard error.
"""

from __future__ import annotations

import json

from pydantic import Field

from airflow_mlops_provider import __version__, exceptions
from airflow_mlops_provider.exceptions import MLOpsError, SpecError, TransientServiceError, shorten
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.results import StepResult
from airflow_mlops_provider.spec import Frozen


class Order(Frozen):
    """One step to run in a container.

    :param image: digest of the image, which identifies its libraries in the step's key.
    :param store: URI of the artifact store.
    :param options: how to reach the store: secret.
    :param secret: what receipts are signed with.
    """

    request: StepRequest
    image: str
    store: str
    options: dict[str, str] = Field(default_factory=dict, repr=False)
    secret: str | None = Field(None, repr=False)
    package: str = __version__


class Trouble(Frozen):
    """An error as data: out here it is raised as what it was in there."""

    kind: str
    what: str
    got: str | None = None
    expected: str | None = None
    hint: str | None = None

    @classmethod
    def of(cls, error: Exception, step: str) -> Trouble:
        """Return an error as data. What is none of ours is named; what may pass stays what may pass."""
        if isinstance(error, MLOpsError):
            known = next(kind for kind in type(error).__mro__ if hasattr(exceptions, kind.__name__))
            texts = {
                name: None if (value := getattr(error, name)) is None else shorten(value)
                for name in ("got", "expected", "hint")
            }
            return cls(kind=known.__name__, what=error.what, **texts)
        passing = isinstance(error, ConnectionError | TimeoutError)
        kind = TransientServiceError if passing else MLOpsError
        return cls(kind=kind.__name__, what=f"step {step!r} failed", got=shorten(f"{type(error).__name__}: {error}"))

    def as_error(self) -> MLOpsError:
        """Return the error to raise."""
        kind = getattr(exceptions, self.kind, MLOpsError)
        error: MLOpsError = kind(self.what, got=self.got, expected=self.expected, hint=self.hint)
        return error


class StepAnswer(Frozen):
    """What a container says in the end: a result, or why there is none."""

    result: StepResult | None = None
    trouble: Trouble | None = None

    def settled(self) -> StepResult:
        """Return the result.

        :raises MLOpsError: of the class that was raised inside.
        """
        if self.result is None:
            raise (self.trouble or Trouble(kind="MLOpsError", what="the container returned nothing")).as_error()
        return self.result


def order_in(line: str, step: str) -> Order:
    """Return the order in a line.

    :raises TransientServiceError: when nothing came: who started this was killed before it could write.
    :raises SpecError: when it was written by another version of this package, or asks for another step.
    """
    if not line.endswith("\n"):
        raise TransientServiceError(f"the container of step {step!r} received no request", got=f"{len(line)} bytes")
    raw = json.loads(line)
    if raw.get("package") != __version__:
        raise SpecError(
            "the image and the worker have different versions of airflow-mlops-provider",
            got=__version__,
            expected=raw.get("package"),
            hint="Rebuild the image with the version that is installed in Airflow.",
        )
    order = Order.model_validate(raw)
    if order.request.step != step:
        raise SpecError("the request is for another step", got=order.request.step, expected=step)
    return order
