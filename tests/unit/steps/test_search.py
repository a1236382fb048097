from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import ParameterGrid, StratifiedKFold, TimeSeriesSplit, cross_val_score

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.exceptions import DataError, ModelError, SpecError
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.modeling.estimators import build_pipeline
from airflow_mlops_provider.modeling.model_file import load_model
from airflow_mlops_provider.modeling.splits import microseconds, read_split
from airflow_mlops_provider.runner import request_behind, run_step
from airflow_mlops_provider.search.report import SearchReport
from airflow_mlops_provider.spec import Candidate
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mlops_provider.results import StepResult

RANDOM = {"split": {"by": "random", "holdout": 0.3}}
FOLDS = {"split": {"by": "cross_validation", "folds": 2}}
TREE: dict[str, Any] = {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 1}}
SPACE: dict[str, Any] = {
    "max_depth": {"low": 1, "high": 8, "int": True},
    "ccp_alpha": {"low": 1e-4, "high": 0.1, "log": True},
    "criterion": ["gini", "entropy"],
}
GRID = {"max_depth": [1, 2, 4], "criterion": ["gini", "entropy"]}


def tumours() -> pd.DataFrame:
    data = load_breast_cancer(as_frame=True)
    frame = data.frame.iloc[:, :6].assign(id=range(len(data.frame)), y=data.target)
    frame["at"] = pd.date_range("2013-01-01", periods=len(frame), freq="h", tz="UTC")
    frame["size"] = pd.cut(frame["mean radius"], 3, labels=["small", "middle", "large"]).astype(str)
    return frame


ROLES: dict[str, Any] = {
    "target": "y", "keys": ["id"], "timestamp": "at", "numeric": list(tumours().columns[:6]), "categorical": ["size"],
}  # fmt: skip


def requested(method: str, **changes: Any) -> dict[str, Any]:
    space = GRID if method == "grid" else SPACE
    limit = {} if method == "grid" else {"trials": 10}
    return {**TREE, "search": {"method": method, "space": space, "metric": "roc_auc", **limit, **changes}}


@pytest.fixture
def prepared(ingested: Callable[..., StepResult], step: Callable[..., StepResult]) -> Callable[..., dict[str, Any]]:
    def prepare(preparation: dict[str, Any] = RANDOM, frame: pd.DataFrame | None = None, **roles: Any) -> Any:
        how = {name: roles.pop(name) for name in ("task", "delay") if name in roles}
        dataset = ingested(tumours() if frame is None else frame, **how, **(roles or ROLES))
        return {"dataset": dataset, "split": step("prepare", preparation, dataset=dataset)}

    return prepare


@pytest.fixture
def train(step: Callable[..., StepResult]) -> Callable[..., StepResult]:
    def run(candidate: dict[str, Any], inputs: dict[str, Any], **changes: Any) -> StepResult:
        return step("train", {"name": "tree", "candidate": candidate}, **inputs, **changes)

    return run


def report_of(store: ArtifactStore, result: StepResult) -> SearchReport:
    return SearchReport.model_validate(store.read_json(result.artifacts["search"]))


def scores(report: SearchReport) -> list[tuple[int, str, float | None]]:
    return [(trial.number, json.dumps(trial.params, sort_keys=True), trial.score) for trial in report.trials]


def records(store: ArtifactStore) -> dict[str, int]:
    folder = Path(store.root.removeprefix("file://")) / "journals"
    return {file.name: file.stat().st_mtime_ns for file in folder.rglob("*.json")}


def stored_elsewhere(tmp_path: Path, result: StepResult) -> ArtifactStore:
    """Return a store with the same inputs and no trial."""
    from shutil import copytree

    copytree(tmp_path / "artifacts" / "objects", tmp_path / "again" / "objects")
    return ArtifactStore(str(tmp_path / "again"))


@pytest.mark.parametrize("method", ["grid", "random", "bayesian", "halving"])
def test_the_same_file_finds_the_same_winner_and_trains_it(
    method: str, train: Any, prepared: Any, store: ArtifactStore, tmp_path: Path
) -> None:
    inputs = prepared()
    result = train(requested(method), inputs)
    report = report_of(store, result)
    assert [trial.number for trial in report.trials] == list(range(7 if method == "grid" else 11))
    assert report.trials[0].params == {}
    assert report.chosen != 0, report.reason
    assert report.best is not None
    assert report.default.score is not None
    assert report.best.score > report.default.score, "a stump is no match"
    model = load_model(store, result.artifacts["model"])["model"]
    assert report.params.items() <= model.get_params().items()
    assert result.facts["search"]["stopped"] == ["trials"]

    other = stored_elsewhere(tmp_path, result)
    request = request_behind(store, result)
    again = run_step(request, other)
    assert scores(report_of(other, again)) == scores(report)
    assert again.facts["digest"] == result.facts["digest"]


def test_a_grid_is_scikit_learns_and_its_scores_are_those_of_cross_validation(
    train: Any, prepared: Any, store: ArtifactStore
) -> None:
    inputs = prepared()
    report = report_of(store, train(requested("grid", metric="log_loss"), inputs))
    assert [trial.params for trial in report.trials[1:]] == list(ParameterGrid(GRID))
    split = read_split(store, inputs["split"].artifacts["split"], inputs["split"].artifacts["assignment"])
    known = split.train_mask(1)
    frame = tumours()
    for trial in (report.trials[0], report.trials[5]):
        pipeline = build_pipeline(
            Candidate.model_validate({**TREE, "params": {**TREE["params"], **trial.params}}),
            split.plan.columns, task="binary", seed=7, allow_list=AllowList(),
        )  # fmt: skip
        folds = StratifiedKFold(3, shuffle=True, random_state=7)
        expected = -cross_val_score(pipeline, frame[known], frame["y"][known], cv=folds, scoring="neg_log_loss")
        np.testing.assert_allclose(trial.folds, expected)
        assert trial.score == pytest.approx(expected.mean())


def test_the_search_never_sees_the_holdout(train: Any, prepared: Any, store: ArtifactStore) -> None:
    inputs = prepared()
    report = report_of(store, train(requested("random"), inputs))
    split = read_split(store, inputs["split"].artifacts["split"], inputs["split"].artifacts["assignment"])
    # Whatever the held-out rows say, the trials say the same.
    upside_down = tumours()
    upside_down.loc[split.holdout_mask(1), "y"] = 1 - upside_down["y"]
    other = report_of(store, train(requested("random"), prepared(frame=upside_down)))
    assert scores(other) == scores(report)
    assert report.rows == split.train_mask(1).sum()


def test_folds_of_a_split_by_time_train_on_what_came_before(train: Any, prepared: Any, store: ArtifactStore) -> None:
    from airflow_mlops_provider.search.folds import folds_of

    inputs = prepared({"split": {"by": "time"}})
    report = report_of(store, train(requested("random", trials=2), inputs))
    assert report.splitter == "TimeSeriesSplit"
    split = read_split(store, inputs["split"].artifacts["split"], inputs["split"].artifacts["assignment"])
    frame = tumours()
    rows = np.flatnonzero(split.train_mask(1))
    folds = folds_of(rows, frame["y"].to_numpy(), split.plan, cv=3, seed=7, moments=microseconds(frame["at"]))
    expected = [(rows[train].tolist(), rows[test].tolist()) for train, test in TimeSeriesSplit(3).split(rows)]
    assert [(train.tolist(), test.tolist()) for train, test in folds] == expected
    # Two rows a moment: none of them is parted from the other.
    pairs = folds_of(rows, frame["y"].to_numpy(), split.plan, cv=3, seed=7, moments=np.arange(len(frame)) // 2)
    assert all(set(train // 2).isdisjoint(test // 2) for train, test in pairs)
    with pytest.raises(DataError, match=r"fold 1 of the search would have no training rows of class 1 of target 'y'"):
        folds_of(rows, np.sort(frame["y"].to_numpy()), split.plan, cv=3, seed=7, moments=np.arange(len(frame)))


@pytest.mark.parametrize("split", [{"by": "time"}, {"by": "cross_validation", "kind": "time_series", "folds": 2}])
def test_a_row_whose_label_comes_after_an_inner_fold_begins_does_not_train_for_it(
    split: dict[str, Any], train: Any, prepared: Any, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_mlops_provider.search import running

    made, delay, frame = [], timedelta(hours=20), tumours()
    make = running.folds_of
    monkeypatch.setattr(running, "folds_of", lambda *requested, **how: made.append(make(*requested, **how)) or made[-1])
    report = report_of(store, train(requested("grid"), prepared({"split": split}, delay=delay)))
    assert report.embargo == delay
    assert len(made) == (1 if split["by"] == "time" else 3), "each search has its own"
    for fitted, held in (fold for folds in made for fold in folds):
        # One row an hour; a label that comes at the boundary itself is not known before it.
        assert frame["at"][held].min() - frame["at"][fitted].max() == delay + timedelta(hours=1)
        assert len(fitted) == held.min() - 20


def test_what_was_measured_in_another_way_before_is_not_taken(
    train: Any, prepared: Any, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_mlops_provider.search import running
    from airflow_mlops_provider.steps import train as training

    inputs = prepared()
    with monkeypatch.context() as before:
        before.setattr(running, "FORMAT", running.FORMAT - 1)
        before.setattr(training, "FORMAT", training.FORMAT - 1)
        old = train(requested("grid"), inputs)
    new = train(requested("grid"), inputs)
    assert new.key != old.key
    assert len(list((tmp_path / "artifacts" / "journals").rglob("*.json"))) == 2 * len(records(store))


def test_an_embargo_that_leaves_a_fold_nothing_to_train_on_is_named(train: Any, prepared: Any) -> None:
    inputs = prepared({"split": {"by": "time", "embargo": timedelta(hours=120)}})
    words = r"fold 1 of the search would have no training rows.*more than 5 days, 0:00:00 before it.*smaller search.cv"
    with pytest.raises(DataError, match=words):
        train(requested("grid"), inputs)


def test_under_cross_validation_each_held_out_fold_has_a_search_of_its_own(
    train: Any, prepared: Any, store: ArtifactStore
) -> None:
    result = train(requested("random", trials=3), prepared(FOLDS))
    assert {name.rpartition("-")[0] for name in records(store)} == {"fold-1", "fold-2", "final"}
    assert report_of(store, result).rows == len(tumours())


def test_params_that_nothing_beats_are_kept_and_it_says_so(train: Any, prepared: Any, store: ArtifactStore) -> None:
    good = {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"C": 1.0, "max_iter": 500}}
    search = {"method": "grid", "space": {"C": [1e-6, 1e-5]}, "metric": "log_loss"}
    result = train({**good, "search": search}, prepared())
    report = report_of(store, result)
    assert report.chosen == 0
    assert "the configured params are kept: their log_loss is" in report.reason
    assert load_model(store, result.artifacts["model"])["model"].C == 1.0


def test_a_regression_is_searched_and_a_nested_estimator_too(train: Any, prepared: Any, store: ArtifactStore) -> None:
    frame = load_diabetes(as_frame=True).frame.rename(columns={"target": "y"})
    numeric = [name for name in frame if name != "y"]
    steps = [
        ["reduce", {"estimator": "sklearn.decomposition.PCA"}],
        ["model", {"estimator": "sklearn.linear_model.Ridge"}],
    ]
    space = {"steps__reduce__n_components": [1, 8], "steps__model__alpha": {"low": 0.01, "high": 10, "log": True}}
    candidate = {
        "estimator": "sklearn.pipeline.Pipeline",
        "params": {"steps": steps},
        "search": {"method": "random", "space": space, "trials": 4},
    }
    result = train(candidate, prepared(frame=frame, task="regression", target="y", numeric=numeric))
    report = report_of(store, result)
    assert (report.metric, report.splitter) == ("rmse", "KFold")
    assert {trial.params["steps__reduce__n_components"] for trial in report.trials[1:]} == {1, 8}


def test_stopping_rules_end_the_search_and_are_named(train: Any, prepared: Any, store: ArtifactStore) -> None:
    inputs = prepared()
    early = report_of(store, train(requested("random", trials=60, early_stop=4), inputs))
    assert early.stopped == ["early_stop"]
    assert "stopped by early_stop after 4 trials in a row without improvement" in early.reason
    best = early.best
    assert best is not None
    assert early.trials[-1].number == best.number + 4
    late = report_of(store, train(requested("random", trials=60, timeout="PT0.001S"), inputs))
    assert (late.stopped, len(late.trials)) == (["timeout"], 2)
    assert "1 of 60 trials: stopped by its timeout of 0:00:00.001000" in late.reason
    halved = report_of(store, train(requested("halving", timeout="PT0.001S"), inputs))
    assert halved.stopped == ["timeout"]
    assert any(trial.why == "the time limit was reached" for trial in halved.trials)


def test_halving_drops_on_few_rows_and_measures_the_last_on_all(
    train: Any, prepared: Any, store: ArtifactStore
) -> None:
    report = report_of(store, train(requested("halving", trials=18), prepared()))
    shares = sorted(trial.share for trial in report.trials[1:])
    assert shares.count(1.0) == 1
    assert shares[0] < 0.2
    assert report.of(report.chosen).share == 1.0


def test_a_trial_that_fails_is_reported_and_the_others_go_on(train: Any, prepared: Any, store: ArtifactStore) -> None:
    space = {"max_depth": [2, -1, 3, 4]}
    report = report_of(store, train(requested("grid", space=space), prepared()))
    failed = report.trials[2]
    assert failed.score is None
    assert failed.why is not None
    assert "max_depth" in failed.why
    assert [trial.score is None for trial in report.trials] == [False, False, True, False, False]
    broken = {**requested("grid", space={"criterion": ["gini", "entropy"]}), "params": {"max_depth": -1}}
    with pytest.raises(ModelError, match="'tree': none of 3 trials of its search could be measured: got fold 1: "):
        train(broken, prepared())


def test_a_parameter_that_there_is_not_is_named(train: Any, prepared: Any) -> None:
    with pytest.raises(SpecError, match=r"params.depth: unknown parameter of DecisionTreeClassifier"):
        train(requested("random", space={"depth": [1, 2, 3]}), prepared())


def test_without_optuna_the_error_says_what_to_install(
    train: Any, prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = prepared()
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SpecError, match=r"Install airflow-mlops-provider\[search\]"):
        train(requested("bayesian"), inputs)


# ---------------------------------------------------------------- shards, kills


@pytest.mark.parametrize("method", ["grid", "bayesian", "halving"])
def test_shards_do_the_trials_that_training_takes(
    method: str, train: Any, step: Any, prepared: Any, store: ArtifactStore, tmp_path: Path
) -> None:
    inputs, candidate = prepared(), requested(method, shards=2)
    parts = [step("search", {"name": "tree", "candidate": candidate, "shard": shard}, **inputs) for shard in (0, 1)]
    done = records(store)
    result = train(candidate, inputs)
    assert records(store) == done, "training computed no trial"
    report = report_of(store, result)
    assert sum(part.facts["trials"] for part in parts) == len(report.trials)
    assert {trial.shard for trial in report.trials} == {0, 1}
    # Without the shards training does the same by itself.
    other = stored_elsewhere(tmp_path, result)
    again = run_step(request_behind(store, result), other)
    assert scores(report_of(other, again)) == scores(report)
    with pytest.raises(SpecError, match="candidate 'tree' has no search shard 2"):
        step("search", {"name": "tree", "candidate": candidate, "shard": 2}, **inputs)


def test_recompute_measures_anew_where_trials_are_made(
    train: Any, step: Any, prepared: Any, store: ArtifactStore
) -> None:
    inputs, candidate = prepared(), requested("grid", shards=2)
    section = {"name": "tree", "candidate": candidate, "shard": 0}
    part, result = step("search", section, **inputs), train(candidate, inputs)
    before = records(store)
    for done in (part, result):
        request = request_behind(store, done)
        run_step(request.model_copy(update={"recompute": True}), store)
    changed = {name for name, when in records(store).items() if before[name] != when}
    assert changed == {name for name in before if int(name[-9:-5]) % 2 or name[-9:-5] == "0000"}, "those of the shard"


def test_a_damaged_record_is_measured_anew(train: Any, prepared: Any, store: ArtifactStore, tmp_path: Path) -> None:
    inputs = prepared()
    result = train(requested("grid"), inputs)
    report = report_of(store, result)
    [file] = (tmp_path / "artifacts" / "journals").rglob("final-0003.json")
    for damage in ("{", '{"params": {"max_depth": 9}, "result": {}}', json.dumps({"params": report.of(3).params})):
        file.write_text(damage, encoding="utf-8")
        request = request_behind(store, result)
        (tmp_path / "artifacts" / "receipts" / "tests" / "train" / result.key / "receipt.json").unlink()
        assert scores(report_of(store, run_step(request, store))) == scores(report)


_RUN = """
import sys
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.runner import request_behind, run_step
from airflow_mlops_provider.storage import ArtifactStore
run_step(StepRequest.model_validate_json(sys.stdin.read()), ArtifactStore(sys.argv[1]))
"""


def test_halving_takes_what_was_measured_of_each_round(
    train: Any, prepared: Any, store: ArtifactStore, tmp_path: Path
) -> None:
    result = train(requested("halving"), prepared())
    report = report_of(store, result)
    before = records(store)
    files = sorted((tmp_path / "artifacts" / "journals").rglob("*.json"), key=lambda file: file.stat().st_mtime_ns)
    for file in files[len(files) // 2 :]:
        file.unlink()
    (tmp_path / "artifacts" / "receipts" / "tests" / "train" / result.key / "receipt.json").unlink()
    again = run_step(request_behind(store, result), store)
    after = records(store)
    assert sum(after[name] == before[name] for name in before) == len(files) // 2, "no more was measured than was lost"
    assert (scores(report_of(store, again)), after.keys()) == (scores(report), before.keys())


def start(request: str, store: ArtifactStore) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", _RUN, store.root], stdin=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(request)
    process.stdin.close()
    return process


def test_killed_on_its_way_it_resumes_in_two_processes_at_once_and_ends_with_the_same_trials(
    train: Any, prepared: Any, store: ArtifactStore, tmp_path: Path
) -> None:
    result = train(requested("bayesian", trials=40), prepared())
    report = report_of(store, result)
    other = stored_elsewhere(tmp_path, result)
    request = request_behind(store, result).model_dump_json()
    process = start(request, other)
    deadline = time.monotonic() + 60
    while len(records(other)) < 12 and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    stored = records(other)
    assert 12 <= len(stored) < len(records(store)), "killed on its way"

    beside = start(request, other)
    again = run_step(StepRequest.model_validate_json(request), other)
    assert beside.wait() == 0
    after = records(other)
    assert {name: after[name] for name in stored} == stored, "no trial was made twice"
    assert after.keys() == records(store).keys()
    assert scores(report_of(other, again)) == scores(report)
    assert again.facts["digest"] == result.facts["digest"]
