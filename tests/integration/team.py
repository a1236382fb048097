"""A team's pipelines with a made-up past: what the list of models shows besides those that tests train."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from made_up import entry, write_log, write_pipeline

from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.monitoring.governor import Decision
from airflow_mlops_provider.registry import DecisionEntry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mlops_provider.registry import LedgerEntry
    from local_airflow import LocalAirflow

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Member:
    """One pipeline of the team.

    :param values: of the metric that decides, for each version.
    :param served: how many days ago each version became champion.
    :param drifted: a digit a day, up to yesterday: how many of the features drifted. From 2 on a window was bad.
    :param trains_in: hours until the next training; None when its DAG is paused.
    :param left: why its last version was left for the one before.
    """

    question: str
    metric: str
    values: tuple[float, ...]
    served: tuple[int, ...]
    drifted: str
    features: tuple[str, ...]
    trains_in: int | None
    left: str | None = None


TEAM = {
    "basket_value": Member(
        question="What will this visitor spend?",
        metric="mae",
        values=(14.2, 12.9, 12.8, 11.6),
        served=(92, 61, 33, 12),
        drifted="010000100002000100000100",
        features=("pages", "source", "country"),
        trains_in=7,
    ),
    "card_fraud": Member(
        question="Is a card payment fraudulent?",
        metric="average_precision",
        values=(0.6412, 0.6934, 0.7011),
        served=(80, 44, 5),
        drifted="00100000110000000100000",
        features=("amount", "country", "hour"),
        trains_in=1,
        left="average_precision 0.58 on the weekend's chargebacks, 0.69 of the version before",
    ),
    "churn": Member(
        question="Will a customer leave within 60 days?",
        metric="roc_auc",
        values=(0.8214, 0.8347, 0.8402, 0.8466, 0.8513),
        served=(140, 98, 70, 36, 9),
        drifted="1000223300000100000000010000",
        features=("tenure", "plan", "tickets"),
        trains_in=7,
    ),
    "delivery_time": Member(
        question="How many hours will a delivery take?",
        metric="rmse",
        values=(5.61, 5.04),
        served=(41, 2),
        drifted="0000100000000101000",
        features=("distance", "carrier", "weight"),
        trains_in=31,
    ),
    "demand": Member(
        question="How much of an article is sold tomorrow?",
        metric="mae",
        values=(31.5, 28.3, 27.9),
        served=(75, 47, 19),
        drifted="0001000010010112223",
        features=("price", "promotion", "stock", "weekday"),
        trains_in=1,
    ),
    "loan_default": Member(
        question="Will a loan be paid back?",
        metric="brier",
        values=(0.0934, 0.0911),
        served=(130, 64),
        drifted="",
        features=("income", "debt", "age"),
        trains_in=None,
    ),
}


@contextmanager
def team(airflow: LocalAirflow, like: str) -> Iterator[None]:
    """Yield while the team's pipelines are there.

    :param like: id of a DAG that Airflow knows; the team's trainings, which nobody starts, are known as copies of it.
    """
    folder, now = airflow.home / "pipelines", datetime.now(UTC)
    for name, member in TEAM.items():
        regression = member.metric in ("mae", "rmse")
        linear = "Ridge" if regression else "LogisticRegression"
        write_pipeline(
            folder,
            name,
            description=member.question,
            task="regression" if regression else "binary",
            training={"candidates": {"plain": {"estimator": f"sklearn.linear_model.{linear}"}}},
            evaluation={"metrics": [member.metric]},
            monitoring={} if member.drifted else None,
        )
        history = _history(member, now)
        write_log(airflow.mlflow_uri, "ledger", name, {f"seq-{one.seq}": one.render() for one in history})
        windows = _decisions(member, now.replace(hour=0, minute=0, second=0, microsecond=0), history[-1])
        if windows:
            write_log(airflow.mlflow_uri, "decisions", name, windows)
        _register(airflow.mlflow_uri, name, history)
    _plan(airflow, like, now)
    yield
    for name in TEAM:
        (folder / f"{name}.yaml").unlink()


def _history(member: Member, now: datetime) -> list[LedgerEntry]:
    entries = []
    for number, (value, days) in enumerate(zip(member.values, member.served, strict=True), 1):
        at = now - days * _DAY
        known = at.replace(hour=0, minute=0, second=0, microsecond=0)
        entries.append(entry(number, at, order_key=known, metrics={member.metric: value}))
    if member.left is not None:
        back = entries[-2].model_dump(exclude={"seq", "idem", "nonce", "at"})
        changes = {"action": "rollback", "quarantined": len(entries), "reason": member.left}
        changes["order_key"] = entries[-1].order_key
        entries.append(entry(len(entries) + 1, now - 2 * _DAY, **back | changes))
    return entries


def _decisions(member: Member, today: datetime, head: LedgerEntry) -> dict[str, str]:
    """Return the decision of each day, in the words of monitoring, by its key."""
    days = [int(digit) for digit in member.drifted]
    found = {}
    for number, drifted in enumerate(days):
        as_of = today - (len(days) - 1 - number) * _DAY
        bad, last = drifted > 1, number == len(days) - 1
        such = f", such as {member.features[0]!r}" if drifted else ""
        share = round(90 * drifted / len(member.features))
        words = f"{drifted} of {len(member.features)} features drifted{such}; they hold {share}% of the importance, "
        words += "and a window drifts from 50% on"
        calm = (
            f"Drift below the limit: {words}"
            if drifted
            else f"No drift: none of {len(member.features)} features drifted"
        )
        one = Decision(
            as_of=as_of,
            action="retrain" if bad else "keep",
            rule="drift" if bad else "healthy",
            reasons=[words if bad else calm],
            bad=bad,
            # The second of them asked; and the last is asked for anew.
            suppressed=bad and not last,
            why="1 bad window in a row, 2 are needed" if bad and not last else None,
            drifted=bad,
            columns=list(member.features[:drifted]),
            champion=head.version,
            seq=head.seq,
            rows=4000,
        )
        stored = DecisionEntry(window=as_of, value=one.model_dump(mode="json"), idem=str(number), at=as_of)
        found[f"window-{as_of_text(as_of)}"] = stored.render()
    return found


def _register(mlflow_uri: str, model: str, history: list[LedgerEntry]) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_uri)
    client.create_registered_model(model)
    for _ in range(max(one.version for one in history)):
        client.create_model_version(model, source=history[0].artifact.uri)
    client.set_registered_model_alias(model, "champion", str(history[-1].version))


def _plan(airflow: LocalAirflow, like: str, now: datetime) -> None:
    """Tell Airflow when the team trains next: to parse its files would take longer than all else here."""
    with closing(sqlite3.connect(airflow.home / "airflow.db", timeout=60)) as database, database:
        columns = [name for _, name, *_ in database.execute("PRAGMA table_info(dag)")]
        chosen = {"dag_id": ":name", "is_paused": ":paused", "next_dagrun_create_after": ":at"}
        values = ", ".join(chosen.get(column, column) for column in columns)
        # SQLAlchemy writes moments so.
        at = {name: now + timedelta(hours=one.trains_in or 0, minutes=30) for name, one in TEAM.items()}
        database.executemany(
            f"INSERT INTO dag ({', '.join(columns)}) SELECT {values} FROM dag WHERE dag_id = :like",
            [
                {
                    "name": f"{name}_training",
                    "paused": one.trains_in is None,
                    "at": f"{at[name]:%Y-%m-%d %H:%M:%S.%f}",
                    "like": like,
                }
                for name, one in TEAM.items()
            ],
        )
