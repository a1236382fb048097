"""Finds and reads pipeline files; says in one error everything that is wrong with one."""

from __future__ import annotations

import difflib
import json
import os
import re
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from airflow_mlops_provider.exceptions import MAX_PROBLEMS, SpecError
from airflow_mlops_provider.spec import Pipeline
from airflow_mlops_provider.spec.frozen import PATTERNS_IN_WORDS
from airflow_mlops_provider.spec.metrics import METRIC_KINDS
from airflow_mlops_provider.yaml_files import read_yaml, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: What Jinja would look at: a variable on one line or several, one that is not closed, a block, a comment.
_TEMPLATE = re.compile(r"\{\{(.*?)\}\}|\{[{%#]", re.DOTALL)


def pipeline_files(folder: Path) -> list[Path]:
    """Return the pipeline files of a folder, sorted by name, without hidden ones, which editors and systems leave.

    :raises SpecError: the folder is missing, no folder, or may not be read.
    """
    try:
        names = os.listdir(folder)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise SpecError(
            f"the folder of pipeline files {folder} {'is missing' if missing else 'cannot be read'}",
            got=None if missing else error.strerror,
            hint="Create it, or set `[mlops] pipelines_folder` to the right folder."
            if missing
            else "Give the user that Airflow runs as read access.",
        ) from error
    return sorted(folder / name for name in names if name.endswith((".yaml", ".yml")) and name[0] != ".")


def load_pipeline(file: Path) -> Pipeline:
    """Read one pipeline file.

    Its `name` is the file's own, without the suffix: so one DAG's pipeline is found without reading the others.
    Relative paths in `data.source.uri` are relative to the file's folder.

    Whatever a file is or holds, no other error leaves: it would take the pipelines beside it down (decision 0008).

    :raises SpecError: names the file and, for each problem, the path inside it and the nearest valid key.
    """
    try:
        state = file.stat()
        return _loaded(file, state.st_mtime_ns, state.st_size)
    except SpecError:
        raise
    except OSError as error:
        raise unreadable(file, error) from error
    except Exception as error:
        raise SpecError(f"pipeline file {file} cannot be used", got=f"{type(error).__name__}: {error}") from error


# Whoever loads all of `dags/` at once reads each file for its DAGs and for the check.
@lru_cache(maxsize=4096)
def _loaded(file: Path, _mtime: int, _size: int) -> Pipeline:
    raw = read_yaml(file)
    if not isinstance(raw, dict):
        raise SpecError(
            f"pipeline file {file} is not a mapping", got=type(raw).__name__, expected="name:, task:, data: …"
        )
    pipeline = parse_pipeline(raw, where=str(file), folder=file.parent)
    if pipeline.name != file.stem:
        raise SpecError(
            f"pipeline file {file} does not have its pipeline's name",
            got=pipeline.name,
            expected=file.stem,
            hint=f"Rename the file to {pipeline.name}{file.suffix}, or the pipeline to {file.stem}.",
        )
    return pipeline


def parse_pipeline(raw: dict[str, Any], *, where: str, folder: Path | None = None) -> Pipeline:
    """Return the pipeline in a mapping.

    :param where: what an error calls the mapping.
    :param folder: what a relative `data.source.uri` is relative to.
    :raises SpecError: as `load_pipeline`.
    """
    # Notifiers are Airflow's own, with all of its variables: a message names its DAG and its run.
    rendered = {key: value for key, value in raw.items() if key != "notifications"}
    # At once before one by one, which takes long when thousands of files are parsed: JSON has no such mark of its own.
    # A key that JSON has no word for, such as a date, is no section's.
    if _TEMPLATE.search(json.dumps(rendered, default=str, skipkeys=True)) and (
        strange := list(islice(_strange_templates(rendered), MAX_PROBLEMS))
    ):
        raise SpecError(
            f"{where} uses template variables that do not exist",
            problems=strange,
            expected="{{ as_of }} alone",
        )
    try:
        pipeline = Pipeline.model_validate(raw)
    except ValidationError as error:
        # To put one into words looks for the nearest key, which takes long for thousands.
        count, found = error.error_count(), error.errors(include_url=False)[:MAX_PROBLEMS]
        raise SpecError(
            f"{where} has {count} wrong setting{'s' if count > 1 else ''}:",
            problems=[_problem(problem) for problem in found],
            more=count - len(found),
        ) from error
    return _with_absolute_uri(pipeline, folder)


def _with_absolute_uri(pipeline: Pipeline, folder: Path | None) -> Pipeline:
    uri = pipeline.data.source.uri
    if folder is None or uri is None or "://" in uri or Path(uri).is_absolute():
        return pipeline
    source = pipeline.data.source.model_copy(update={"uri": str(folder.resolve() / uri)})
    return pipeline.model_copy(update={"data": pipeline.data.model_copy(update={"source": source})})


def _problem(problem: Any) -> str:
    """Return one sentence: the path, what is wrong, what was got, the nearest valid key."""
    location = _in_file(problem["loc"], is_key=problem["type"] == "extra_forbidden")
    path = ".".join(str(part) for part in location) or "the file"
    if problem["type"] == "extra_forbidden":
        key, valid = str(location[-1]), _valid_keys(location[:-1])
        nearest = difflib.get_close_matches(key, valid, n=1)
        return f"{path}: unknown key {key!r}" + (
            f"; did you mean {nearest[0]!r}?" if nearest else f"; known: {', '.join(sorted(valid))}" if valid else ""
        )
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] in ("missing", "value_error"):
        return f"{path}: {message}"
    if problem["type"] == "string_pattern_mismatch":
        pattern = problem["ctx"]["pattern"]
        message = f"expected {PATTERNS_IN_WORDS.get(pattern, f'what matches {pattern}')}"
    elif problem["type"] == "model_type" and (valid := _valid_keys(location)):
        message = f"expected keys with values, of {', '.join(valid)}"
    return f"{path}: {message}, got {problem['input']!r}"


def _in_file(location: Sequence[Any], *, is_key: bool) -> list[Any]:
    """Return the place of an error without what pydantic adds to it: which kind of several a value was taken for.

    :param is_key: the last part is a key of the file, whatever it is called.
    """
    place: list[Any] = []
    kind_at = -1
    for number, part in enumerate(location):
        kinds = {kind for model in _models_at(place) if "kind" in model.model_fields for kind in _kinds_of(model)}
        last = is_key and number == len(location) - 1
        if (part in kinds or part in METRIC_KINDS) and kind_at != len(place) and not last:
            kind_at = len(place)
        else:
            place.append(part)
    return place


def _kinds_of(model: type[BaseModel]) -> tuple[Any, ...]:
    return get_args(model.model_fields["kind"].annotation)


def _valid_keys(location: list[Any]) -> list[str]:
    """Return the keys that the model at a path knows."""
    return sorted({name for model in _models_at(location) for name in model.model_fields})


def _models_at(location: Sequence[Any]) -> list[type[BaseModel]]:
    models: list[type[BaseModel]] = [Pipeline]
    for part in location:
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        if fields:
            models = [found for field in fields for found in _models_in(field.annotation)]
    return models


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models_in(argument)]


def _strange_templates(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            for part in (key, item):
                yield from _strange_templates(part, f"{path}.{key}" if path else str(key))
    # A mapping from Python has sets, pairs and bytes too, all of which become lists and text on the way to a task.
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, list | tuple | set | frozenset):
        for index, item in enumerate(value):
            yield from _strange_templates(item, f"{path}.{index}")
    if isinstance(value, str):
        for match in _TEMPLATE.finditer(value):
            if match.group(1) is None or match.group(1).strip() != "as_of":
                yield f"{path}: {match.group(0)}"
