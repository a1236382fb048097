"""The page of a replay: the live metric of the policies as lines, and what was done when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.backtest.report import POLICY, in_days
from airflow_mlops_provider.reports import Cell, line_chart, page, table

if TYPE_CHECKING:
    from airflow_mlops_provider.backtest.report import Replay

#: Drawn as upright lines.
_MARKED = ("promoted", "rolled back")


def replay_page(replay: Replay) -> str:
    """Return the page."""
    span = f"{as_of_text(replay.start)} to {as_of_text(replay.end)} in steps of {in_days(replay.step)}"
    labels = [as_of_text(window.as_of) for window in replay.live]
    own = [event for event in replay.events if event.policy == POLICY]
    chart = line_chart(
        f"{replay.metric} on the rows whose labels came with each step",
        labels,
        {one.policy: [window.values.get(one.policy) for window in replay.live] for one in replay.policies},
        main=POLICY,
        marks={as_of_text(event.as_of): event.sentence() for event in own if event.what in _MARKED},
        marked="promotions and rollbacks of this policy",
    )
    policies = [
        [
            Cell(one.policy),
            Cell("" if one.live is None else f"{one.live:.5g}", "number"),
            *(Cell(str(count), "number") for count in (one.trainings, one.promotions, one.rollbacks)),
        ]
        for one in replay.policies
    ]
    events = [
        [Cell(as_of_text(one.as_of), "whole"), Cell(one.what, "whole"), Cell(one.outcome), Cell(one.why)] for one in own
    ]
    decisions = [
        [
            Cell(as_of_text(one.as_of), "whole"),
            Cell(one.action.replace("_", " "), "whole"),
            Cell("; ".join(one.reasons)),
            Cell(one.why or ""),
        ]
        for one in replay.decisions
    ]
    return page(
        f"Time machine: {replay.pipeline}",
        [Cell(f"{span}: {replay.windows} windows, {replay.rows} labelled rows")],
        [
            table("Policies", ["Policy", f"Mean {replay.metric}", "Trainings", "Promotions", "Rollbacks"], policies),
            chart,
            table("What this policy did", ["As of", "What", "Outcome", "Why"], events),
            table("Every decision", ["Window", "Action", "Reasons", "Suppressed because"], decisions),
        ],
    )
