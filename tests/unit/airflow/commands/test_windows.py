"""Monitoring that can speak: the windows that a draft proposes, and what `check` warns of."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import yaml

from airflow_mlops_provider.drafting import draft_pipeline
from airflow_mlops_provider.drafting.windows import watching_of
from airflow_mlops_provider.monitoring.governor import Decision
from airflow_mlops_provider.monitoring.probation import WindowComparison
from airflow_mlops_provider.pipelines import parse_pipeline
from airflow_mlops_provider.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def moments(days: int, a_day: float, gap: int = 0) -> pd.Series[Any]:
    """Return evenly spread moments, none of them on every `gap`-th day."""
    found = pd.Series(pd.date_range("2026-01-01", periods=int(days * a_day), freq=f"{86400 / a_day}s", tz="UTC"))
    return found[found.dt.dayofyear % gap != 0] if gap else found


@pytest.mark.parametrize(
    ("days", "a_day", "gap", "window", "schedule"),
    [
        (60, 1000, 0, "1 day", "@daily"),
        (60, 250, 7, "1 day", "@daily"),
        (60, 250, 3, "7 days", "@weekly"),
        (90, 24, 0, "31 days", "@monthly"),
        (60, 60, 0, "7 days", "@weekly"),
        (400, 4, 0, "92 days", "@quarterly"),
    ],
)
def test_a_window_holds_rows_enough_to_say_something(
    days: int, a_day: float, gap: int, window: str, schedule: str
) -> None:
    times = moments(days, a_day, gap)
    found = watching_of(times, len(times))
    assert (found.scoring, found.schedule) == ({"window": window}, schedule)
    probation = {} if window == "1 day" else {"probation": {"length": f"{2 * int(window.split()[0])} days"}}
    assert found.monitoring == {"live": {"margin": 0.2, "margin_of": "skill"}, **probation}


@pytest.mark.parametrize(("days", "a_day"), [(144 * 30, 1 / 30), (300, 1), (0.5, 1000)])
def test_where_no_window_would_do_none_is_proposed(days: float, a_day: float) -> None:
    times = moments(1, days * a_day) if days < 1 else moments(int(days), a_day)
    found = watching_of(times, len(times))
    assert found.scoring is None
    assert "that many rows took about" in found.why


def test_rows_without_a_time_are_scored_all() -> None:
    assert watching_of(None, 150).scoring is None
    assert watching_of(None, 500).scoring == {}


def write(folder: Path, a_day: int, days: int = 60) -> Path:
    times = moments(days, a_day)
    chance = np.random.default_rng(0)
    size = chance.normal(0, 1, len(times))
    file = folder / "loads.csv"
    pd.DataFrame({"at": times, "size": size, "y": size + chance.normal(0, 1, len(times))}).to_csv(file, index=False)
    return file


def with_proposals(text: str) -> dict[str, Any]:
    """Return a draft whose proposals are taken out of their comments."""
    lines = [
        line.removeprefix("# ") if line.startswith(("# s", "# m")) and ": {" in line else line
        for line in text.splitlines()
    ]
    found: dict[str, Any] = yaml.safe_load("\n".join(lines))
    return found


@pytest.mark.parametrize("a_day", [24, 60, 500])
def test_what_a_draft_proposes_is_a_pipeline(a_day: int, tmp_path: Path) -> None:
    spec = with_proposals(draft_pipeline(write(tmp_path, a_day), target="y").text)
    pipeline = parse_pipeline(spec, where="the proposals")
    assert pipeline.scoring is not None
    assert pipeline.monitoring is not None
    rows = a_day * pipeline.scoring.window.days
    assert rows >= max(pipeline.monitoring.drift.min_rows, pipeline.monitoring.live.min_rows)
    assert pipeline.monitoring.probation.length >= pipeline.scoring.window
    assert pipeline.schedule is not None


@pytest.mark.parametrize(("window", "warned"), [("1 day", True), ("7 days", True), ("10 days", False)])
def test_check_warns_of_monitoring_that_would_never_say_anything(
    window: str, warned: bool, run: Callable[..., Any], worker: Any, pipelines: Path, tmp_path: Path
) -> None:
    assert run("init", str(write(tmp_path, 24)), "--target", "y")[0] == 0
    file = pipelines / "loads.yaml"
    file.write_text(f"{file.read_text()}\nscoring: {{window: {window}}}\nmonitoring: {{}}\n")
    code, out, _ = run("check", "loads", "--offline", "-o", "json")
    found = [one["detail"] for one in json.loads(out) if one["check"] == "monitoring"]
    assert (code, bool(found)) == (0, warned)
    if warned:
        assert f"a scoring.window of {window}" in found[0]
        assert "monitoring.drift.min_rows is 200, monitoring.live.min_rows is 200" in found[0]
        assert found[0].endswith("That many rows take about 9 days.")


def test_check_warns_of_a_probation_that_its_last_look_found_too_short(
    run: Callable[..., Any], worker: Any, mlflow: str, pipelines: Path, tmp_path: Path
) -> None:
    assert run("init", str(write(tmp_path, 24)), "--target", "y")[0] == 0
    file = pipelines / "loads.yaml"
    file.write_text(f"{file.read_text()}\nscoring: {{window: 10 days}}\nmonitoring: {{}}\n")
    comparison = WindowComparison(difference=0.0, variance=0.01, rows=240)
    registry = Registry.connect(mlflow)
    for day, words in ((1, "too short by far"), (2, "to see a loss of 0.1, it has to be 12 days"), (3, None)):
        looked = {} if words is None else {"comparison": comparison, "underpowered": words}
        as_of = datetime(2026, 3, day, tzinfo=UTC)
        decision = Decision(as_of=as_of, action="keep", rule="healthy", reasons=["no drift"], **looked)
        registry.write_decision("loads", as_of, decision.model_dump(mode="json"))
    _, out, _ = run("check", "loads", "-o", "json")
    found = [(one["outcome"], one["detail"]) for one in json.loads(out) if one["check"] == "probation"]
    assert found == [("warning", "to see a loss of 0.1, it has to be 12 days")], "the last look counts"


@pytest.mark.parametrize("there", [True, False])
def test_what_init_prints_names_what_the_dags_folder_lacks(
    there: bool, run: Callable[..., Any], pipelines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dags = tmp_path / "dags"
    (dags / "models").mkdir(parents=True)
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(dags))
    lines = "from airflow_mlops_provider.dag_templates import pipeline_dags\nglobals().update(pipeline_dags())\n"
    if there:
        (dags / "models" / "all.py").write_text(lines)
    code, out, _ = run("init", str(write(tmp_path, 24)), "--target", "y", "--output-dir", str(tmp_path / "elsewhere"))
    assert code == 0
    assert ("No file in the DAGs folder creates DAGs" in out) is not there
    assert all((line in out) is not there for line in lines.splitlines())
    assert f"Airflow reads pipeline files in {pipelines}: move it there first." in out
    commands = ("reserialize", "unpause loads_training", "trigger loads_training")
    assert f"To train: {' && '.join(f'airflow dags {one}' for one in commands)}\n" in out


def test_check_finds_functions_that_would_not_take_their_params_and_tables_of_two_pipelines(
    run: Callable[..., Any], worker: Any, pipelines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "given.py").write_text("""
def gate(evaluation, least): ...
def sink(tables, folder): ...
def own_score(y_true, y_score, frame=None, *, least): ...
""")
    monkeypatch.syspath_prepend(str(plugins))
    monkeypatch.setenv("AIRFLOW__CORE__PLUGINS_FOLDER", str(plugins))
    table = {"kind": "sql", "conn_id": "warehouse", "table": "loads"}
    for name in ("one", "two"):
        assert run("init", str(write(tmp_path, 24)), "--target", "y", "--name", name)[0] == 0
        spec = yaml.safe_load((pipelines / f"{name}.yaml").read_text())
        spec["gates"] = [{"kind": "custom", "function": "given.gate", "params": {} if name == "one" else {"least": 1}}]
        spec["scoring"] = {"sinks": [table, {"kind": "function", "function": "given.sink", "params": {"folder": "/x"}}]}
        metric = {"function": "given.own_score", "params": {} if name == "one" else {"least": 1}}
        spec["evaluation"]["metrics"].append(metric)
        (pipelines / f"{name}.yaml").write_text(yaml.safe_dump(spec))
    code, out, _ = run("check", "one", "two", "--offline", "-o", "json")
    found = {(one["subject"], one["check"]): (one["outcome"], one["detail"]) for one in json.loads(out)}
    assert code == 1
    assert found["one", "gate gate"][0] == "wrong"
    assert (
        "given.gate does not accept its arguments: got missing a required argument: 'least'"
        in found["one", "gate gate"][1]
    )
    assert found["two", "gate gate"][0] == "ok"
    assert "missing a required argument: 'least'" in found["one", "metric own_score"][1]
    assert found["two", "metric own_score"] == ("ok", "given.own_score")
    assert "got an unexpected keyword argument" in found["one", "sink given.sink"][1]
    assert "pipeline 'one' also writes this table" in found["two", "sink table loads of warehouse"][1]
