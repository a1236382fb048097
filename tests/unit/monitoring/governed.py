"""Windows of monitoring, and what the governor makes of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_mlops_provider.monitoring.governor import Decision, Incumbent, Window, decide
from airflow_mlops_provider.spec.operations import Monitoring

DAY = timedelta(days=1)
START = datetime(2013, 3, 1, tzinfo=UTC)
QUIET = {"drifted": False, "prediction_drift": False, "columns": [], "why": "No drift: none of 2 features drifted."}
DRIFT = {
    "drifted": True,
    "prediction_drift": True,
    "columns": ["wind", "rain"],
    "why": "Drift: 2 of 2 features drifted.",
}
WELL = {"decayed": False, "against_holdout": "log_loss 0.5, 0.5 on the holdout"}
DECAY = {**WELL, "decayed": True, "against_holdout": "log_loss 0.8, 0.5 on the holdout"}
WORSE = {
    **WELL,
    "comparison": {"difference": -0.3, "variance": 0.0025, "rows": 500},
    "against_former": "log_loss 0.8, version 1 has 0.5",
}
SILENT = {"judged": False, "why": "3 rows, 200 are needed"}


def policy(**retraining: Any) -> Monitoring:
    settings = {"after": 1, "cooldown": timedelta(0), "budget": 100, "min_rows": 0, **retraining}
    return Monitoring.model_validate({"retraining": settings})


def champion(seq: int = 1, *, since: datetime = START - 60 * DAY, **fields: Any) -> Incumbent:
    return Incumbent(seq=seq, version=seq, promoted_as_of=since, trained=fields.pop("trained", since), **fields)


def window(day: int, *, rows: int = 500, length: timedelta = DAY) -> Window:
    return Window(as_of=START + day * DAY, start=START + day * DAY - length, rows=rows)


def day(
    number: int,
    history: list[Decision],
    rules: Monitoring,
    *,
    drift: Any = QUIET,
    live: Any = WELL,
    incumbent: Incumbent | None = None,
) -> Decision:
    return decide(
        rules, window(number), drift=drift, live=live, champion=incumbent or champion(), history=history
    )  # fmt: skip


def days(rules: Monitoring, drifts: list[Any], **settings: Any) -> list[Decision]:
    history: list[Decision] = []
    for number, drift in enumerate(drifts):
        history.append(day(number, history, rules, drift=drift, **settings))
    return history


def passed(history: list[Decision]) -> list[int]:
    return [(one.as_of - START).days for one in history if one.requests_retraining]
