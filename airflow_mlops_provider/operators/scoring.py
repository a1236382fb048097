"""From new rows to predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException

from airflow_mlops_provider.operators.model import ModelOperator
from airflow_mlops_provider.operators.step import Result, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_mlops_provider.job import Champion
    from airflow_mlops_provider.results import StepResult


class ScoreBatchOperator(ModelOperator):
    """Score a dataset with the champion, and publish the predictions as the partition of the run's `as_of`.

    The partition is one Parquet file, replaced as a whole: `predictions/<pipeline>/as_of=<as_of>/predictions.parquet`
    in the artifact store, with the rows' keys and timestamp, the predictions, `model_version` and `as_of`.
    Skipped, with the reason, while there is no champion. When the champion's file cannot be loaded, the former
    champion is asked, then a constant baseline: a warning in the log, the fact `fallback`, and in the event.
    Assets among the task's outlets get an event whose extra names the window, the version, the dataset and the
    predictions.

    .. code-block:: python

        new_rows = IngestDataOperator(
            task_id="new_rows",
            pipeline="churn",
            task="binary",
            purpose="scoring",
            window="P1D",
            data={
                "source": {"uri": "/data/customers.parquet"},
                "columns": {"target": "left", "timestamp": "seen_at", "keys": ["customer"], "numeric": ["age"]},
            },
        )
        score = ScoreBatchOperator(task_id="score", pipeline="churn", dataset=new_rows.output)

    :param dataset: what `IngestDataOperator` returned, with `purpose="scoring"`.
    :param version: score with this version of the model; nobody stands in for it.
    :param alias: score with the version that has this alias; nobody stands in for another than the champion.
    :param shadow: score with the challenger as well, stored apart, and compare the two.
    """

    template_fields: Sequence[str] = (*ModelOperator.template_fields, "dataset", "version", "alias")
    step = "score"

    def __init__(
        self,
        *,
        dataset: Result,
        version: int | str | None = None,
        alias: str = "champion",
        shadow: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.version = version
        self.alias = alias
        self.shadow = shadow

    def run(self, context: Context) -> StepResult:
        """Score, or skip while there is no champion."""
        from airflow_mlops_provider import effects

        dataset = parsed(self.dataset, "dataset")

        def ask(section: dict[str, Any], champion: Champion | None) -> StepResult:
            return self.compute(context, section, {"dataset": [dataset]}, champion=champion)

        scored = effects.score(
            self.registry(),
            self.store(),
            model=self.model_name,
            ask=ask,
            version=None if self.version is None else int(self.version),
            alias=self.alias,
            shadow=self.shadow,
        )
        if scored is None:
            raise AirflowSkipException(f"Model {self.model_name!r} has no champion yet: nothing is scored.")
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra = _event(dataset, scored)
        return scored


def _event(dataset: StepResult, scored: StepResult) -> dict[str, Any]:
    facts = scored.facts
    return {
        "as_of": scored.as_of.isoformat(),
        "window_start": dataset.facts.get("start"),
        "version": facts["version"],
        "rows": facts["rows"],
        "fallback": facts["fallback"],
        "dataset": dataset.artifacts["dataset"].model_dump(mode="json"),
        "predictions": scored.artifacts["predictions"].model_dump(mode="json"),
        "partition": facts["partition"],
    }
