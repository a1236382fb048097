"""A draft as YAML for people: one comment for each choice."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from airflow_mlops_provider.spec.metrics import DEFAULT_METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from airflow_mlops_provider.drafting.choices import Choice, Choices
    from airflow_mlops_provider.drafting.roles import Roles
    from airflow_mlops_provider.drafting.windows import Watching
    from airflow_mlops_provider.spec import Expectation

_WIDTH = 110


@dataclass(frozen=True)
class Facts:
    """What a draft is made of.

    :param complete: features without a missing value.
    :param watching: scoring and monitoring, which are proposed in comments.
    """

    name: str
    file: Path
    rows: int
    roles: Roles
    choices: Choices
    split: Choice
    complete: Sequence[str]
    expectations: Sequence[Expectation]
    watching: Watching


def render(facts: Facts) -> str:
    """Return the file."""
    parts = [_head(facts), _data(facts), _validation(facts), _preparation(facts), _training(facts)]
    parts += [_evaluation(facts), _gates(facts), _afterwards(facts)]
    return "\n".join(parts)


def _head(facts: Facts) -> str:
    roles = facts.roles
    return "\n".join(
        [
            *_comment(
                f"Drafted by `airflow mlops init` from {facts.file.name}: {facts.rows} rows. Every value is a starting "
                "point: change what you know better, then run `airflow mlops check` afterwards."
            ),
            f"name: {facts.name}    # also the file's name; prefix of the DAG ids",
            *_comment(f"{_flow(roles.target)} has {roles.why_task}."),
            f"task: {roles.task}",
            "seed: 42",
            *_comment("No schedule: the training DAG runs by hand, or when monitoring requests it. To schedule it:"),
            f'# schedule: {{cron: "{facts.watching.schedule}"}}',
            "",
        ]
    )


def _data(facts: Facts) -> str:
    roles = facts.roles
    lines = ["data:", "  source:", f"    uri: {_flow(str(facts.file))}"]
    if form := roles.csv.model_dump(exclude_defaults=True):
        lines += _comment(f"Format of the file's values: {'; '.join(roles.why_csv)}.", 4)
        lines += _wrapped("csv", form, 4)
    lines += ["  columns:", f"    target: {_flow(roles.target)}"]
    if roles.timestamp is not None:
        lines += _comment("When a row became known: a training sees only rows before its as_of.", 4)
        lines += [f"    timestamp: {_flow(roles.timestamp)}"]
    if roles.keys:
        lines += _comment("What identifies a row. Never a feature.", 4)
        lines += _listed("keys", roles.keys, 4)
    if roles.numeric:
        lines += _comment("Numeric codes, such as postcodes, belong in categorical.", 4)
        lines += _listed("numeric", roles.numeric, 4)
    if roles.categorical:
        lines += _listed("categorical", roles.categorical, 4)
    if roles.left_out:
        lines += _comment("Not read:", 4)
        for name, why in roles.left_out.items():
            lines += _comment(f"  {_flow(name)}: {why}", 4)
    if roles.timestamp is not None:
        lines += _times(roles)
    return "\n".join([*lines, ""])


def _times(roles: Roles) -> list[str]:
    lines: list[str] = []
    if roles.time_of_day is not None:
        lines += _comment("The timestamp is a day; the time of day is in a separate column.", 2)
        lines += [f"  time_of_day: {_flow(roles.time_of_day)}"]
    if not roles.zoned:
        lines += ["  timezone: UTC    # the timestamps have no zone: correct this if they are in another one"]
    lines += _comment("How long after its timestamp a row has its label; newer rows are not used for training.", 2)
    lines += ["  # label_delay: 1 day", "  # window: 365 days    # look back no further than this"]
    return lines


def _validation(facts: Facts) -> str:
    least = facts.choices.min_rows
    lines = ["validation:", f"  min_rows: {least.value}    # {least.why}"]
    if facts.complete:
        lines += _comment("Features that have a value in every row.", 2)
        lines += _listed("required", facts.complete, 2)
    lines += _comment(
        "The observed values with some margin: bounds are half a range wider, and hold for 99 % of the rows. Uses "
        "Great Expectations' own names.",
        2,
    )
    lines += ["  expectations:"]
    for one in facts.expectations:
        lines += [f"    - type: {one.type}", *_wrapped("kwargs", one.kwargs, 6)]
    return "\n".join([*lines, ""])


def _preparation(facts: Facts) -> str:
    return "\n".join(
        [
            "preparation:",
            *_comment("A feature with more missing values, on either side of the split, is dropped.", 2),
            "  missing: {max_share: 0.3, over: drop}",
            *_comment(f"{facts.split.why[0].upper()}{facts.split.why[1:]}.", 2),
            f"  split: {_flow(facts.split.value)}",
            "",
        ]
    )


def _training(facts: Facts) -> str:
    lines = ["training:", *_comment(facts.choices.why_candidates, 2), "  candidates:"]
    text = yaml.safe_dump(facts.choices.candidates, sort_keys=False)
    return "\n".join([*lines, textwrap.indent(text, "    ")])


def _evaluation(facts: Facts) -> str:
    metrics = list(DEFAULT_METRICS[facts.roles.task])
    lines = ["evaluation:", f"  metrics: {_flow(metrics)}    # the first decides which candidate wins"]
    if facts.choices.slices:
        lines += _comment("The winner is also measured on each value of these: a good average can hide a bad slice.", 2)
        lines += _listed("slices", facts.choices.slices, 2)
        lines += [f"  min_slice_rows: {facts.choices.min_slice_rows}    # a smaller slice is counted, not measured"]
    return "\n".join([*lines, ""])


def _gates(facts: Facts) -> str:
    metric = DEFAULT_METRICS[facts.roles.task][0]
    bound = "max" if facts.roles.task == "regression" or metric == "log_loss" else "min"
    lines = ["# What a challenger must reach before it is promoted.", "gates:"]
    for gate in facts.choices.gates:
        lines += [*_comment(f"{gate.why[0].upper()}{gate.why[1:]}.", 2), f"  - {_flow(gate.value)}"]
    lines += _comment("Once you know what is good enough:", 2)
    lines += [f"  # - {{kind: absolute, metric: {metric}, {bound}: …}}"]
    return "\n".join([*lines, ""])


def _afterwards(facts: Facts) -> str:
    watching = facts.watching
    if watching.scoring is None:
        note = f"Monitoring is not proposed: {watching.why[0].lower()}{watching.why[1:]} To score anyway:"
        return "\n".join(
            [*_comment(note), "# scoring: {window: 1 day}" if facts.roles.timestamp else "# scoring: {}", ""]
        )
    note = "Scoring and monitoring start with these two lines"
    if facts.roles.timestamp is not None:
        note += " and the schedule above, once the source gets new rows"
    lines = _comment(f"{note}; the docs have a guide to each. {watching.why}")
    return "\n".join(
        [*lines, f"# scoring: {_flow(watching.scoring)}", f"# monitoring: {_flow(watching.monitoring)}", ""]
    )


# ---------------------------------------------------------------- YAML


def _comment(text: str, indent: int = 0) -> list[str]:
    # A column's name may hold a line break, which would end the comment.
    one = text if text.startswith("  ") else " ".join(text.split())
    return textwrap.wrap(
        one,
        _WIDTH,
        initial_indent=" " * indent + "# ",
        subsequent_indent=" " * indent + ("#     " if text.startswith("  ") else "# "),
        break_long_words=False,
    )


def _flow(value: Any) -> str:
    """Return a value on one line, as YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**9, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _listed(key: str, names: Sequence[str], indent: int) -> list[str]:
    return _wrapped(key, list(names), indent)


def _wrapped(key: str, value: Any, indent: int) -> list[str]:
    """Return a key and its value in flow style, over several lines when it is long."""
    text = yaml.safe_dump(
        {key: value}, default_flow_style=None, sort_keys=False, width=_WIDTH - indent, allow_unicode=True
    )
    return textwrap.indent(text, " " * indent).splitlines()
