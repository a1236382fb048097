"""From a source to a dataset that may be trained on: ingest, validate, prepare."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.operators.model import PolicyOperator
from airflow_mlops_provider.operators.step import Result, StepOperator, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow.sdk import Context

    from airflow_mlops_provider.results import StepResult


class IngestDataOperator(PolicyOperator):
    """Read the rows that were known at `as_of` into one typed Parquet snapshot.

    With `monitoring`, the rows of windows that monitoring decided to be incidents are left out, both for a training and
    for measuring a model that serves.
    The event of each asset among the task's outlets holds `as_of`, the digest and the number of rows in its extra.

    .. code-block:: python

        ingest = IngestDataOperator(
            task_id="ingest",
            pipeline="churn",
            task="binary",
            data={
                "source": {"uri": "/data/customers.parquet"},
                "columns": {"target": "left", "numeric": ["age", "balance"], "categorical": ["plan"]},
            },
        )

    :param task: `binary`, `multiclass` or `regression`.
    :param data: the `data` section of a pipeline file.
    :param purpose: `training` reads labelled rows up to `as_of` minus `label_delay`. `scoring` reads rows up to
        `as_of`, which need no target. `live` reads labelled rows too, to measure a model that serves.
    :param window: length of time whose rows are read, as an ISO duration such as `P1D`. For training, it defaults to
        `data.window`.
    :param monitoring: the `monitoring` section of a pipeline file, of which only `incident` is used. Without it, the
        operator does not contact MLflow.
    """

    template_fields: Sequence[str] = (*PolicyOperator.template_fields, "data", "window")
    step = "ingest"

    def __init__(
        self,
        *,
        task: str,
        data: dict[str, Any],
        purpose: str = "training",
        window: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.task = task
        self.data = data
        self.purpose = purpose
        self.window = window

    def run(self, context: Context) -> StepResult:
        """Read the source."""
        from airflow_mlops_provider.run_context import resolve_as_of

        section: dict[str, Any] = {"task": self.task, "data": self.data, "purpose": self.purpose}
        if self.window is not None:
            section["start"] = self._start(resolve_as_of(context, self.as_of)).isoformat()
        if self.monitoring is not None and self.purpose != "scoring":
            section["without"] = self._broken(resolve_as_of(context, self.as_of))
        result = self.compute(context, section, {})
        dataset = result.artifacts["dataset"]
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra = {
                    "as_of": result.as_of.isoformat(),
                    "digest": dataset.sha256,
                    "rows": result.facts.get("rows"),
                }
        return result

    def _broken(self, as_of: datetime) -> list[list[str]]:
        """Return the stretches of time of incidents, from and until."""
        from airflow_mlops_provider.effects.decisions import decisions
        from airflow_mlops_provider.monitoring.incidents import broken_windows, left_out, within

        window = self.data.get("window")
        since = None if window is None else as_of - duration(window, "data.window")
        if self.window is not None:
            since = self._start(as_of)
        settings, decided = self.policy().incident, decisions(self.registry(), self.model_name)
        if self.purpose == "training":
            found = left_out(settings, decided, since, as_of)
        else:
            found = within(broken_windows(settings, decided), since, as_of)  # no model can be judged on them
        for start, end in found:
            self.log.info("The rows from %s to %s are left out: their data was broken.", start, end)
        return [[start.isoformat(), end.isoformat()] for start, end in found]

    def _start(self, as_of: datetime) -> datetime:
        """Return where the window begins: it ends at as_of, or before the rows that have no label yet."""
        delay = timedelta(0) if self.purpose == "scoring" else duration(self.data.get("label_delay", 0), "label_delay")
        return as_of - delay - duration(self.window, "window")


def duration(value: Any, name: str) -> timedelta:
    """Return a duration as a pipeline file may hold it: a hundred years at most.

    :raises SpecError: when it is none.
    """
    from pydantic import TypeAdapter, ValidationError

    from airflow_mlops_provider.spec.frozen import Span

    try:
        return TypeAdapter(Span).validate_python(value)
    except ValidationError as error:
        raise SpecError(f"{name} is not a duration", got=value, expected="such as P1D or 7 days") from error


class ValidateDataOperator(StepOperator):
    """Check a dataset with Great Expectations, and store a limited number of failing rows as an artifact.

    .. code-block:: python

        validate = ValidateDataOperator(
            task_id="validate",
            pipeline="churn",
            dataset=ingest.output,
            validation={
                "expectations": [
                    {
                        "type": "expect_column_values_to_be_between",
                        "kwargs": {"column": "age", "min_value": 0, "max_value": 120},
                    }
                ]
            },
        )

    :param dataset: the output of `IngestDataOperator`.
    :param validation: the `validation` section of a pipeline file.
    """

    template_fields: Sequence[str] = (*StepOperator.template_fields, "dataset", "validation")
    step = "validate"

    def __init__(self, *, dataset: Result, validation: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.validation = validation

    def run(self, context: Context) -> StepResult:
        """Check the dataset."""
        return self.compute(context, self.validation, {"dataset": [parsed(self.dataset, "dataset")]})


class PrepareDataOperator(StepOperator):
    """Decide which features to use and which rows to hold out. The task fits nothing and changes no row.

    .. code-block:: python

        prepare = PrepareDataOperator(
            task_id="prepare",
            pipeline="churn",
            dataset=ingest.output,
            preparation={"missing": {"max_share": 0.3}, "split": {"by": "random", "holdout": 0.2}},
        )

    :param dataset: the output of `IngestDataOperator`.
    :param preparation: the `preparation` section of a pipeline file.
    """

    template_fields: Sequence[str] = (*StepOperator.template_fields, "dataset", "preparation")
    step = "prepare"

    def __init__(self, *, dataset: Result, preparation: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.preparation = preparation

    def run(self, context: Context) -> StepResult:
        """Measure and split."""
        return self.compute(context, self.preparation, {"dataset": [parsed(self.dataset, "dataset")]})
