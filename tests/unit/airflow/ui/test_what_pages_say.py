from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from made_up import BEGAN, entry, write_ledger, write_log

from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.monitoring.drift_report import ColumnDrift, DriftReport
from airflow_mlops_provider.monitoring.governor import Decision
from airflow_mlops_provider.registry.decisions import DecisionEntry
from airflow_mlops_provider.reports import Cell, page
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


WINDOW = datetime(2026, 1, 5, tzinfo=UTC)


def column(name: str, **measured: Any) -> ColumnDrift:
    return ColumnDrift(column=name, role="feature", kind="numeric", **{"threshold": 0.1, "drifted": False, **measured})


def write_decision(mlflow_uri: str, **changes: Any) -> None:
    fields = {"as_of": WINDOW, "action": "keep", "rule": "healthy", "reasons": ["the rows are as before"]}
    decision = Decision(**{**fields, "champion": 1, "seq": 1, **changes})
    entry = DecisionEntry(window=WINDOW, value=decision.model_dump(mode="json"), idem="1", at=WINDOW)
    write_log(mlflow_uri, "decisions", "churn", {f"window-{as_of_text(WINDOW)}": entry.render()})


@pytest.fixture
def store(folder: Any, tmp_path: Any) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"))


@pytest.fixture
def run_ended(server: Any) -> Iterator[Callable[..., str]]:
    """Write a run that has ended into Airflow's database, with why one of its tasks ended so; gone afterwards."""
    from airflow.models.dagbag import DBDagBag
    from airflow.models.dagrun import DagRun
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType, DagRunType
    from sqlalchemy import delete

    written: list[str] = []

    def write(
        dag_id: str, state: str, task_id: str = "", task_state: str = "failed", message: str | None = None
    ) -> str:
        run_id = f"run-{len(written)}"
        with create_session() as session:
            dag: Any = DBDagBag().get_latest_version_of_dag(dag_id, session=session)
            run = dag.create_dagrun(
                run_id=run_id,
                run_after=BEGAN,
                run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.TEST,
                state=state,
                session=session,
            )
            run.end_date = datetime.now(UTC)
            if task_id:
                run.get_task_instance(task_id, session=session).state = task_state
        if message is not None:
            XComModel.set("message", message, dag_id=dag_id, task_id=task_id, run_id=run_id)
        written.append(run_id)
        return run_id

    yield write
    with create_session() as session:
        session.execute(delete(DagRun).where(DagRun.run_id.in_(written)))


def test_what_was_not_measured_is_not_shown_as_calm(browser: Any, store: ArtifactStore, mlflow_uri: str) -> None:
    columns = [
        column("calm", statistic=0.02, method="wasserstein"),
        column("moved", statistic=0.3, method="wasserstein", drifted=True),
        column("silent", why="no value in the window"),
        column("broken", drifted=True, broken=True, why="text where numbers were"),
    ]
    report = DriftReport(
        version=1,
        rows=300,
        sampled=300,
        reference_rows=500,
        labelled=False,
        judged=True,
        drifted=False,
        why="Drift below the limit: 2 of 4 features drifted.",
        least_share=0.5,
        weights="equal",
        columns=columns,
    )
    write_ledger(mlflow_uri, "churn", entries=1)
    write_decision(mlflow_uri, evidence={"drift": store.add_json(report.model_dump(mode="json"))})
    shown = browser("viewer").get("/mlops/models/churn").text
    states = dict(re.findall(r'<th scope="row">(\w+)</th><td class="(\w+)"', shown.partition('class="heat"')[2]))
    assert states == {"calm": "calm", "moved": "drifted", "silent": "unknown", "broken": "broken"}


@pytest.mark.parametrize(
    ("action", "bad", "kind"), [("retrain", True, "bad"), ("keep", False, "good"), ("keep", True, "bad")]
)
def test_the_report_of_a_window_begins_with_what_was_decided(
    browser: Any, store: ArtifactStore, mlflow_uri: str, action: str, bad: bool, kind: str
) -> None:
    stored = page("Drift of churn", [Cell("Drift below the limit: 8 of 14 features drifted.", "warn")], [])
    write_ledger(mlflow_uri, "churn", entries=1)
    evidence = {"report": store.add_bytes(stored.encode(), ".html")}
    rule = "decay" if bad else "healthy"
    write_decision(mlflow_uri, action=action, rule=rule, reasons=["log_loss rose"], bad=bad, evidence=evidence)
    shown = browser("viewer").get(f"/mlops/models/churn/windows/{as_of_text(WINDOW)}").text
    lines = re.findall(r'<p class="(\w*)">(.*?)</p>', shown)
    assert lines[0] == (kind, f"Decision: 2026-01-05: {action} ({rule}): log_loss rose")
    assert lines[1] == ("warn", "Drift below the limit: 8 of 14 features drifted.")


@pytest.mark.parametrize(("of", "words"), [(1, True), (2, False)])
def test_a_decision_on_a_version_that_no_longer_serves_says_so(
    browser: Any, mlflow_uri: str, of: int, words: bool
) -> None:
    write_ledger(mlflow_uri, "churn", entries=2)
    write_decision(mlflow_uri, champion=of, seq=of)
    for path in ("models", "models/churn"):
        shown = browser("viewer").get(f"/mlops/{path}").text
        assert "the rows are as before" in shown
        assert (f"on version {of}, which no longer serves" in shown) is words, path


@pytest.mark.parametrize("remarks", [[], ["r2 0.99999 is too good to be true for most data"]])
def test_a_champion_that_is_too_good_to_be_true_has_a_mark(browser: Any, mlflow_uri: str, remarks: list[str]) -> None:
    write_log(mlflow_uri, "ledger", "churn", {"seq-1": entry(1, BEGAN, remarks=remarks).render()})
    for path in ("models", "models/churn"):
        shown = browser("viewer").get(f"/mlops/{path}").text
        assert ("too good to be true?" in shown) is bool(remarks), path
        assert all(f'title="{remark}"' in shown for remark in remarks)


def test_a_red_scoring_run_stands_on_the_pages_until_a_green_one_follows(
    browser: Any, mlflow_uri: str, run_ended: Callable[..., str]
) -> None:
    write_ledger(mlflow_uri, "churn", entries=1)
    viewer = browser("viewer")
    assert "Nothing has been predicted yet." in viewer.get("/mlops/models/churn").text
    failed = run_ended("churn_scoring", "failed")
    link = f"/dags/churn_scoring/runs/{failed}"
    for path in ("models", "models/churn"):
        shown = viewer.get(f"/mlops/{path}").text
        assert "scoring failed" in shown, path
        assert link in shown, path
    assert "No window could be scored so far." in shown
    assert "Nothing has been predicted yet." not in shown
    assert "scoring failed" not in browser("reader of churn's training").get("/mlops/models/churn").text
    run_ended("churn_scoring", "success")
    assert "scoring failed" not in viewer.get("/mlops/models").text


def test_who_may_not_see_the_results_is_told_that_and_no_other_thing(browser: Any, mlflow_uri: str) -> None:
    write_ledger(mlflow_uri, "churn", entries=1)
    shown = browser("reader of churn's training").get("/mlops/models/churn").text
    assert "You have no permission to see the results of churn_scoring." in shown
    assert "predicted yet" not in shown


@pytest.mark.parametrize(
    ("state", "message", "words"),
    [
        ("failed", "column 'age' is missing: expected age. Add it.\n  - a second line", "Ingest failed"),
        ("up_for_retry", "MLflow does not answer", "Ingest is waiting for a retry"),
        ("skipped", "No retraining requested: keep", "Ingest was skipped"),
        ("failed", None, "This task failed without a message"),
        ("skipped", None, "Airflow skipped this task"),
    ],
)
def test_the_report_of_a_task_without_a_result_gives_its_message(
    browser: Any, run_ended: Callable[..., str], state: str, message: str | None, words: str
) -> None:
    run_id = run_ended("churn_scoring", "failed", "ingest", state, message)
    shown = browser("viewer").get(f"/mlops/reports/churn_scoring/{run_id}/ingest/-1").text
    assert words in shown
    for line in (message or "").replace("'", "&#39;").splitlines():
        assert f"<p>{line}</p>" in shown
    assert "its log says why" not in shown


def test_what_a_person_should_look_at_in_the_ledger_stands_on_both_pages(browser: Any, mlflow_uri: str) -> None:
    future = entry(2, BEGAN, order_key=datetime(2126, 4, 1, tzinfo=UTC))
    entries = {"seq-1": entry(1, BEGAN).render(), "seq-2": future.render(), "seq-02": "{}"}
    write_log(mlflow_uri, "ledger", "churn", entries)
    for page_of in ("/mlops/models", "/mlops/models/churn"):
        shown = html.unescape(browser("viewer").get(page_of).text)
        assert "values that this package did not write are ignored: 'seq-02'" in shown
        assert "version 2 became champion (entry 2) with as_of 2126-04-01, later than the promotion itself" in shown
        assert "Roll it back (airflow mlops rollback, or the button on the model's page)" in shown


def test_a_damaged_ledger_stands_on_both_pages(browser: Any, mlflow_uri: str) -> None:
    write_log(mlflow_uri, "ledger", "churn", {"seq-1": entry(1, BEGAN).render(), "seq-2": "{}"})
    for page_of in ("/mlops/models", "/mlops/models/churn"):
        shown = html.unescape(browser("viewer").get(page_of).text)
        assert "is damaged: entry 2 cannot be read" in shown
