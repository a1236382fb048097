"""From a source to a dataset that may be trained on: ingest, validate, prepare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

from airflow_mlops_provider.operators.step import Result, StepOperator, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_mlops_provider.results import StepResult


class IngestDataOperator(StepOperator):
    """Read the rows that were known at `as_of` into one typed Parquet snapshot.

    Assets among the task's outlets get an event whose extra holds `as_of`, the digest and the number of rows.

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
    """

    template_fields: Sequence[str] = (*StepOperator.template_fields, "data")
    step = "ingest"

    def __init__(self, *, task: str, data: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.task = task
        self.data = data

    def run(self, context: Context) -> StepResult:
        """Read the source."""
        result = self.compute(context, {"task": self.task, "data": self.data}, {})
        dataset = result.artifacts["dataset"]
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra = {
                    "as_of": result.as_of.isoformat(),
                    "digest": dataset.sha256,
                    "rows": result.facts.get("rows"),
                }
        return result


class ValidateDataOperator(StepOperator):
    """Check a dataset with Great Expectations; what fails is kept, bounded, as an artifact.

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

    :param dataset: what `IngestDataOperator` returned.
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
    """Decide which features stay and which rows are held out. Nothing is fitted and no row is rewritten.

    .. code-block:: python

        prepare = PrepareDataOperator(
            task_id="prepare",
            pipeline="churn",
            dataset=ingest.output,
            preparation={"missing": {"max_share": 0.3}, "split": {"by": "random", "holdout": 0.2}},
        )

    :param dataset: what `IngestDataOperator` returned.
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
