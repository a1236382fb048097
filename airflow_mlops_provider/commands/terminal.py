"""What every command does the same way: errors in one line, exit codes, tables, which pipelines are meant.

Exit codes: 0 when all is well; 1 when something is wrong that a person must act on; 2 for arguments that the command
does not take (argparse's own); 3 when a service could not be reached, so that nothing is known.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from airflow_mlops_provider.registry import Registry
    from airflow_mlops_provider.spec import Pipeline

WRONG, UNREACHABLE = 1, 3
_CONTEXT = "_AIRFLOW_PROCESS_CONTEXT"


def command(body: Callable[[Namespace], None]) -> Callable[[Namespace], None]:
    """Return a command that says a mistake in one line on standard error, and logs nothing unless `--verbose`."""

    @functools.wraps(body)
    def run(args: Namespace) -> None:
        from airflow.utils.cli import suppress_logs_and_warning

        from airflow_mlops_provider.exceptions import MLOpsError, TransientServiceError

        try:
            with _own_connections():
                suppress_logs_and_warning(body)(args)
        except TransientServiceError as error:
            leave(str(error), UNREACHABLE)
        except MLOpsError as error:
            leave(str(error), WRONG)

    return run


@contextmanager
def _own_connections() -> Iterator[None]:
    """Let connections be found in Airflow's database as well, as its own command `connections test` does."""
    before = os.environ.get(_CONTEXT)
    os.environ.setdefault(_CONTEXT, "server")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_CONTEXT, None)


def leave(why: str, code: int) -> NoReturn:
    """End with an exit code, and the reason on standard error."""
    print(why, file=sys.stderr)
    raise SystemExit(code)


def print_rows(rows: Sequence[dict[str, Any]], output: str, values: Any = None) -> None:
    """Print rows in the requested format.

    :param rows: what people read, by column.
    :param values: what scripts read, as plain JSON; the rows when left out.
    """
    if output in ("json", "yaml"):
        print_value(rows if values is None else values, output)
    else:
        print_table(rows, output)


def print_value(value: Any, output: str) -> None:
    """Print plain JSON as JSON, or as YAML."""
    if output == "json":
        print(json.dumps(value, indent=1))
    else:
        import yaml

        print(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), end="")


def print_table(rows: Sequence[dict[str, Any]], output: str = "table") -> None:
    """Print rows as Airflow's own commands do: `table` for a terminal, `plain` for a pipe."""
    from airflow.cli.simple_table import AirflowConsole
    from rich.markup import escape

    shown = [{name: "-" if value is None else str(value) for name, value in row.items()} for row in rows]
    if output == "plain":
        AirflowConsole().print_as_plain_table(shown)
    else:
        # A column or a reason may hold what rich takes for its markup.
        AirflowConsole().print_as_table([{escape(k): escape(v) for k, v in row.items()} for row in shown])


def find_pipeline(name: str) -> Pipeline:
    """Return a pipeline by its name.

    :raises SpecError: there is none; says which there are.
    """
    [pipeline] = find_pipelines([name])
    return pipeline


#: What a folder without pipeline files is for, or not.
NO_PIPELINE_ADVICE = "Create one with `airflow mlops init`, or set [mlops] pipelines_folder."


def find_pipelines(names: Sequence[str] = ()) -> list[Pipeline]:
    """Return the pipelines of these names, or all of them without names.

    When it returns all, it reports a file with a mistake on standard error and skips it, so that the others still work.

    :raises SpecError: there is no such pipeline, or its file is wrong.
    """
    from airflow_mlops_provider.dag_templates.folder import pipelines_folder
    from airflow_mlops_provider.exceptions import SpecError
    from airflow_mlops_provider.pipelines import load_pipeline, pipeline_files

    folder = pipelines_folder()
    files = {file.stem: file for file in pipeline_files(folder)}
    if unknown := [name for name in names if name not in files]:
        there = ", ".join(files) or "a pipeline file"
        raise SpecError(f"there is no pipeline {unknown[0]!r} in {folder}", expected=there)
    if not files:
        print(f"There is no pipeline file in {folder}. {NO_PIPELINE_ADVICE}", file=sys.stderr)
    found = []
    for name in names or files:
        try:
            found.append(load_pipeline(files[name]))
        except SpecError as error:
            if names:
                raise
            print(f"Left out: {' '.join(str(error).split())}", file=sys.stderr)
    return found


def registry_of(pipeline: Pipeline) -> Registry:
    """Return the registry that a pipeline names."""
    from airflow_mlops_provider.hooks.mlflow import MlflowHook

    return MlflowHook(pipeline.promotion.conn_id).registry()


def by_registry(pipelines: Sequence[Pipeline]) -> Iterator[tuple[Registry, list[Pipeline]]]:
    """Yield each registry once, with the pipelines that name it."""
    from airflow_mlops_provider.hooks.mlflow import MlflowHook

    groups: dict[str, list[Pipeline]] = {}
    for pipeline in pipelines:
        groups.setdefault(pipeline.promotion.conn_id, []).append(pipeline)
    for conn_id, members in groups.items():
        yield MlflowHook(conn_id).registry(), members


def moment(when: datetime | None) -> str:
    """Return a moment as tables show it: UTC, to the minute."""
    from airflow_mlops_provider.as_of import in_utc

    return "-" if when is None else in_utc(when).strftime("%Y-%m-%d %H:%M")


def number(value: float | None) -> str:
    """Return a number as tables show it."""
    return "-" if value is None else f"{value:.5g}"


def version_number(text: str, argument: str) -> int:
    """Return a version.

    :raises SpecError: it is no number.
    """
    from airflow_mlops_provider.exceptions import SpecError

    # No longer than MLflow's databases take.
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise SpecError(f"{argument} is not a version", got=text, expected="a number such as 3")
    return int(text)
