"""What each step and each effect reads and makes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.privacy import PrivacyReport
from airflow_mlops_provider.evaluation.verdicts import Verdicts
from airflow_mlops_provider.exceptions import MLOpsError
from airflow_mlops_provider.lineage.nodes import Assertion, Edges, Node
from airflow_mlops_provider.lineage.places import Place, kept_place, registry_namespace
from airflow_mlops_provider.lineage.sources import columns_of, sources_of
from airflow_mlops_provider.modeling.refit_report import RefitReport
from airflow_mlops_provider.validation.checks import ValidationReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mlops_provider.lineage.work import Computed, Work
    from airflow_mlops_provider.results import ArtifactRef, StepResult
    from airflow_mlops_provider.storage import ArtifactStore
    from airflow_mlops_provider.storage.artifacts import Stored
    from airflow_mlops_provider.validation.checks import Check

log = logging.getLogger(__name__)


def edges_of(work: Work, store: Callable[[], ArtifactStore]) -> Edges:
    """Return what a task read and made, by its compute steps and its effect."""
    recorder = _Recorder(work, store, Edges())
    for done in work.computed:
        if (step := _STEPS.get(done.request.step)) is not None:
            step(recorder, done)
    if work.result is not None and (effect := _EFFECTS.get(work.step)) is not None:
        effect(recorder, work.result)
    return recorder.edges


@dataclass(frozen=True)
class _Recorder:
    """The lineage of one task, while it is collected."""

    work: Work
    store: Callable[[], ArtifactStore]
    edges: Edges

    def stored(self, ref: ArtifactRef, kind: type[Stored]) -> Stored | None:
        """Return a stored document; None when it cannot be read now: the rest is reported nevertheless."""
        try:
            return self.store().read_document(ref, kind)
        except MLOpsError as error:
            log.warning("Left out of the lineage: %s", error)
            return None

    def version(self, number: int) -> list[Node]:
        """Return a version of the registered model; nothing when the task used no registry."""
        if self.work.registry is None:
            return []
        place = Place(registry_namespace(self.work.registry), self.work.model)
        return [Node(place, str(number), is_model=True)]

    def read_artifacts(self, done: Computed, *roles: str) -> None:
        """Add the artifacts that a step was given, by the roles of its inputs, which are theirs as well."""
        for role in roles:
            for result in done.request.inputs.get(role, []):
                if (ref := result.artifacts.get(role)) is not None:
                    self.edges.read(_artifact_node(ref, role, result.pipeline))

    def read_champion(self, done: Computed) -> None:
        """Add the version that a step used."""
        if (champion := done.request.champion) is not None:
            self.edges.read(*self.version(champion.version))


# ---------------------------------------------------------------- the compute steps


def _ingest(recorder: _Recorder, done: Computed) -> None:
    section = done.request.section
    recorder.edges.read(*sources_of(section))
    if done.result is None:
        return
    ref = done.result.artifacts["dataset"]
    dropped: list[str] = []
    if (privacy := done.result.artifacts.get("privacy")) is not None:
        report = recorder.stored(privacy, PrivacyReport)
        dropped = [] if report is None else report.named("drop")
    rows: Any = done.result.facts.get("rows")
    recorder.edges.made(
        _artifact_node(ref, "dataset", done.result.pipeline, columns=columns_of(section, dropped), rows=rows)
    )


def _validate(recorder: _Recorder, done: Computed) -> None:
    checks: tuple[Assertion, ...] = ()
    if (
        done.result is not None
        and (report := recorder.stored(done.result.artifacts["validation"], ValidationReport)) is not None
    ):
        checks = tuple(
            Assertion(
                kind=check.name,
                name=check.label,
                holds=check.passed,
                blocks=check.policy == "fail",
                expected=check.expected,
                actual=_counted(check),
                column=check.column,
            )
            for check in report.checks
        )
    for result in done.request.inputs.get("dataset", []):
        recorder.edges.read(_artifact_node(result.artifacts["dataset"], "dataset", result.pipeline, assertions=checks))


def _counted(check: Check) -> str | None:
    """Return what was found, without a value: words about those of a column name some, which stay in the store."""
    if check.unexpected is not None:
        return f"{check.unexpected} unexpected values"
    return check.got if check.column is None else None


def _prepare(recorder: _Recorder, done: Computed) -> None:
    recorder.read_artifacts(done, "dataset")
    if done.result is not None:
        recorder.edges.made(_artifact_node(done.result.artifacts["split"], "split", done.result.pipeline))


def _train(recorder: _Recorder, done: Computed) -> None:
    recorder.read_artifacts(done, "dataset", "split")
    if done.result is not None:
        recorder.edges.made(_candidate(done.result, "candidate"))


def _search(recorder: _Recorder, done: Computed) -> None:
    recorder.read_artifacts(done, "dataset", "split")


def _evaluate(recorder: _Recorder, done: Computed) -> None:
    recorder.read_artifacts(done, "dataset", "split")
    recorder.edges.read(*(_candidate(model, "candidate") for model in done.request.inputs.get("models", [])))
    if done.result is not None:
        recorder.edges.made(_artifact_node(done.result.artifacts["evaluation"], "evaluation", done.result.pipeline))


def _gate(recorder: _Recorder, done: Computed) -> None:
    recorder.read_artifacts(done, "evaluation")
    judged = None if done.result is None else recorder.stored(done.result.artifacts["verdicts"], Verdicts)
    gates = tuple(
        Assertion(
            kind=verdict.kind,
            name=verdict.name,
            holds=verdict.passed,
            blocks=verdict.on_fail == "fail",
            expected=verdict.expected,
            actual=verdict.got,
        )
        for verdict in ([] if judged is None else judged.verdicts)
    )
    recorder.edges.read(*(_candidate(found, "winner", gates) for found in done.request.inputs.get("evaluation", [])))


def _refit(recorder: _Recorder, done: Computed) -> None:
    recorder.read_artifacts(done, "dataset", "split")
    recorder.edges.read(*(_candidate(model, "candidate") for model in done.request.inputs.get("models", [])))
    if done.result is not None and done.result.facts["refitted"]:
        recorder.edges.made(_candidate(done.result, "candidate"))


def _score(recorder: _Recorder, done: Computed) -> None:
    """Add a scoring, unless another one has taken its place: the champion may change meanwhile, or not load."""
    published = recorder.work.result if recorder.work.step == "score" else None
    predictions = None if done.result is None else done.result.artifacts.get("predictions")
    shard = done.request.section.get("shard") is not None
    if published is not None and not shard and predictions not in published.artifacts.values():
        return
    recorder.read_artifacts(done, "dataset")
    recorder.read_champion(done)
    if predictions is None or shard:
        return
    facts: Any = {} if published is None else published.facts
    shadow = published is not None and predictions == published.artifacts.get("shadow")
    partition = (facts.get("shadow") or {}).get("partition") if shadow else facts.get("partition")
    role = "predictions_shadow" if shadow else "predictions"
    recorder.edges.made(
        _artifact_node(
            predictions, role, done.request.pipeline, published=partition, rows=None if shadow else facts.get("rows")
        )
    )


def _drift(recorder: _Recorder, done: Computed) -> None:
    recorder.read_artifacts(done, "dataset", "predictions")
    _measured(recorder, done, "drift")


def _live(recorder: _Recorder, done: Computed) -> None:
    recorder.read_artifacts(done, "dataset")
    _measured(recorder, done, "live")


def _estimate(recorder: _Recorder, done: Computed) -> None:
    recorder.read_artifacts(done, "predictions")
    _measured(recorder, done, "estimate")


def _measured(recorder: _Recorder, done: Computed, role: str) -> None:
    recorder.read_champion(done)
    if done.result is not None and (ref := done.result.artifacts.get(role)) is not None:
        recorder.edges.made(_artifact_node(ref, role, done.result.pipeline))


# ---------------------------------------------------------------- the effects


def _publish(recorder: _Recorder, result: StepResult) -> None:
    facts: Any = result.facts
    recorder.edges.read(_artifact_node(result.artifacts["evaluation"], "evaluation", result.pipeline))
    refit = result.artifacts.get("refit")
    if refit is None:
        recorder.edges.read(_candidate(result, "winner"))
    elif (report := recorder.stored(refit, RefitReport)) is not None:
        serving = result.model_copy(update={"artifacts": {"model": report.model}})
        recorder.edges.read(_candidate(serving, "winner"))
    recorder.edges.made(*recorder.version(facts["version"]))


def _champion(recorder: _Recorder, result: StepResult) -> None:
    """Add that the alias names a version now, unless another one has become champion since."""
    facts: Any = result.facts
    recorder.edges.read(*(named := recorder.version(facts["version"])))
    if facts.get("champion") == facts["version"]:
        alias = [Place(node.place.namespace, f"{node.place.name}@champion") for node in named]
        recorder.edges.made(
            *(Node(place, node.version, is_model=True) for place, node in zip(alias, named, strict=True))
        )


_STEPS: dict[str, Callable[[_Recorder, Computed], None]] = {
    "ingest": _ingest,
    "validate": _validate,
    "prepare": _prepare,
    "search": _search,
    "train": _train,
    "evaluate": _evaluate,
    "gate": _gate,
    "refit": _refit,
    "score": _score,
    "drift": _drift,
    "live": _live,
    "estimate": _estimate,
}
_EFFECTS: dict[str, Callable[[_Recorder, StepResult], None]] = {
    "publish": _publish,
    "promote": _champion,
    "rollback": _champion,
}


# ---------------------------------------------------------------- nodes


def _artifact_node(ref: ArtifactRef, role: str, pipeline: str, *, published: str | None = None, **known: Any) -> Node:
    """Return what an artifact is a state of.

    :param published: URI of its copy for readers outside.
    """
    locations = (ref.uri,) if published is None else (ref.uri, published)
    return Node(kept_place(ref, role, pipeline), ref.sha256, locations, size=ref.size, **known)


def _candidate(result: StepResult, fact: str, assertions: tuple[Assertion, ...] = ()) -> Node:
    """Return a trained candidate, by the fact that names it."""
    ref, name = result.artifacts["model"], str(result.facts[fact])
    place = kept_place(ref, "model", result.pipeline, name)
    return Node(place, ref.sha256, (ref.uri,), is_model=True, size=ref.size, assertions=assertions)
