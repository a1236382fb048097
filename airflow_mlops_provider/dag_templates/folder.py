"""Which pipelines a DAG file builds: one with a mistake in it does not take the others down."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import conf, get_parsing_context

from airflow_mlops_provider.collector import collector_paused
from airflow_mlops_provider.dag_templates.notify import check_event_notifiers, notifiers
from airflow_mlops_provider.dag_templates.schedule import response_timeout, scoring_schedule, training_schedule
from airflow_mlops_provider.dag_templates.settings import check_containers_allowed, task_settings
from airflow_mlops_provider.exceptions import MLOpsError, SpecError, printable, shorten
from airflow_mlops_provider.pipelines import load_pipeline, pipeline_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_mlops_provider.spec import Pipeline

log = logging.getLogger(__name__)


def pipelines_folder() -> Path:
    """Return the folder of the pipeline files."""
    configured = conf.get("mlops", "pipelines_folder", fallback="")
    if configured:
        return Path(configured).expanduser()
    return Path(conf.get("core", "dags_folder")).expanduser().parent / "config" / "pipelines"


def load_pipelines(kind: str, folder: str | Path | None = None) -> list[Pipeline]:
    """Return the pipelines whose DAGs of a kind are being parsed.

    :param kind: suffix of the DAG ids, such as `training`.
    :param folder: folder of pipeline files; `[mlops] pipelines_folder` when left out.
    """
    return [pipeline for pipeline, _ in requested_kinds((kind,), folder)]


def requested_kinds(kinds: Sequence[str], folder: str | Path | None = None) -> Iterator[tuple[Pipeline, list[str]]]:
    """Yield the pipelines that are being parsed, each with the kinds of its DAGs that are.

    When Airflow parses for one DAG, as it does to run a task, only that pipeline is read. A file with a mistake is
    logged and left out; `check_pipelines` turns it into an import error that people see.
    """
    wanted = get_parsing_context().dag_id
    try:
        files = pipeline_files(Path(folder) if folder is not None else pipelines_folder())
    except SpecError as error:
        log.error("No DAG of any pipeline: %s", error)
        return
    for file in files:
        requested = [kind for kind in kinds if wanted in (None, f"{file.stem}_{kind}")]
        if not requested:
            continue
        try:
            pipeline = load_pipeline(file)
        except SpecError as error:
            log.error("No DAG for %s: %s", printable(str(file)), error)
        else:
            yield pipeline, requested


def check_pipelines(folder: str | Path | None = None) -> None:
    """Raise one error that holds every mistake in every pipeline file.

    Call it in a DAG file of its own: Airflow shows it as an import error of that file, and the DAGs of all other
    pipelines stay.

    :raises SpecError: when the folder is missing or cannot be read, or a file is wrong.
    """
    if get_parsing_context().dag_id is not None:
        return
    files = pipeline_files(Path(folder) if folder is not None else pipelines_folder())
    problems = [
        f"{file} and {file.stem}.yaml are two files for one pipeline"
        for file in files
        if file.suffix == ".yml" and file.with_suffix(".yaml") in files
    ]
    with collector_paused():
        for file in files:
            problems += file_problems(file)
    if problems:
        raise SpecError("some pipelines have no DAGs, or only some of them:", problems=problems)


def file_problems(file: Path) -> list[str]:
    """Return why not every DAG of a pipeline can be built: all that can fail in that, without the cost of building."""
    try:
        pipeline = load_pipeline(file)
    except SpecError as error:
        return [str(error)]
    parts: list[Callable[[], object]] = [
        lambda: training_schedule(pipeline),
        lambda: scoring_schedule(pipeline),
        lambda: notifiers(pipeline),
        lambda: check_event_notifiers(pipeline),
        lambda: check_containers_allowed(pipeline),
    ]
    if pipeline.promotion.approval is not None:
        parts.append(lambda: response_timeout(pipeline))
    parts += [partial(task_settings, pipeline, name) for name in pipeline.tasks]
    found = []
    for part in parts:
        try:
            part()
        except Exception as error:
            words = mistake(error)
            found.append(words if words.startswith(pipeline.name) else f"{pipeline.name}: {words}")
    return list(dict.fromkeys(found))


def mistake(error: Exception) -> str:
    """Return what is wrong, of an error that a pipeline file led to: whatever it is, it is that file's alone."""
    return str(error) if isinstance(error, MLOpsError) else printable(shorten(f"{type(error).__name__}: {error}"))


def unforeseen(error: Exception) -> Exception | None:
    """Return an error whose traceback belongs into the log: one that does not say what to do."""
    return None if isinstance(error, MLOpsError) else error
