"""`airflow mlops init`: a pipeline file from a data file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.commands.terminal import command, print_table

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from airflow_mlops_provider.drafting import Draft

_DAG_FILE = ("from airflow_mlops_provider.dag_templates import pipeline_dags", "globals().update(pipeline_dags())")
#: More files than this are not looked through.
_MAX_DAG_FILES = 2000


@command
def init(args: Namespace) -> None:
    """Write a pipeline file that trains, and say what was chosen."""
    from airflow_mlops_provider.dag_templates.folder import pipelines_folder
    from airflow_mlops_provider.drafting import draft_pipeline
    from airflow_mlops_provider.drafting.draft import pipeline_name

    data = Path(args.file)
    folder = Path(args.output_dir) if args.output_dir else pipelines_folder()
    target = folder / f"{args.name or pipeline_name(data)}.yaml"
    _check_writable(target, force=args.force)
    draft = draft_pipeline(data, target=args.target, timestamp=args.timestamp, keys=args.keys, name=args.name)
    folder.mkdir(parents=True, exist_ok=True)
    target.write_text(draft.text, encoding="utf-8")
    print_table(_rows(draft))
    split = draft.pipeline.preparation.split
    print(f"{draft.rows} rows, a {draft.pipeline.task} target ({draft.roles.why_task}), split by {split.by}.")
    for why in draft.roles.why_csv:
        print(f"Format of the file's values: {why}.")
    name = draft.pipeline.name
    print(f"Written: {target}. Read its comments, then: airflow mlops check {name}")
    for line in _to_train(name, folder):
        print(line)


def _to_train(name: str, folder: Path) -> list[str]:
    """Return what is to be done, in order, until the training runs: Airflow knows no DAG that it has not parsed."""
    from airflow.sdk import conf

    from airflow_mlops_provider.dag_templates.folder import pipelines_folder

    lines = []
    if folder.resolve() != pipelines_folder().resolve():
        lines.append(f"Airflow reads pipeline files in {pipelines_folder()}: move it there first.")
    dags = Path(conf.get("core", "dags_folder")).expanduser()
    if not any(_makes_pipelines(file) for file in sorted(dags.rglob("*.py"))[:_MAX_DAG_FILES]):
        lines.append(
            "No file in the DAGs folder creates DAGs from pipeline files. Write these two lines to "
            f"{dags}/pipelines.py:"
        )
        lines += [f"    {line}" for line in _DAG_FILE]
    training = f"{name}_training"
    commands = ("airflow dags reserialize", f"airflow dags unpause {training}", f"airflow dags trigger {training}")
    lines.append(f"To train: {' && '.join(commands)}")
    wait = conf.getint("dag_processor", "refresh_interval")
    lines.append(f"(The first reads the DAG files at once; otherwise Airflow reads them within {wait} seconds.)")
    return lines


def _makes_pipelines(file: Path) -> bool:
    try:
        return "pipeline_dags" in file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _check_writable(target: Path, *, force: bool) -> None:
    """Refuse a file that is there, before the data is read."""
    from airflow_mlops_provider.exceptions import SpecError

    others = [file for file in (target, target.with_suffix(".yml")) if file.exists()]
    if others and (not force or others != [target]):
        raise SpecError(
            f"pipeline file {others[0]} already exists", hint="Choose another --name, or overwrite it with --force."
        )


def _rows(draft: Draft) -> list[dict[str, Any]]:
    columns = draft.pipeline.data.columns
    roles: list[tuple[str, Sequence[str]]] = [
        ("target", [columns.target]),
        ("timestamp", [columns.timestamp] if columns.timestamp else []),
    ]
    roles += [("time of day", draft.pipeline.data.beside)]
    roles += [("key", columns.keys), ("numeric", columns.numeric), ("categorical", columns.categorical)]
    rows = [{"column": name, "role": role, "note": ""} for role, names in roles for name in names]
    return rows + [{"column": name, "role": "not read", "note": why} for name, why in draft.roles.left_out.items()]
