"""Every command of the documentation, carried out as it stands there on one real Airflow.

A command is found in the text, so one that is new is run, or fails, without a word here. A block is one shell.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from typing import TYPE_CHECKING, NamedTuple

import pytest
from documented_world import write_champions, write_customers, write_pipelines
from runs import Run, registry, runs, settled
from warm_airflow import warm_airflow

from airflow_mlops_provider.overview import timeline
from demo import write_environment
from local_airflow import LocalAirflow
from write_docs import ROOT, documents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Block

#: What is not carried out here, and why. The rest of tests/docs reads these commands.
NOT_RUN = {
    "make *": "CI is `make lint test`; the other targets have tests of what they start",
    "pip install *": "CI installs the project so; here it would change the environment of the tests",
    "docker *": "pulls images; tests/unit/test_compose.py and tests/integration/test_docker_runtime.py",
    "*mlflow server *": "serves until it is ended; tests/faults/test_mlflow_access.py",
    "airflow celery worker *": "serves until it is ended; tests/integration/test_celery_topology.py",
    "airflow triggerer": "serves until it is ended; this Airflow has one",
    "python benchmarks/*": "measures for minutes",
    "python -m airflow_mlops_provider run STEP": "a form, not a command; tests/unit/test_container_entry.py",
    "airflow dags trigger --logical-date 2013-03-01": "a form; docs/training.md has the command",
    "airflow mlops backtest": "a name; docs/time-machine.md has the commands",
    "airflow mlops …": "a name",
    "airflow mlops": "a name",
    "airflow mlops init": "a name",
    "airflow mlops promote": "a name; docs/cli.md has the commands",
    "airflow mlops promote --approve-as NAME": "a form; tests/unit/airflow/commands/test_approval_by_hand.py",
    "python tools/write_formats.py": "writes into the project; tests/unit/stored/test_formats.py",
}
#: Commands that need what others have done come after them, and what takes long without Airflow comes in between.
_ORDER = ("_training", "unpause", "", "mlops backtest", "_scoring", "mlops promote", "rollback")
_SHELL = re.compile(r"^```(?:sh|bash|shell|console)\n(.*?)^```$", re.DOTALL | re.M)
_TRIGGER = re.compile(r"airflow dags trigger (\w+)|airflow mlops rollback (\w+)")
_INLINE = re.compile(r"`((?:airflow|docker|helm|kubectl|make|mlflow|pip|python3?|uv) [^`]+)`")


class Script(NamedTuple):
    """The commands of one block, or one command within a sentence."""

    document: str
    commands: tuple[str, ...]

    @property
    def run(self) -> list[str]:
        return [command for command in self.commands if reason(command) is None]

    @property
    def rank(self) -> int:
        named = [part for part in _ORDER if part and any(part in command for command in self.run)]
        return max(map(_ORDER.index, named), default=_ORDER.index(""))


def reason(command: str) -> str | None:
    """Return why a command is not carried out."""
    return next((why for form, why in NOT_RUN.items() if fnmatch(command, form)), None)


def scripts() -> list[Script]:
    """Return every script of the documentation, each once in a document."""
    found = {}
    for file in documents():
        text, name = file.read_text(encoding="utf-8"), file.relative_to(ROOT).as_posix()
        for body in _SHELL.findall(text):
            found[Script(name, tuple(line for line in body.replace("\\\n", "").splitlines() if line.strip()))] = None
        for command in _INLINE.findall(text):
            found[Script(name, (" ".join(command.split()),))] = None
    return list(found)


EVERY = scripts()
#: What was trained before: the documentation goes back twice.
FORMER = ("02-01", "02-15")
RUN = sorted((script for script in EVERY if script.run), key=lambda script: script.rank)


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, blocks: list[Block], databases: Path) -> Iterator[LocalAirflow]:
    """An Airflow as a reader of the documentation has it, with two champions of February."""
    folder = tmp_path_factory.mktemp("reader")
    pipelines, data = folder / "pipelines", folder / "data"
    pipelines.mkdir()
    data.mkdir()
    (folder / "drafts").mkdir()
    shutil.copytree(ROOT / "dags", folder / "dags")
    write_pipelines(pipelines)
    write_customers(folder / "customers.csv")
    follow_the_quickstart(folder, blocks)
    settings = {
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        "AIRFLOW__MLOPS__WARM_IMPORTS": "True",
    }
    home = folder / ".demo"
    with LocalAirflow(
        home,
        dags=folder / "dags",
        pipelines=pipelines,
        environment=settings,
        triggerer=True,
        databases=databases,
    ) as running:
        write_environment(running)
        for dag_id in ("flight_delays_training", "flight_delays_scoring", "flight_delays_rollback", "churn_rollback"):
            running.wait_for_dag(dag_id)
            running.patch(f"/api/v2/dags/{dag_id}", {"is_paused": False})
        for day in FORMER:
            body = {"dag_run_id": day, "logical_date": None, "conf": {"as_of": f"2013-{day}T00:00:00Z"}}
            running.post("/api/v2/dags/flight_delays_training/dagRuns", body)
        write_champions(running, pipelines)
        yield running


def follow_the_quickstart(folder: Path, blocks: list[Block]) -> None:
    """Make the data and the pipeline file that the quickstart's reader makes."""
    own = [block for block in blocks if block.document == "docs/quickstart.md"]
    [pipeline] = [block.body for block in own if block.name == "tumours.yaml"]
    [data] = [block.body for block in own if block.language == "python" and "/data/" in block.body]
    made = f"{folder}/data/"
    exec(compile(data.replace("/data/", made), "docs/quickstart.md", "exec"), {})
    (folder / "pipelines" / "tumours.yaml").write_text(pipeline.replace("/data/", made), encoding="utf-8")


@pytest.fixture(scope="module")
def command(airflow: LocalAirflow) -> Iterator[Path]:
    """The folder of an `airflow` that needs no seconds to start; a shell that reads `.demo/env` gets the other."""
    with warm_airflow(airflow.home.parent / "bin", airflow.environment) as folder:
        yield folder


@pytest.mark.parametrize("script", RUN, ids=lambda script: f"{script.document}: {script.run[-1]}"[:110])
def test_it_does_what_it_says(script: Script, airflow: LocalAirflow, command: Path) -> None:
    if script.rank >= _ORDER.index("_scoring"):
        settled(airflow, "flight_delays", "training", "scoring")
    before = {dag_id: manual(airflow, dag_id) for dag_id in triggered(script)}
    message = carry_out(script, airflow, command)
    for dag_id, names in before.items():
        assert len(manual(airflow, dag_id) - names) == triggered(script).count(dag_id)
    for line in script.run:
        if line.startswith("airflow connections add"):
            check_connection(line, airflow)
        if line.startswith("airflow mlops backtest"):
            assert message.count("\nthis policy ") == sum("mlops backtest" in one for one in script.run)
        if "--plot" in line:
            assert "<svg" in (airflow.home.parent / line.split("--plot ")[1].split()[0]).read_text(encoding="utf-8")


def carry_out(script: Script, airflow: LocalAirflow, first: Path) -> str:
    """Run a script in the folder around `.demo`; what it prints. It knows which Airflow only if it says so itself."""
    tells = any(command.startswith(". ") for command in script.run)
    # Where a file of the name is already, none is written.
    drafting = any(command.startswith("airflow mlops init") for command in script.run)
    drafts = {"AIRFLOW__MLOPS__PIPELINES_FOLDER": str(airflow.home.parent / "drafts")} if drafting else {}
    path = f"{first}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e"],
        input="\n".join(script.run).replace(" /data/", f" {airflow.home.parent}/data/"),
        env=(os.environ if tells else airflow.environment | drafts) | {"PATH": path},
        cwd=airflow.home.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script.document}: {script.run}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def triggered(script: Script) -> list[str]:
    """Return the DAGs that a script triggers, as often as it does."""
    found = [_TRIGGER.match(command) for command in script.run if "--direct" not in command]
    return [one[1] or f"{one[2]}_rollback" for one in found if one is not None]


def manual(airflow: LocalAirflow, dag_id: str) -> set[str]:
    airflow.wait_for_dag(dag_id)
    return {str(run["dag_run_id"]) for run in runs(airflow, dag_id, run_type="manual")}


def check_connection(command: str, airflow: LocalAirflow) -> None:
    """See that a connection is what was asked for, and delete it: another document adds its own by the same name."""
    _, _, _, name, *words = shlex.split(command)
    options = dict(zip(words[::2], words[1::2], strict=True))
    message = json.loads(options["--conn-json"]) if "--conn-json" in options else options
    stored = airflow.get(f"/api/v2/connections/{name}")
    for key, option in {"conn_type": "--conn-type", "host": "--conn-host", "login": "--conn-login"}.items():
        assert stored[key] == message.get(key, message.get(option)), key
    airflow.delete(f"/api/v2/connections/{name}")


def test_the_commands_that_init_prints_train_what_it_wrote(airflow: LocalAirflow, command: Path) -> None:
    pipelines = airflow.settings["AIRFLOW__MLOPS__PIPELINES_FOLDER"]
    init = f"airflow mlops init /data/tumours.csv --target target --name printed --output-dir {pipelines}"
    printed = carry_out(Script("init", (init,)), airflow, command)
    [commands] = [line.removeprefix("To train: ") for line in printed.splitlines() if line.startswith("To train: ")]
    # Drafting elsewhere is for the commands of the documentation alone.
    carry_out(Script("printed", (commands,)), airflow, command)
    assert len(manual(airflow, "printed_training")) == 1
    settled(airflow, "printed", "training")


def test_every_run_ends_in_success(airflow: LocalAirflow) -> None:
    settled(airflow, "flight_delays", "training", "scoring", "rollback")
    settled(airflow, "tumours", "training")
    settled(airflow, "churn", "rollback")
    ended = {
        f"{dag['dag_id']} {run['dag_run_id']}": run["state"]
        for dag in airflow.every("/api/v2/dags", "dags")
        for run in runs(airflow, dag["dag_id"])
    }
    assert set(ended.values()) == {"success"}, ended


def test_both_ways_to_name_a_date_train_on_what_was_known_then(airflow: LocalAirflow) -> None:
    names = sorted(manual(airflow, "flight_delays_training") - set(FORMER))
    found = [Run(airflow, "flight_delays", name).value("ingest")["as_of"] for name in names]
    assert found == ["2013-03-01T00:00:00Z"] * 2


def test_the_readers_own_pipeline_has_a_champion(airflow: LocalAirflow) -> None:
    assert [(entry.action, entry.version) for entry in registry(airflow).history("tumours")] == [("promote", 1)]


def test_the_partition_lies_where_the_documentation_says(airflow: LocalAirflow) -> None:
    assert (airflow.artifacts / "predictions/flight_delays/as_of=2013-07-01/predictions.parquet").is_file()


def test_the_rollback_is_in_the_ledger_with_its_reason(airflow: LocalAirflow) -> None:
    [*_, entry] = registry(airflow).history("flight_delays")
    assert (entry.action, entry.reason) == ("rollback", "It misses every late flight of EV.")


def test_the_champions_made_by_hand_are_in_the_ledger_with_their_reasons(airflow: LocalAirflow) -> None:
    settled(airflow, "churn", "rollback")
    tenures = timeline(registry(airflow).history("churn"))[4:]
    assert [one.action for one in tenures[:2]] == ["quarantine", "lift"]
    entries = tenures[2:]
    assert [entry.action for entry in entries] == ["promote", "rollback", "rollback"]
    message = [entry.reason for entry in entries]
    assert message[0].startswith("The holdout had no winter; the business wants the newer one.")
    assert sorted(message[1:]) == [
        "It misses every customer of plan B.",
        "The scheduler is down, the champion is wrong.",
    ]
    assert [entry.version for entry in entries if "scheduler" in entry.reason] == [2], (
        "who served on the third of March"
    )


def test_a_pipeline_file_is_written_as_it_is_named(airflow: LocalAirflow) -> None:
    drafts = airflow.home.parent / "drafts"
    assert sorted(file.name for file in drafts.iterdir()) == ["churn.yaml", "customers.yaml", "tumours.yaml"]


@pytest.mark.parametrize("form", NOT_RUN)
def test_what_is_not_run_is_in_the_documentation(form: str) -> None:
    assert any(fnmatch(command, form) for script in EVERY for command in script.commands), f"nothing is like {form}"


def test_every_benchmark_of_the_documentation_takes_its_arguments() -> None:
    for script in EVERY:
        for command in script.commands:
            if command.startswith("python benchmarks/"):
                _, file, *arguments = command.split()
                assert (ROOT / file).is_file()
                if not arguments:
                    continue
                shown = subprocess.run(
                    [sys.executable, file, *arguments, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
                )
                assert shown.returncode == 0, shown.stderr
                assert all(option in shown.stdout for option in arguments if option.startswith("--"))
