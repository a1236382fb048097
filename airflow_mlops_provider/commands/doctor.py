"""`airflow mlops doctor`: whether everything that pipelines need is there, with advice."""

from __future__ import annotations

import re
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from airflow_mlops_provider.commands.findings import Findings
from airflow_mlops_provider.commands.terminal import NO_PIPELINE_ADVICE, command
from airflow_mlops_provider.redaction import first_line, shown

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from airflow_mlops_provider.spec import Pipeline

#: What a training of a few million rows writes, in bytes.
_LEAST_FREE = 2_000_000_000
#: Seconds; S3 refuses requests that are signed 15 minutes apart, and `at` of the ledger is wall time.
_MOST_SKEW = 30
_ROUND_TRIP = "MLflow round trip"
_REPAIR = "Correct it: airflow mlops reconcile."


@command
def doctor(args: Namespace) -> None:
    """Look at versions, settings, connections, services, disk and clock."""
    findings = Findings()
    _check_versions(findings)
    pipelines = _check_settings(findings, args.pipelines)
    _check_storage(findings)
    _check_mlflow(findings, pipelines)
    _check_ledgers(findings, pipelines)
    _check_champions(findings, pipelines)
    _check_sources(findings, pipelines)
    _check_engines(findings, pipelines)
    _check_disk(findings)
    _check_clock(findings)
    findings.report(args.output)


def _check_versions(findings: Findings) -> None:
    """Hold every installed library against what this package asks for."""
    from packaging.requirements import Requirement

    for text in metadata.requires("airflow-mlops-provider") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            findings.add(requirement.name, "version", "wrong", f"not installed. pip install '{text}'")
            continue
        fits = requirement.specifier.contains(version, prereleases=True)
        words = version if fits else f"{version}, but {requirement.specifier} is required. pip install '{text}'"
        findings.add(requirement.name, "version", "ok" if fits else "wrong", words)


def _check_settings(findings: Findings, names: Sequence[str]) -> list[Pipeline]:
    """Read the pipeline files; return those that can be read."""
    from airflow_mlops_provider.dag_templates.folder import pipelines_folder
    from airflow_mlops_provider.exceptions import SpecError
    from airflow_mlops_provider.pipelines import load_pipeline, pipeline_files

    folder = pipelines_folder()
    files = [file for file in pipeline_files(folder) if not names or file.stem in names]
    if unknown := sorted(set(names) - {file.stem for file in files}):
        raise SpecError(f"there is no pipeline {unknown[0]!r} in {folder}")
    if not files:
        findings.add("pipeline files", "settings", "warning", f"none in {folder}. {NO_PIPELINE_ADVICE}")
    found = []
    for file in files:
        with findings.looking(file.stem, "settings") as words:
            found.append(load_pipeline(file))
            words.append(str(file))
    return found


def _check_storage(findings: Findings) -> None:
    """Write an object and read it back."""
    from airflow_mlops_provider.exceptions import StorageError
    from airflow_mlops_provider.hooks.object_storage import ObjectStorageHook

    with findings.looking("artifact store", "round trip") as words:
        store, text, started = ObjectStorageHook().store(), uuid4().hex.encode(), time.perf_counter()
        with store.workspace() as folder:
            file = folder / "round-trip"
            file.write_bytes(text)
            store.objects.put("doctor/round-trip", file)
        if store.objects.read("doctor/round-trip") != text:
            raise StorageError(f"{store.root} does not return what was written", hint="Check its object versions.")
        words.append(f"{store.root}, {_milliseconds(started)}")


def _check_mlflow(findings: Findings, pipelines: Sequence[Pipeline]) -> None:
    """Write into every MLflow that pipelines name, and read it back."""
    from airflow_mlops_provider.exceptions import RegistryError
    from airflow_mlops_provider.hooks.mlflow import MlflowHook

    for conn_id in dict.fromkeys(pipeline.promotion.conn_id for pipeline in pipelines) or [
        MlflowHook.default_conn_name
    ]:
        with findings.looking(conn_id, _ROUND_TRIP) as words:
            registry, text = MlflowHook(conn_id).registry(), uuid4().hex
            registry.ping()  # imports MLflow, which is no part of the trip
            started = time.perf_counter()
            if (found := registry.round_trip(text)) != text:
                raise RegistryError(f"MLflow at {registry.address} does not return what was written", got=found)
            words.append(f"{registry.address}, {_milliseconds(started)}")


def _check_ledgers(findings: Findings, pipelines: Sequence[Pipeline]) -> None:
    """Read the ledger and the decisions of every pipeline."""
    from airflow_mlops_provider.commands.terminal import by_registry
    from airflow_mlops_provider.exceptions import RegistryError

    answering = {one.subject for one in findings.found if one.check == _ROUND_TRIP and one.outcome == "ok"}
    for registry, members in by_registry([one for one in pipelines if one.promotion.conn_id in answering]):
        for pipeline in members:
            remarks: list[str] = []
            with findings.looking(pipeline.name, "ledger") as words:
                state = registry.states([pipeline.model_name], decisions=1)[pipeline.model_name]
                if state.trouble is not None:
                    raise RegistryError(state.trouble)
                found = registry.reconcile(pipeline.model_name, repair=False)
                remarks += state.remarks if found.agrees else [f"{found.reason}. {_REPAIR}", *state.remarks]
                words.append(f"{len(state.history)} entries; {found.reason}")
            for remark in remarks:
                findings.add(pipeline.name, "ledger", "warning", remark)


def _check_champions(findings: Findings, pipelines: Sequence[Pipeline]) -> None:
    """Load each champion, and who would stand in for it; what the store has lost of them is put back from MLflow."""
    from itertools import islice

    from airflow_mlops_provider.commands.terminal import registry_of
    from airflow_mlops_provider.effects.stored_files import check_loads
    from airflow_mlops_provider.hooks.object_storage import ObjectStorageHook
    from airflow_mlops_provider.operators.step import allow_list
    from airflow_mlops_provider.registry import former_champions

    for pipeline in pipelines:
        with findings.looking(pipeline.name, "champions") as words:
            registry, model = registry_of(pipeline), pipeline.model_name
            history = registry.history(model)
            for entry in [*history[-1:], *islice(former_champions(history), 1)]:
                check_loads(registry, ObjectStorageHook().store(), model, entry, allow_list())
                words.append(f"version {entry.version} can be loaded")
            if not history:
                words.append("none yet")


def _check_sources(findings: Findings, pipelines: Sequence[Pipeline]) -> None:
    from airflow_mlops_provider.hooks.connections import defined_connection

    for conn_id in dict.fromkeys(pipeline.data.source.conn_id for pipeline in pipelines):
        if conn_id is not None:
            with findings.looking(conn_id, "connection") as words:
                words.append(f"type {defined_connection(conn_id).conn_type}")


def _check_engines(findings: Findings, pipelines: Sequence[Pipeline]) -> None:
    """Ask each container engine that a pipeline's steps run in."""
    from airflow_mlops_provider.runtime.engine import connect, speaking_to_engine
    from airflow_mlops_provider.spec import Docker

    runtimes = {
        runtime.docker_url or "": runtime
        for pipeline in pipelines
        for runtime in (pipeline.runtime, *(settings.runtime for settings in pipeline.tasks.values()))
        if isinstance(runtime, Docker)
    }
    for url, runtime in runtimes.items():
        with findings.looking(shown(url) or "docker", "container engine") as words:
            client = connect(runtime)
            with speaking_to_engine("tell its version"):
                words.append(f"version {client.version()['Version']}")


def _check_disk(findings: Findings) -> None:
    import shutil
    import tempfile

    from airflow.configuration import AIRFLOW_HOME

    for place in dict.fromkeys((AIRFLOW_HOME, tempfile.gettempdir())):
        if not Path(place).is_dir():
            continue
        free = shutil.disk_usage(place).free
        words = f"{free / 1e9:.1f} GB free"
        if free < _LEAST_FREE:
            findings.add(place, "disk", "warning", f"{words}. A training writes its data there: free some space.")
        else:
            findings.add(place, "disk", "ok", words)


def _check_clock(findings: Findings) -> None:
    """Compare this machine's clock with that of Airflow's database."""
    from datetime import UTC, datetime

    from airflow.utils.session import create_session
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with create_session() as session:
            answer = str(session.scalar(text("SELECT CURRENT_TIMESTAMP")))
    except SQLAlchemyError as error:
        findings.add("Airflow's database", "clock", "unreachable", first_line(error))
        return
    moment = datetime.fromisoformat(re.sub(r"([+-]\d\d)$", r"\1:00", answer))
    there = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    skew = abs((datetime.now(UTC) - there).total_seconds())
    if skew > _MOST_SKEW:
        advice = "Synchronise both by NTP: the ledger records when each champion served."
        findings.add("Airflow's database", "clock", "warning", f"{skew:.0f} s apart. {advice}")
    else:
        findings.add("Airflow's database", "clock", "ok", f"{skew:.0f} s apart")


def _milliseconds(started: float) -> str:
    return f"{(time.perf_counter() - started) * 1000:.0f} ms"
