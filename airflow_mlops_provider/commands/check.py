"""`airflow mlops check`: what would fail a run, before it runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from inspect import signature
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.commands.findings import Findings
from airflow_mlops_provider.commands.terminal import command

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence

    from airflow_mlops_provider.spec import Pipeline


@command
def check(args: Namespace) -> None:
    """Check pipeline files, what they name, their data and their connections."""
    from airflow_mlops_provider.pipelines import load_pipeline

    findings = Findings()
    pipelines = []
    for file in _files(args.folder, args.pipelines):
        if _check_file(findings, file):
            pipelines.append(load_pipeline(file))
    for pipeline in pipelines:
        _check_names(findings, pipeline)
        _check_expectations(findings, pipeline)
        for contradiction in contradictions(pipeline):
            findings.add(pipeline.name, "probation", "warning", contradiction)
        _check_data(findings, pipeline, offline=args.offline)
    _check_tables(findings, pipelines)
    if not args.offline:
        _check_services(findings, pipelines)
        _check_probation(findings, pipelines)
    findings.report(args.output)


def _files(folder: str | None, names: Sequence[str]) -> list[Path]:
    """Return the pipeline files that are meant.

    :raises SpecError: there is none, or not one of that name.
    """
    from airflow_mlops_provider.dag_templates.folder import pipelines_folder
    from airflow_mlops_provider.exceptions import SpecError
    from airflow_mlops_provider.pipelines import pipeline_files

    place = Path(folder) if folder else pipelines_folder()
    files = pipeline_files(place)
    if not files:
        raise SpecError(f"there is no pipeline file in {place}", hint="Name another --folder, or create one with init.")
    if unknown := sorted(set(names) - {file.stem for file in files}):
        there = ", ".join(file.stem for file in files)
        raise SpecError(f"there is no pipeline {unknown[0]!r} in {place}", expected=there)
    return [file for file in files if not names or file.stem in names]


def _check_file(findings: Findings, file: Path) -> bool:
    """Check settings, schedule, notifiers and Airflow's own settings of tasks: what the DAGs are built of."""
    from airflow_mlops_provider.dag_templates.folder import file_problems
    from airflow_mlops_provider.dag_templates.kinds import building_problems
    from airflow_mlops_provider.pipelines import load_pipeline

    problems = file_problems(file) or building_problems(load_pipeline(file))
    for problem in problems:
        findings.add(file.stem, "settings", "wrong", problem)
    if not problems:
        findings.add(file.stem, "settings", "ok", str(file))
    return not problems


def _check_names(findings: Findings, pipeline: Pipeline) -> None:
    """Check that every class and function that the file names may be imported, is there, and takes what it is given."""
    from airflow_mlops_provider.modeling.estimators import build_pipeline
    from airflow_mlops_provider.operators.step import allow_list
    from airflow_mlops_provider.spec.metrics import custom_among

    allowed = allow_list()
    for name, candidate in pipeline.training.candidates.items():
        with findings.looking(pipeline.name, f"candidate {name}") as words:
            build_pipeline(candidate, pipeline.data.columns, task=pipeline.task, seed=pipeline.seed, allow_list=allowed)
            words.append(candidate.estimator)
    searched = [one.search.metric for one in pipeline.candidates.values() if one.search and one.search.metric]
    for metric in {one.label: one for one in custom_among([*pipeline.measured, *searched])}.values():
        with findings.looking(pipeline.name, f"metric {metric.label}") as words:
            function = allowed.load_function(metric.function)
            _check_takes(function, metric.function, (), (), **metric.given(signature(function).parameters))
            words.append(metric.function)
    for gate in pipeline.gates:
        if gate.kind == "custom":
            with findings.looking(pipeline.name, f"gate {gate.label}") as words:
                _check_takes(allowed.load_function(gate.function), gate.function, {}, **gate.params)
                words.append(gate.function)
    for tracker in pipeline.trackers:
        with findings.looking(pipeline.name, f"tracker {tracker.function}") as words:
            _check_takes(allowed.load_function(tracker.function), tracker.function, [], **tracker.params)
            words.append(tracker.function)
    for sink in pipeline.scoring.sinks if pipeline.scoring is not None else ():
        if sink.kind == "function":
            with findings.looking(pipeline.name, f"sink {sink.label}") as words:
                given = dict.fromkeys(("pipeline", "as_of", "version"))
                _check_takes(allowed.load_function(sink.function), sink.function, iter(()), **given, **sink.params)
                words.append(sink.label)
    if (reader := pipeline.data.source.reader) is not None:
        with findings.looking(pipeline.name, "reader") as words:
            allowed.load(reader)
            words.append(reader)


def _check_takes(function: Callable[..., Any], name: str, /, *args: Any, **kwargs: Any) -> None:
    """Refuse a function that would not take what it is given.

    :raises SpecError: names it, and what it lacks.
    """
    from airflow_mlops_provider.exceptions import SpecError

    try:
        signature(function).bind(*args, **kwargs)
    except TypeError as error:
        raise SpecError(
            f"{name} does not accept its arguments", got=str(error), expected=f"params that fit {signature(function)}"
        ) from None


def _check_tables(findings: Findings, pipelines: Sequence[Pipeline]) -> None:
    """Find tables that two pipelines write: each would delete the other's rows."""
    owners: dict[tuple[str, str], str] = {}
    for pipeline in pipelines:
        for sink in pipeline.scoring.sinks if pipeline.scoring is not None else ():
            if sink.kind == "sql":
                owner = owners.setdefault((sink.conn_id, sink.table), pipeline.name)
                if owner != pipeline.name:
                    words = f"pipeline {owner!r} also writes this table, and each deletes the other's rows"
                    findings.add(pipeline.name, f"sink {sink.label}", "wrong", words)


def _check_expectations(findings: Findings, pipeline: Pipeline) -> None:
    from airflow_mlops_provider.validation.expectations import configured
    from airflow_mlops_provider.validation.guards import require_columns

    columns = pipeline.data.columns.all
    with findings.looking(pipeline.name, "expectations") as words:
        require_columns(pipeline.validation.required, columns, "validation.required")
        if expectations := pipeline.validation.expectations:
            configured(expectations, columns)
        words.append(f"{len(expectations)} expectations")


def contradictions(pipeline: Pipeline) -> list[str]:
    """Return why probation would roll back what a gate has let pass, or would never see anything."""
    from airflow_mlops_provider.dag_templates.schedule import interval

    policy = pipeline.watched
    if policy is None or not policy.probation.length:
        return []
    found, length, delay = [], policy.probation.length, pipeline.data.label_delay
    lost, margin = pipeline.may_lose, policy.probation.margin or 0.0
    if lost is not None and lost > margin:
        metric = policy.live.metric or pipeline.metrics[0]
        found.append(
            f"the gate champion accepts a challenger that is worse by {lost:g} {metric}, but "
            f"monitoring.probation.margin rolls back one that is worse by more than {margin:g}: set it to at least "
            f"{lost:g}, or leave it out"
        )
    if length <= delay:
        found.append(
            f"monitoring.probation.length is {length}, but labels arrive after data.label_delay, {delay}: a probation "
            "would end before the first label. Make it longer"
        )
    between = None if pipeline.schedule is None else interval(pipeline.name, pipeline.schedule, datetime.now(UTC))
    if between is not None and length < between:
        found.append(
            f"monitoring.probation.length is {length}, but windows come every {between}: none would fall within a "
            "probation. Make it longer"
        )
    return found


def _check_data(findings: Findings, pipeline: Pipeline, *, offline: bool) -> None:
    """Read the first rows of the source and see whether they fit their columns."""
    from airflow_mlops_provider.hooks.object_storage import ObjectStorageHook
    from airflow_mlops_provider.hooks.sql import read_sql
    from airflow_mlops_provider.job import Job, StepRequest
    from airflow_mlops_provider.operators.step import allow_list
    from airflow_mlops_provider.steps import ingest
    from airflow_mlops_provider.storage import is_s3

    source = pipeline.data.source
    remote = source.sql is not None or source.conn_id is not None or is_s3(source.uri or "")
    if offline and remote:
        findings.add(pipeline.name, "data", "warning", "not read: its source is a service, and --offline contacts none")
        return
    with findings.looking(pipeline.name, "data") as words:
        section = {"task": pipeline.task, "data": pipeline.data.model_dump(mode="json")}
        # What would train now: nothing that is stored depends on it.
        request = StepRequest(
            step="ingest", pipeline=pipeline.name, as_of=datetime.now(UTC), section=section, allow_list=allow_list()
        )
        job = Job(request, ObjectStorageHook().store(), read_sql)
        rows, whole, span = ingest.try_first_rows(ingest.Section.model_validate(section), job)
        if not rows:
            words.append("no rows are known as of now")
        elif not whole:
            words.append(f"the first {rows} rows fit their columns")
        else:
            words.append(f"all {rows} rows known as of now fit their columns")
            if rows < (least := pipeline.validation.min_rows):
                detail = f"a training would fail now: {rows} rows are known, but validation.min_rows is {least}"
                findings.add(pipeline.name, "rows", "warning", detail)
            if (silent := _never_speaks(pipeline, rows, span)) is not None:
                findings.add(pipeline.name, "monitoring", "warning", silent)


def _never_speaks(pipeline: Pipeline, rows: int, span: timedelta | None) -> str | None:
    """Return why monitoring would never say anything, when windows have too few rows for it."""
    from airflow_mlops_provider.drafting.windows import least_rows

    if pipeline.monitoring is None or pipeline.scoring is None:
        return None
    window, few = pipeline.scoring.window, float(rows)
    if pipeline.data.columns.timestamp is not None:
        if not span:
            return None
        few = rows * (window / span)
    short = {name: least for name, least in least_rows(pipeline.monitoring).items() if few < least}
    if not short:
        return None
    needs = ", ".join(f"monitoring.{name} is {least}" for name, least in short.items())
    if span is None:
        return f"cannot judge anything: {rows} rows are scored, but {needs}"
    enough = ceil(max(short.values()) * (span / timedelta(days=1)) / rows)
    return (
        f"cannot judge anything: a scoring.window of {window} gets about {few:.0f} rows, but {needs}. That many rows "
        f"take about {enough} days."
    )


def _check_services(findings: Findings, pipelines: Sequence[Pipeline]) -> None:
    """Ask every MLflow, the artifact store, and the databases that predictions go to, whether they answer."""
    from airflow_mlops_provider.hooks.mlflow import MlflowHook
    from airflow_mlops_provider.hooks.object_storage import ObjectStorageHook
    from airflow_mlops_provider.hooks.sql import ping

    for conn_id in dict.fromkeys(pipeline.promotion.conn_id for pipeline in pipelines):
        with findings.looking(conn_id, "MLflow") as words:
            words.append(MlflowHook(conn_id).registry().ping())
    if pipelines:
        with findings.looking("artifact store", "storage") as words:
            store = ObjectStorageHook().store()
            store.objects.size("mlops/check")
            words.append(f"{store.root} answers")
    for pipeline in pipelines:
        for sink in pipeline.scoring.sinks if pipeline.scoring is not None else ():
            if sink.kind == "sql":
                with findings.looking(pipeline.name, f"sink {sink.label}") as words:
                    ping(sink.conn_id)
                    words.append(f"{sink.conn_id} answers")


def _check_probation(findings: Findings, pipelines: Sequence[Pipeline]) -> None:
    """Warn where the last look at a champion on probation found that its probation is too short to see decay."""
    from airflow_mlops_provider.commands.terminal import by_registry
    from airflow_mlops_provider.monitoring.governor import Decision

    answering = {one.subject for one in findings.found if one.check == "MLflow" and one.outcome == "ok"}
    watched = [one for one in pipelines if one.monitoring is not None and one.promotion.conn_id in answering]
    for registry, members in by_registry(watched):
        for pipeline in members:
            with findings.quietly(pipeline.name, "probation"):
                entries = registry.states([pipeline.model_name])[pipeline.model_name].decisions
                decisions = [Decision.read(one.value, "a decision") for one in entries]
                short = next((one.underpowered for one in reversed(decisions) if one.comparison is not None), None)
                if short is not None:
                    findings.add(pipeline.name, "probation", "warning", short)
