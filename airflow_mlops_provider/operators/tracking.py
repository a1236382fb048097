"""What MLflow shows of a training, in other experiment trackers too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.operators.model import ModelOperator
from airflow_mlops_provider.operators.publishing import airflow_tags
from airflow_mlops_provider.operators.step import Result, allow_list, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_mlops_provider.results import StepResult


class MirrorRunsOperator(ModelOperator):
    """Mirror a published training to other experiment trackers, by functions of your own.

    Nothing depends on this task: the gates have judged, and promotion does not wait for it. A retry or a cleared task
    calls the functions again with the same runs.

    .. code-block:: python

        mirror = MirrorRunsOperator(
            task_id="mirror",
            pipeline="churn",
            published=publish.output,
            trackers=[{"function": "tracking.to_tensorboard", "params": {"folder": "/data/tensorboard"}}],
        )

    :param published: the output of `PublishModelOperator`.
    :param trackers: the `trackers` section of a pipeline file.
    """

    template_fields: Sequence[str] = (*ModelOperator.template_fields, "published", "trackers")
    step = "mirror"

    def __init__(self, *, published: Result, trackers: list[dict[str, Any]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.published = published
        self.trackers = trackers

    def run(self, context: Context) -> StepResult:
        """Call each function with the runs."""
        from airflow_mlops_provider import effects
        from airflow_mlops_provider.results import StepResult
        from airflow_mlops_provider.spec.trackers import Tracker

        published = parsed(self.published, "published")
        trackers = [Tracker.model_validate(each) for each in self.trackers]
        links = effects.links(self.mlflow().ui_url, self.model_name, published.facts)
        tags = airflow_tags(context)
        runs = effects.runs_to_mirror(self.store(), published, model=self.model_name, tags=tags, links=links)
        effects.mirror(trackers, runs, allow_list())
        self.log.info("Sent %d runs to %s.", len(runs), ", ".join(each.function for each in trackers))
        return StepResult(
            step=self.step,
            pipeline=self.pipeline,
            key=published.key,
            as_of=published.as_of,
            facts={"runs": [run["id"] for run in runs][:20], "trackers": [each.function for each in trackers][:20]},
        )
