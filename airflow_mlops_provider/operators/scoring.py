"""From new rows to predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException

from airflow_mlops_provider.exceptions import ModelUnavailableError
from airflow_mlops_provider.operators.model import ModelOperator
from airflow_mlops_provider.operators.sinks import parsed_sinks, write_sinks
from airflow_mlops_provider.operators.step import Result, allow_list, flag, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_mlops_provider.job import Champion
    from airflow_mlops_provider.results import StepResult


class ScoreBatchOperator(ModelOperator):
    """Score a dataset with the champion, and publish the predictions as the partition of the run's `as_of`.

    The partition is one Parquet file, replaced as a whole: `predictions/<pipeline>/as_of=<as_of>/predictions.parquet`
    in the artifact store. It holds the rows' keys and timestamp, the predictions, `model_version` and `as_of`.
    While there is no champion, the task is skipped with the reason. If the champion's file cannot be loaded, a former
    champion scores instead, or else a constant baseline. The task then logs a warning, and its result and event
    name the `fallback`.
    The event of each asset among the task's outlets names the window, the version, the dataset and the predictions in
    its extra.

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

    :param dataset: the output of `IngestDataOperator` with `purpose="scoring"`.
    :param version: version of the model to score with. It has no fallback.
    :param alias: alias of the version to score with. Only the champion has a fallback.
    :param shadow: whether to score with the challenger too. Its predictions are stored separately and compared with the
        champion's.
    :param parts: the output of a mapped `ScoreShardOperator`. Missing parts are computed here.
    :param sinks: where the predictions go besides the store, as in `scoring.sinks` of a pipeline file.
    """

    template_fields: Sequence[str] = (*ModelOperator.template_fields, "dataset", "version", "alias", "parts", "sinks")
    step = "score"

    def __init__(
        self,
        *,
        dataset: Result,
        version: int | str | None = None,
        alias: str = "champion",
        shadow: bool = False,
        parts: Result | None = None,
        sinks: Sequence[dict[str, Any]] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.version = version
        self.alias = alias
        self.shadow = shadow
        self.parts = parts
        self.sinks = sinks

    def run(self, context: Context) -> StepResult:
        """Score, or skip while there is no champion."""
        from airflow_mlops_provider import effects

        dataset, sinks = parsed(self.dataset, "dataset"), parsed_sinks(self.sinks)

        def compute(
            section: dict[str, Any],
            champion: Champion | None,
            *,
            parts: Sequence[StepResult] = (),
            recompute: bool,
        ) -> StepResult:
            inputs = {"dataset": [dataset], **({"parts": list(parts)} if parts else {})}
            return self.compute(context, section, inputs, champion=champion, recompute=recompute)

        given = [parsed(value, "parts") for value in self.parts or [] if value is not None]
        scored = effects.score(
            self.registry(),
            self.store(),
            model=self.model_name,
            score_with=effects.joining(compute, given, recompute=flag(context, "recompute")),
            version=None if self.version is None else int(self.version),
            alias=self.alias,
            shadow=self.shadow,
            published=lambda scored: write_sinks(sinks, self.store(), scored, allow_list()),
        )
        if scored is None:
            raise AirflowSkipException(f"Model {self.model_name!r} has no champion yet: nothing is scored.")
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra = _event(dataset, scored)
        return scored


class ScoreShardOperator(ModelOperator):
    """Score some of a dataset's row groups with the champion, for a `ScoreBatchOperator` that joins the parts.

    Map it over shards to run them on several workers. A row group has 65,536 rows. The shards publish nothing, and the
    task that joins them does not depend on them: if a shard failed, or the champion changed in the meantime, it
    computes the rows itself. While there is no champion, or if its file cannot be loaded, the shard leaves its rows to
    that task and returns nothing. It still succeeds, because after a skipped instance Airflow would skip that task too.

    .. code-block:: python

        shards = ScoreShardOperator.partial(
            task_id="score_shard",
            pipeline="churn",
            dataset=new_rows.output,
            map_index_template="{{ task.shard['index'] + 1 }} of {{ task.shard['count'] }}",
        ).expand(shard=[{"index": index, "count": 4} for index in range(4)])
        joined = ScoreBatchOperator(
            task_id="score_joined",
            pipeline="churn",
            dataset=new_rows.output,
            parts=shards.output,
            trigger_rule="all_done_min_one_success",
        )

    :param dataset: the output of `IngestDataOperator` with `purpose="scoring"`.
    :param shard: a dict of `index`, which counts from 0, and `count`, the number of shards.
    """

    template_fields: Sequence[str] = (*ModelOperator.template_fields, "dataset", "shard")
    step = "score"

    def __init__(self, *, dataset: Result, shard: dict[str, int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.shard = shard

    def run(self, context: Context) -> StepResult | None:
        """Score the shard, or leave it to the task that joins."""
        from airflow_mlops_provider.effects import as_champion

        history = self.registry().serving(self.model_name)
        if not history:
            self.log.info("Model %r has no champion yet: nothing is scored.", self.model_name)
            return None
        inputs = {"dataset": [parsed(self.dataset, "dataset")]}
        try:
            return self.compute(context, {"shard": self.shard}, inputs, champion=as_champion(history[-1]))
        except ModelUnavailableError as error:
            self.log.warning("Left to the task that joins the shards, which can use a fallback: %s", error)
            return None


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
