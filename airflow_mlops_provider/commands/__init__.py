"""The commands `airflow mlops …`.

Airflow imports this module and calls `mlops_commands` for every `airflow` command, so it imports nothing but what that
has loaded already; what a command needs is imported when it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ARG_OUTPUT, ARG_VERBOSE, ActionCommand, Arg, GroupCommand, lazy_load_command

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand

#: Airflow's own class has no types.
_arg: Any = Arg
_PIPELINE = _arg(("pipeline",), help="Name of the pipeline, which is also the name of its file")
_PIPELINES = _arg(("pipelines",), nargs="*", metavar="PIPELINE", help="Names of pipelines (default: all)")
_REASON = _arg(("--reason",), required=True, help="Reason, in words, to record in the ledger")
_COMMON = (ARG_OUTPUT, ARG_VERBOSE)

_INIT = (
    _arg(("file",), metavar="FILE", help="Data file: .csv, .csv.gz, .csv.zip, .parquet or .jsonl"),
    _arg(("--target",), required=True, metavar="COLUMN", help="Column to predict"),
    _arg(("--timestamp",), metavar="COLUMN", help="Time when a row became known (default: the only column of dates)"),
    _arg(("--keys",), nargs="+", default=[], metavar="COLUMN", help="Columns that identify a row (default: by name)"),
    _arg(("--name",), help="Name of the pipeline (default: the name of the data file)"),
    _arg(("--output-dir",), metavar="FOLDER", help="Folder to write the YAML to (default: that of the pipeline files)"),
    _arg(("--force",), action="store_true", help="Overwrite an existing file"),
    ARG_VERBOSE,
)
_EXAMPLES = (_arg(("folder",), metavar="FOLDER", help="Folder to write to, existing or new"), ARG_VERBOSE)
_CHECK = (
    _PIPELINES,
    _arg(("--offline",), action="store_true", help="Contact no service; check only the files and what they name"),
    _arg(("--folder",), metavar="FOLDER", help="Folder of pipeline files (default: the configured one)"),
    *_COMMON,
)
_HISTORY = (
    _PIPELINE,
    _arg(("--served-at",), metavar="MOMENT", help="Show only what served at this date or UTC moment of wall time"),
    _arg(("--as-of",), metavar="MOMENT", help="Show only entries with this data time or an earlier one"),
    *_COMMON,
)
_DIFF = (
    _PIPELINE,
    _arg(("first",), metavar="V1", help="First version to compare"),
    _arg(("second",), metavar="V2", help="Second version to compare"),
    *_COMMON,
)
_PROMOTE = (
    _PIPELINE,
    _arg(("version",), metavar="VERSION", help="Registered version to promote"),
    _REASON,
    _arg(
        ("--approve-as",),
        metavar="NAME",
        help="Name of the approver, if the pipeline has approval: human and [mlops] approve_on_command_line is set",
    ),
    _arg(("--despite-gates",), action="store_true", help="Promote even if a gate of the current pipeline file fails"),
    _arg(("--allow-older",), action="store_true", help="Promote even if the champion has newer data"),
    _arg(("--lift-quarantine",), action="store_true", help="Promote even if the version was rolled back before"),
    *_COMMON,
)
_ROLLBACK = (
    _PIPELINE,
    _arg(
        ("--to",),
        default="previous",
        metavar="TARGET",
        help="previous (the default), a version, or a moment, which means the version that served then",
    ),
    _REASON,
    _arg(("--direct",), action="store_true", help="Write the ledger in this process instead of starting the DAG"),
    *_COMMON,
)
_QUARANTINE = (
    _PIPELINE,
    _arg(("version",), metavar="VERSION", help="Registered version to put into quarantine"),
    _REASON,
    _arg(("--lift",), action="store_true", help="End the quarantine, so that the version may be promoted again"),
    *_COMMON,
)
_RECONCILE = (
    _PIPELINES,
    _arg(("--dry-run",), action="store_true", help="Only report; the exit code is 1 if an alias differs"),
    *_COMMON,
)
_BACKTEST = (
    _PIPELINE,
    _arg(("--from",), dest="start", required=True, metavar="DATE", help="Date or UTC moment of the first training"),
    _arg(("--to",), dest="end", required=True, metavar="DATE", help="Date or UTC moment of the last window"),
    _arg(("--step",), help="Time between windows, such as 7d (default: the pipeline's cron interval, else 1d)"),
    _arg(
        ("--set",),
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="Override a setting of the section monitoring, such as retraining.after=3; may be given several times",
    ),
    _arg(
        ("--no-every-step",),
        dest="every_step",
        action="store_false",
        help='Leave out the policy "retrain every step", which takes the most time',
    ),
    _arg(("--plot",), metavar="FILE", help="Also write a page with a line chart of the live metric"),
    _arg(("--store",), metavar="FOLDER", help="Folder for results (default: mlops-backtest in AIRFLOW_HOME)"),
    *_COMMON,
)

#: Each is the function of its name in the module of its name: what it does, what its help says besides, its arguments.
_COMMANDS: dict[str, tuple[str, str, tuple[Any, ...]]] = {
    "init": (
        "Write a pipeline file from a data file",
        "Reads a data file, infers the kind of its target, the roles of its columns and what must hold for them, and "
        "writes a pipeline file that is ready to train, with a comment on each choice.",
        _INIT,
    ),
    "examples": (
        "Write the example pipelines, with their readers and DAG files",
        "Writes three pipeline files, the functions that read their data and the DAG files into a folder, and prints "
        "the settings that let Airflow find them. An existing file with other content is never overwritten.",
        _EXAMPLES,
    ),
    "check": (
        "Check pipeline files, their data and their connections",
        "Looks for errors that would fail a run: wrong settings, names that may not be imported, a source that cannot "
        "be read or lacks a column, a connection that does not answer. Exit codes: 0 all is well, 1 something is "
        "wrong, 2 wrong arguments, 3 a service could not be reached.",
        _CHECK,
    ),
    "status": (
        "Show the state of pipelines",
        "Shows the champion of each pipeline, since when it has been serving, its metric, whether it is on probation, "
        "the last decision of monitoring with its reason, and whether MLflow's alias agrees with the ledger.",
        (_PIPELINES, *_COMMON),
    ),
    "history": (
        "Show which version was champion, when and why",
        "Shows the ledger of a pipeline, or the version that served at a given moment.",
        _HISTORY,
    ),
    "diff": (
        "Compare two versions of a model",
        "Shows the differences in data, parameters, metrics with their intervals, gates and slices.",
        _DIFF,
    ),
    "promote": (
        "Make a registered version champion",
        "Judges the version by the gates of the current pipeline file, against the current champion. If it passes, the "
        "command writes it into the ledger, sets the alias and sends the champion event.",
        _PROMOTE,
    ),
    "rollback": (
        "Make an earlier champion serve again",
        "Starts the pipeline's rollback DAG, so that Airflow records who requested it, and sends the champion event. "
        "With --direct, the command writes the ledger in this process, for use when no scheduler runs.",
        _ROLLBACK,
    ),
    "quarantine": (
        "Put a version into quarantine, or lift its quarantine",
        "Records in the ledger that a version may not be promoted, whether it served before or not. If the version is "
        "the champion, it is rolled back instead.",
        _QUARANTINE,
    ),
    "reconcile": (
        "Make MLflow's aliases agree with the ledger",
        "Compares MLflow's alias champion with the ledger, and corrects it where it differs.",
        _RECONCILE,
    ),
    "backtest": (
        "Replay a pipeline's past to see when it would have retrained, and what that would have gained",
        "Replays a pipeline's past with its own steps, gates and monitoring, and compares three policies: never "
        "retrain, retrain every step, and the pipeline's own. It writes only a folder of results, which makes a second "
        "replay far faster.",
        _BACKTEST,
    ),
    "doctor": (
        "Check what pipelines need: versions, settings, connections, services, disk",
        "Makes a round trip to the artifact store and to MLflow, queries the container engine if one is used, and "
        "gives advice on whatever is wrong. The exit codes are those of check.",
        (_PIPELINES, *_COMMON),
    ),
}


def mlops_commands() -> list[CLICommand]:
    """Return the commands that this provider adds."""
    subcommands = tuple(
        ActionCommand(
            name=name,
            help=summary,
            description=description,
            func=lazy_load_command(f"{__name__}.{name}.{name}"),
            args=args,
        )
        for name, (summary, description, args) in _COMMANDS.items()
    )
    return [GroupCommand(name="mlops", help="Commands for pipelines and their models", subcommands=subcommands)]
