"""The time machine over a small world that turns, and over one that does not."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from small_pipeline import small_pipeline

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.backtest import Replay, Steps, replay, replay_page
from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.pipelines import parse_pipeline
from airflow_mlops_provider.spec import Monitoring
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from airflow_mlops_provider.backtest.report import ReplayEvent

PROJECT = Path(__file__).resolve().parents[2]
START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ROWS_A_DAY = 60
TURN = START + 12 * DAY
FIRST, LAST = START + 8 * DAY, START + 20 * DAY
POLICY = {
    "drift": {"min_rows": 50, "numeric_threshold": 0.5, "categorical_threshold": 0.3},
    "live": {"min_rows": 50, "margin": 0.3},
    "retraining": {"after": 2, "cooldown": "7 days", "budget": 2, "period": "30 days", "min_rows": 100},
}
NEVER, ALWAYS, OWN = range(3)


def write_world(folder: Path, *, turns: bool = True, relapses: bool = False, **changes: Any) -> dict[str, Any]:
    """Write a world, in which it is warmer from the turn on and what is good another matter; return its pipeline."""
    chance = random.Random(3)
    lines = ["id,at,warmth,colour,good"]
    for number in range(21 * ROWS_A_DAY):
        at = START + number * DAY / ROWS_A_DAY
        turned = turns and at >= TURN and not (relapses and at >= TURN + DAY)
        warmth, colour = chance.gauss(3 if turned else 0, 1), chance.choice(["red", "green"])
        good = int(warmth + chance.gauss(0, 0.5) > (3 if turned else 0))
        lines.append(f"{number},{at.isoformat()},{warmth:.4f},{colour},{good}")
    folder.mkdir(exist_ok=True)
    (folder / "turning.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sections = {
        "training": {"candidates": {"logistic": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
        "evaluation": {"metrics": ["log_loss"], "latency_calls": 10},
        "scoring": {"window": "1 day"},
        "monitoring": POLICY,
    }
    spec = small_pipeline("turning", folder / "turning.csv", window="5 days", **sections | changes)
    (folder / "turning.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return spec


def steps(spec: dict[str, Any], store: Path) -> Steps:
    return Steps(parse_pipeline(spec, where="the test"), ArtifactStore(store.as_uri()), AllowList())


def own_events(found: Replay) -> list[ReplayEvent]:
    return [event for event in found.events if event.policy == "this policy"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def found(world: dict[str, Any], store: Path) -> Replay:
    return replay(steps(world, store), start=FIRST, end=LAST, step=DAY)


def test_the_policy_retrains_after_the_turn_and_says_why(found: Replay) -> None:
    first, retrained = own_events(found)[:2]
    assert first.as_of == FIRST
    assert TURN < retrained.as_of <= TURN + 3 * DAY
    assert retrained.what == "promoted"
    assert re.match(r"(decay|drift): .*warmth", retrained.why)
    assert all(event.as_of == FIRST or event.as_of > TURN for event in own_events(found))


def test_it_does_better_than_never_and_trains_less_than_always(found: Replay) -> None:
    never, always, own = found.policies
    assert never.live is not None
    assert own.live is not None
    assert always.live is not None
    assert never.live > 1.5 * own.live
    assert never.trainings < own.trainings < always.trainings == found.windows + 1


def test_who_never_retrains_gets_worse_at_the_turn(found: Replay) -> None:
    values: dict[datetime, Any] = {window.as_of: window.values["never retrain"] for window in found.live}
    before = [value for as_of, value in values.items() if as_of <= TURN]
    after = [value for as_of, value in values.items() if as_of > TURN]
    assert max(before) < min(after)


def test_all_are_measured_on_the_same_rows_each_once(found: Replay) -> None:
    assert [window.rows for window in found.live] == [ROWS_A_DAY] * found.windows
    assert found.rows == ROWS_A_DAY * found.windows


def test_every_window_has_its_decision(found: Replay) -> None:
    assert [one.as_of for one in found.decisions] == [FIRST + number * DAY for number in range(1, 13)]
    assert any(one.suppressed and one.why for one in found.decisions)


def test_a_second_replay_with_other_thresholds_trains_nothing(
    found: Replay, world: dict[str, Any], store: Path
) -> None:
    assert found.computed["train"] > 0
    other = Monitoring.model_validate({**POLICY, "retraining": {**POLICY["retraining"], "after": 3}})
    again = replay(steps(world, store), start=FIRST, end=LAST, step=DAY, policy=other)
    assert own_events(again)[1].as_of == own_events(found)[1].as_of + DAY
    assert {"train", "ingest", "prepare", "validate"}.isdisjoint(again.computed)
    assert again.cached["train"] == found.computed["train"] + found.cached.get("train", 0)


def test_the_same_replay_again_computes_nothing(found: Replay, world: dict[str, Any], store: Path) -> None:
    again = replay(steps(world, store), start=FIRST, end=LAST, step=DAY)
    assert again.computed == {}
    assert again.policies == found.policies
    assert again.events == found.events


def test_a_world_that_does_not_turn_is_left_alone(tmp_path: Path) -> None:
    spec = write_world(tmp_path / "world", turns=False)
    found = replay(steps(spec, tmp_path / "store"), start=FIRST, end=FIRST + 4 * DAY, step=DAY)
    assert [event.as_of for event in own_events(found)] == [FIRST]
    assert found.policies[OWN].live == found.policies[NEVER].live


def test_a_champion_of_a_passing_turn_is_rolled_back(tmp_path: Path) -> None:
    policy = {**POLICY, "retraining": {**POLICY["retraining"], "after": 1}}
    spec = write_world(tmp_path / "world", relapses=True, monitoring=policy)
    spec["data"]["window"] = "2 days"
    found = replay(steps(spec, tmp_path / "store"), start=FIRST, end=TURN + 5 * DAY, step=DAY)
    back = [event for event in own_events(found) if event.what == "rolled back"]
    assert [event.why.startswith("probation: ") for event in back] == [True]
    assert "version 20240109 serves again" in back[0].outcome
    assert found.policies[OWN].rollbacks == 1


def test_a_policy_whose_gates_refuse_stays_without_a_champion(tmp_path: Path) -> None:
    spec = write_world(tmp_path / "world", gates=[{"kind": "absolute", "metric": "log_loss", "max": 0.0001}])
    found = replay(steps(spec, tmp_path / "store"), start=FIRST, end=FIRST + 2 * DAY, step=DAY)
    assert {event.what for event in found.events} == {"not promoted"}
    assert [one.live for one in found.policies] == [None, None, None]
    assert "No values to draw" in replay_page(found)


def test_data_that_is_not_there_is_told_and_not_raised(tmp_path: Path) -> None:
    spec = write_world(tmp_path / "world")
    early = START - 2 * DAY
    found = replay(steps(spec, tmp_path / "store"), start=early, end=early + DAY, step=DAY)
    assert {event.what for event in found.events} == {"training failed"}


def test_the_page_shows_the_lines_and_loads_nothing(found: Replay) -> None:
    html = replay_page(found)
    assert html.count('class="series ') == 2 * len(found.policies)
    # The first is before the first window; one more is the key.
    assert html.count('class="mark"') == found.policies[OWN].promotions
    assert "<script" not in html
    assert re.findall(r"(?:src|href)=|https?://|url\(", html) == []


@pytest.mark.parametrize(
    ("changes", "dates", "message"),
    [
        ({"monitoring": None}, (FIRST, LAST), "has no section monitoring"),
        ({}, (LAST, FIRST), "nothing to replay between the dates"),
        ({}, (FIRST, FIRST), "nothing to replay between the dates"),
    ],
)
def test_what_cannot_be_replayed_is_refused(
    changes: dict[str, Any], dates: tuple[datetime, datetime], message: str, world: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=message):
        replay(steps({**world, **changes}, tmp_path), start=dates[0], end=dates[1], step=DAY)


# ---------------------------------------------------------------- the command


def airflow(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `airflow mlops backtest` as people do, in an Airflow without a database."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__MLOPS__PIPELINES_FOLDER": str(folder / "world"),
        "PYTHONPATH": str(PROJECT),
    }
    command = [sys.executable, "-m", "airflow", "mlops", "backtest", *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command")
    spec = write_world(folder / "world")
    spec |= {"name": "two_days", "schedule": {"cron": "0 0 */2 * *"}}
    (folder / "world" / "two_days.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    return folder


def test_the_command_says_how_it_is_used(folder: Path) -> None:
    shown = airflow(folder, "--help")
    assert shown.returncode == 0, shown.stderr
    for option in ("--from", "--to", "--step", "--set", "--no-every-step", "--output", "--plot", "--store"):
        assert option in shown.stdout


def test_the_command_prints_what_was_done_and_a_table(folder: Path) -> None:
    dates = ["--from", "2024-01-11", "--to", "2024-01-16"]
    shown = airflow(folder, "turning", *dates, "--set", "retraining.after=1", "--plot", "page.html")
    assert shown.returncode == 0, shown.stderr
    assert "2024-01-11: promoted, version 20240111" in shown.stdout
    assert re.search(r"^2024-01-14: promoted, version 20240114.*Because of decay: .*", shown.stdout, re.M)
    for policy in ("never retrain", "retrain every step", "this policy"):
        assert re.search(rf"^{policy} +\| \d", shown.stdout, re.M), shown.stdout
    assert "<svg" in (folder / "page.html").read_text(encoding="utf-8")

    as_json = airflow(folder, "turning", *dates, "--set", "retraining.after=1", "--output", "json")
    found = json.loads(as_json.stdout)
    assert [one["policy"] for one in found["policies"]] == ["never retrain", "retrain every step", "this policy"]
    assert found["computed"] == {}


def test_windows_are_as_far_apart_as_the_runs_and_the_dearest_policy_may_be_left_out(folder: Path) -> None:
    arguments = ["two_days", "--from", "2024-01-11", "--to", "2024-01-15", "--no-every-step", "--output", "json"]
    shown = airflow(folder, *arguments)
    assert shown.returncode == 0, shown.stderr
    found = Replay.model_validate_json(shown.stdout)
    assert [one.as_of.day for one in found.live] == [13, 15]
    assert [one.policy for one in found.policies] == ["never retrain", "this policy"]
    assert {event.policy for event in found.events} == {"never retrain", "this policy"}
    assert all(one.live is not None for one in found.policies), "both are measured on the rows that both have"
    html = replay_page(found)
    assert (html.count('class="series main"'), html.count('class="series s0"')) == (2, 2)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing", "--from", "2024-01-11", "--to", "2024-01-14"], 1, "there is no pipeline 'nothing'"),
        (["turning", "--from", "2024-01-14", "--to", "2024-01-11"], 1, "nothing to replay between the dates"),
        (["turning", "--from", "2024-01-14", "--to", "2024-01-15", "--set", "live.nope=1"], 1, "--set is wrong"),
        (["turning", "--from", "2024-01-14"], 2, "required: --to"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, arguments: list[str], code: int, message: str) -> None:
    shown = airflow(folder, *arguments)
    assert shown.returncode == code
    assert message in shown.stderr
    assert "Traceback" not in shown.stderr
    assert len(shown.stderr.strip().splitlines()) == 1


def test_defining_the_commands_imports_nothing() -> None:
    code = (
        "import sys; from airflow.cli import cli_config; import airflow_mlops_provider; "
        "before = set(sys.modules); from airflow_mlops_provider.commands import mlops_commands; mlops_commands(); "
        "print(sorted(set(sys.modules) - before))"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "['airflow_mlops_provider.commands']"
