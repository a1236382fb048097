"""The commands `airflow mlops …`.

Airflow imports this module and calls `mlops_commands` for every `airflow` command, so it imports nothing but what that
has loaded already; what a command needs is imported when it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ARG_VERBOSE, ActionCommand, Arg, GroupCommand, lazy_load_command

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from pathlib import Path

    from airflow.cli.cli_config import CLICommand

    from airflow_mlops_provider.backtest import Event, Replay, Steps
    from airflow_mlops_provider.spec import Monitoring, Pipeline

#: Airflow's own class has no types.
_arg: Any = Arg
_ARGS = (
    _arg(("pipeline",), help="Name of the pipeline, which is its file's name"),
    _arg(("--from",), dest="start", required=True, metavar="DATE", help="The first training: a date, or a UTC moment"),
    _arg(("--to",), dest="end", required=True, metavar="DATE", help="The last window: a date, or a UTC moment"),
    _arg(("--step",), default="1d", help="From one window to the next, such as 7d (default: 1d)"),
    _arg(
        ("--set",),
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="Another value in the section monitoring, such as retraining.after=3; may be given several times",
    ),
    _arg(("-o", "--output"), choices=("table", "json"), default="table", help="Output format (default: table)"),
    _arg(("--plot",), metavar="FILE", help="Also write a page with the live metric as lines"),
    _arg(("--store",), metavar="FOLDER", help="Where results are kept (default: mlops-backtest in AIRFLOW_HOME)"),
    ARG_VERBOSE,
)


def mlops_commands() -> list[CLICommand]:
    """Return the commands that this provider adds."""
    backtest = ActionCommand(
        name="backtest",
        help="Replay a pipeline's past: when it would have retrained, and what it would have been worth",
        description="Replays a pipeline's past with its own steps, gates and monitoring, and sets three policies side "
        "by side: never retrain, retrain every step, and the pipeline's own. Nothing is written but a folder of "
        "results, from which a second replay is far faster.",
        func=lazy_load_command("airflow_mlops_provider.commands.backtest"),
        args=_ARGS,
    )
    return [GroupCommand(name="mlops", help="Tools for models", subcommands=(backtest,))]


def backtest(args: Namespace) -> None:
    """Replay a pipeline's past and print what came of it; a mistake is one line and exit code 1."""
    from airflow.utils.cli import suppress_logs_and_warning

    from airflow_mlops_provider.exceptions import MLOpsError

    try:
        suppress_logs_and_warning(_backtest)(args)
    except MLOpsError as error:
        raise SystemExit(str(error)) from error


def _backtest(args: Namespace) -> None:
    from airflow_mlops_provider.backtest import replay, replay_page
    from airflow_mlops_provider.operators.data import duration
    from airflow_mlops_provider.run_context import parse_as_of

    start, end = parse_as_of(args.start, "--from"), parse_as_of(args.end, "--to")
    step = duration(args.step, "--step")
    pipeline, plot = _pipeline(args.pipeline), _plot(args.plot)
    found = replay(
        _steps(pipeline, args.store),
        start=start,
        end=end,
        step=step,
        policy=_policy(pipeline, args.settings),
        tell=_say if args.output == "table" else None,
    )
    if plot is not None:
        plot.write_text(replay_page(found), encoding="utf-8")
    if args.output == "json":
        print(found.model_dump_json(indent=1))
    else:
        _print_table(found)


def _say(event: Event) -> None:
    """Print what the pipeline's own policy does; what the others do, each step or never, says little."""
    from airflow_mlops_provider.backtest import OWN

    if event.policy == OWN:
        print(event.sentence(), flush=True)


def _pipeline(name: str) -> Pipeline:
    from airflow_mlops_provider.dag_templates.folder import pipelines_folder
    from airflow_mlops_provider.exceptions import SpecError
    from airflow_mlops_provider.pipelines import load_pipeline, pipeline_files

    folder = pipelines_folder()
    files = {file.stem: file for file in pipeline_files(folder)}
    if name not in files:
        raise SpecError(f"there is no pipeline {name!r} in {folder}", expected=", ".join(files) or "a pipeline file")
    return load_pipeline(files[name])


def _policy(pipeline: Pipeline, settings: Sequence[str]) -> Monitoring | None:
    """Return the pipeline's section monitoring with other settings.

    :raises SpecError: names the setting that is wrong.
    """
    import yaml
    from pydantic import ValidationError

    from airflow_mlops_provider.exceptions import SpecError
    from airflow_mlops_provider.spec import Monitoring

    if pipeline.monitoring is None:
        return None
    section = pipeline.monitoring.model_dump(mode="json")
    for setting in settings:
        path, _, value = setting.partition("=")
        *parents, key = path.strip().removeprefix("monitoring.").split(".")
        try:
            place: dict[str, Any] = section
            for parent in parents:
                place = place[parent]
            place[key] = yaml.safe_load(value)
            Monitoring.model_validate(section)
        except (KeyError, TypeError, yaml.YAMLError) as error:
            raise SpecError("--set names nothing in the section monitoring", got=setting) from error
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise SpecError("--set is wrong", got=setting, hint=f"{path}: {why}.") from error
    return Monitoring.model_validate(section)


def _steps(pipeline: Pipeline, folder: str | None) -> Steps:
    from pathlib import Path

    from airflow.configuration import AIRFLOW_HOME

    from airflow_mlops_provider.backtest import Steps
    from airflow_mlops_provider.hooks.object_storage import ObjectStorageHook
    from airflow_mlops_provider.hooks.sql import read_sql
    from airflow_mlops_provider.operators.step import allow_list

    store = ObjectStorageHook(folder or str(Path(AIRFLOW_HOME) / "mlops-backtest")).store()
    return Steps(pipeline, store, allow_list(), read_sql)


def _plot(file: str | None) -> Path | None:
    """Return the file to write, before an hour is spent on what cannot be written."""
    from pathlib import Path

    from airflow_mlops_provider.exceptions import SpecError

    if file is None:
        return None
    path = Path(file)
    if not path.absolute().parent.is_dir() or path.is_dir():
        raise SpecError("--plot cannot be written", got=file, expected="a file in a folder that exists")
    return path


def _print_table(found: Replay) -> None:
    from airflow.cli.simple_table import AirflowConsole

    rows = [
        {
            "policy": one.policy,
            f"mean {found.metric}": "-" if one.live is None else f"{one.live:.5g}",
            "trainings": one.trainings,
            "promotions": one.promotions,
            "rollbacks": one.rollbacks,
        }
        for one in found.policies
    ]
    suppressed = sum(decision.suppressed for decision in found.decisions)
    print(f"\n{found.windows} windows, {found.rows} labelled rows, {suppressed} requests suppressed by the governor")
    AirflowConsole().print_as_table(rows)
    print(
        f"{sum(found.computed.values())} steps computed ({found.computed.get('train', 0)} trainings), "
        f"{sum(found.cached.values())} found in the store, {found.seconds:.1f} s"
    )
