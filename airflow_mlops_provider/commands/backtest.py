"""`airflow mlops backtest`: a pipeline's past replayed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.commands.terminal import command, find_pipeline, print_table, print_value

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from datetime import datetime, timedelta
    from pathlib import Path

    from airflow_mlops_provider.backtest import Replay, ReplayEvent, Steps
    from airflow_mlops_provider.spec import Monitoring, Pipeline


@command
def backtest(args: Namespace) -> None:
    """Replay a pipeline's past and print what came of it."""
    from datetime import UTC, datetime

    from airflow_mlops_provider.backtest import replay, replay_page
    from airflow_mlops_provider.run_context import not_of_future, parse_as_of

    start, end = (
        not_of_future(parse_as_of(text, option), option, datetime.now(UTC))
        for text, option in ((args.start, "--from"), (args.end, "--to"))
    )
    pipeline, plot = find_pipeline(args.pipeline), _plot(args.plot)
    found = replay(
        _steps(pipeline, args.store),
        start=start,
        end=end,
        step=_step(pipeline, args.step, start),
        policy=_policy(pipeline, args.settings),
        every_step=args.every_step,
        on_event=_say if args.output in ("table", "plain") else None,
    )
    if plot is not None:
        plot.write_text(replay_page(found), encoding="utf-8")
    if args.output in ("json", "yaml"):
        print_value(json.loads(found.model_dump_json()), args.output)
    else:
        _print_table(found, args.output)


def _say(event: ReplayEvent) -> None:
    """Print what the pipeline's own policy does; what the others do, each step or never, says little."""
    from airflow_mlops_provider.backtest import OWN

    if event.policy == OWN:
        print(event.sentence(), flush=True)


def _step(pipeline: Pipeline, given: str | None, start: datetime) -> timedelta:
    """Return the time between two windows: the requested one, else that between the pipeline's own runs."""
    from datetime import timedelta

    from airflow_mlops_provider.dag_templates.schedule import interval
    from airflow_mlops_provider.operators.data import duration

    if given is not None:
        return duration(given, "--step")
    return timedelta(days=1) if pipeline.schedule is None else interval(pipeline.name, pipeline.schedule, start)


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
    from airflow_mlops_provider.hooks.connections import password_of
    from airflow_mlops_provider.hooks.object_storage import ObjectStorageHook
    from airflow_mlops_provider.hooks.sql import read_sql
    from airflow_mlops_provider.operators.step import allow_list

    store = ObjectStorageHook(folder or str(Path(AIRFLOW_HOME) / "mlops-backtest")).store()
    return Steps(pipeline, store, allow_list(), read_sql, password_of)


def _plot(file: str | None) -> Path | None:
    """Return the file to write, before an hour is spent on what cannot be written."""
    from pathlib import Path

    from airflow_mlops_provider.exceptions import SpecError

    if file is None:
        return None
    path = Path(file)
    if not path.absolute().parent.is_dir() or path.is_dir():
        raise SpecError("the --plot file cannot be written", got=file, expected="a file in a folder that exists")
    return path


def _print_table(found: Replay, output: str) -> None:
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
    print_table(rows, output)
    print(
        f"{sum(found.computed.values())} steps computed ({found.computed.get('train', 0)} trainings), "
        f"{sum(found.cached.values())} found in the store, {found.seconds:.1f} s"
    )
