"""Two versions of a model side by side."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import Field

from airflow_mlops_provider.evaluation.gates import judge
from airflow_mlops_provider.evaluation.report import EvaluationReport, WorstSlice
from airflow_mlops_provider.exceptions import ArtifactError
from airflow_mlops_provider.overview.timeline import StoredVerdict, verdicts
from airflow_mlops_provider.registry.ledger import quarantined_version
from airflow_mlops_provider.results import ArtifactRef
from airflow_mlops_provider.spec.frozen import Finite, Frozen
from airflow_mlops_provider.spec.metrics import less_is_better

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.registry import LedgerEntry, Registry, VersionRun
    from airflow_mlops_provider.spec import Pipeline
    from airflow_mlops_provider.storage import ArtifactStore


class Measure(Frozen):
    """A metric on the version's own holdout, with the bootstrap interval that evaluate gave it."""

    value: Finite | None
    low: Finite | None = None
    high: Finite | None = None


class VersionSheet(Frozen):
    """One version: what it is, what was measured of it, what became of it.

    :param created: wall time of its registration.
    :param as_of: data time of its training.
    :param status: `champion`; `former` champion; `quarantined`; `published` and never champion.
    :param dataset: sha256 of the data that it was trained and measured on.
    :param params: of the winning candidate, as MLflow keeps them.
    :param gates: the verdicts when it was promoted; for a version that never was, the verdicts of the gates in today's
        pipeline file on its evaluation.
    :param evaluation: everything that was measured; None when it is gone.
    :param pages: where the artifact store keeps the pages about it: `card`, `comparison`.
    :param trouble: why something is missing here.
    """

    version: int
    created: datetime
    as_of: datetime | None
    status: str
    candidate: str | None
    digest: str | None
    dataset: str | None
    run_id: str | None
    experiment_id: str | None
    params: dict[str, str] = Field(default_factory=dict)
    metrics: dict[str, Measure] = Field(default_factory=dict)
    gates: list[StoredVerdict] = Field(default_factory=list)
    evaluation: EvaluationReport | None = None
    pages: dict[str, ArtifactRef] = Field(default_factory=dict)
    trouble: str | None = None

    @property
    def worst_slice(self) -> WorstSlice | None:
        """Its worst slice by the metric that decides; None without slices."""
        report = self.evaluation
        return None if report is None else report.worst_slices.get(report.metrics[0])


class ComparedMetric(Frozen):
    """One metric of both.

    :param gain: by how much the second is better: positive is better, also for a loss.
    """

    metric: str
    first: Measure | None
    second: Measure | None
    gain: Finite | None


class ComparedSlice(Frozen):
    """The metric that decides, on one value of one column; None where that slice was too small."""

    column: str
    value: str
    first: Finite | None
    second: Finite | None
    first_rows: int | None
    second_rows: int | None


class VersionComparison(Frozen):
    """Two versions of one model.

    :param same_dataset: both were measured on the same data; when not, the metrics are of different rows.
    :param params: those that differ, as `[first, second]`; None where one has no such parameter.
    """

    pipeline: str
    model: str
    first: VersionSheet
    second: VersionSheet
    same_model: bool
    same_dataset: bool
    params: dict[str, tuple[str | None, str | None]]
    metrics: list[ComparedMetric]
    slices: list[ComparedSlice]


def compare(registry: Registry, store: ArtifactStore, pipeline: Pipeline, first: int, second: int) -> VersionComparison:
    """Return two versions side by side.

    :raises RegistryError: there is no such version.
    :raises TransientServiceError: MLflow or the store cannot be reached.
    """
    history = registry.history(pipeline.model_name)
    one, other = (version_sheet(registry, store, pipeline, version, history) for version in (first, second))
    params = {
        name: (one.params.get(name), other.params.get(name))
        for name in sorted({**one.params, **other.params})
        if one.params.get(name) != other.params.get(name)
    }
    return VersionComparison(
        pipeline=pipeline.name,
        model=pipeline.model_name,
        first=one,
        second=other,
        same_model=one.digest is not None and one.digest == other.digest,
        same_dataset=one.dataset is not None and one.dataset == other.dataset,
        params=params,
        metrics=[_metric(name, one, other) for name in {**one.metrics, **other.metrics}],
        slices=_slices(pipeline.metrics[0], one, other),
    )


def version_sheet(
    registry: Registry, store: ArtifactStore, pipeline: Pipeline, version: int, history: Sequence[LedgerEntry]
) -> VersionSheet:
    """Return what is known of a version.

    :param history: the model's ledger.
    :raises RegistryError: there is no such version.
    """
    run = registry.version_run(pipeline.model_name, version)
    entries = [entry for entry in history if entry.version == version]
    report, trouble = _evaluation(store, pipeline, run, entries)
    promoted = [entry for entry in entries if entry.action == "promote"]
    gates = verdicts(promoted[-1]) if promoted else []
    if report is not None and not promoted:
        # How fast it is, is measured when it is to be promoted.
        judged = judge([gate for gate in pipeline.gates if gate.kind != "latency"], report)
        gates = [
            StoredVerdict.model_validate(one.model_dump(include=set(StoredVerdict.model_fields))) for one in judged
        ]
    return VersionSheet(
        **run.model_dump(
            include={
                "version", "created", "as_of", "candidate", "digest", "dataset", "run_id", "experiment_id", "params",
                "pages",
            }
        ),
        status=_status(history, run),
        metrics=_measures(run, report),
        gates=gates,
        evaluation=report,
        trouble=trouble,
    )  # fmt: skip


def _status(history: Sequence[LedgerEntry], run: VersionRun) -> str:
    if history and history[-1].version == run.version:
        return "champion"
    if quarantined_version(history, run.version, run.digest or "") is not None:
        return "quarantined"
    return "former" if any(entry.version == run.version for entry in history) else "published"


def _evaluation(
    store: ArtifactStore, pipeline: Pipeline, run: VersionRun, entries: Sequence[LedgerEntry]
) -> tuple[EvaluationReport | None, str | None]:
    """Return what was measured of a version, else why that is not there."""
    ref = next((entry.evaluation for entry in reversed(entries) if entry.evaluation is not None), None)
    if ref is None and run.evaluation is not None:
        receipt = store.read_receipt(pipeline.name, "evaluate", run.evaluation)
        ref = None if receipt is None else receipt.artifacts.get("evaluation")
    if ref is None:
        return None, f"the artifact store has no evaluation of version {run.version}"
    try:
        return store.read_document(ref, EvaluationReport), None
    except (ArtifactError, ValueError) as error:
        return None, f"the evaluation of version {run.version} cannot be read: {error}"


def _measures(run: VersionRun, report: EvaluationReport | None) -> dict[str, Measure]:
    if report is None:
        return {name: Measure(value=value) for name, value in run.metrics.items()}
    found = {}
    for name in report.metrics:
        interval = report.intervals.get(name)
        found[name] = Measure(
            value=report.challenger.metrics.get(name),
            low=None if interval is None else interval.low,
            high=None if interval is None else interval.high,
        )
    return found


def _metric(name: str, one: VersionSheet, other: VersionSheet) -> ComparedMetric:
    first, second = one.metrics.get(name), other.metrics.get(name)
    gain = None
    if first is not None and second is not None and first.value is not None and second.value is not None:
        gain = (first.value - second.value) if less_is_better(name) else (second.value - first.value)
    return ComparedMetric(metric=name, first=first, second=second, gain=gain)


def _slices(metric: str, one: VersionSheet, other: VersionSheet) -> list[ComparedSlice]:
    sides = [
        {(item.column, item.value): item for item in (sheet.evaluation.slices if sheet.evaluation else [])}
        for sheet in (one, other)
    ]
    found = []
    for column, value in {**sides[0], **sides[1]}:
        first, second = (side.get((column, value)) for side in sides)
        found.append(
            ComparedSlice(
                column=column,
                value=value,
                first=None if first is None else first.metrics.get(metric),
                second=None if second is None else second.metrics.get(metric),
                first_rows=None if first is None else first.rows,
                second_rows=None if second is None else second.rows,
            )
        )
    return found
