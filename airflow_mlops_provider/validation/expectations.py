"""Great Expectations on a stored table: each expectation's verdict, and the rows behind the bad ones.

Each expectation runs on a frame of only its columns, because the library copies the whole frame for each condition,
and through the library's validator, because its data sources hash every frame twice: together that takes a fifth of
the time. Row indices cost as much again as the verdicts, so only what failed is run a second time for them.
"""

from __future__ import annotations

import difflib
import logging
import math
import os
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.tables import read_table, table_rows
from airflow_mlops_provider.exceptions import SpecError, shorten
from airflow_mlops_provider.spec import Validation
from airflow_mlops_provider.spec.expectations import columns_of
from airflow_mlops_provider.validation.bounds_of_time import in_utc_bounds
from airflow_mlops_provider.validation.checks import Check, CheckResult
from airflow_mlops_provider.validation.conditions import rows_where
from airflow_mlops_provider.validation.guards import require_columns
from airflow_mlops_provider.validation.patterns import pattern_problem, use_bounded_patterns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.spec import Expectation
    from airflow_mlops_provider.storage import ArtifactStore

_COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list")
_SHOWN_VALUES = 5
#: Of a normal distribution, beyond which one of 30,000 lies.
_DEVIATIONS = 4.0
#: Values that are held at once: a column or two of ten million rows.
_CELLS = 20_000_000


def run_expectations(
    store: ArtifactStore,
    dataset: ArtifactRef,
    section: Validation,
    columns: Sequence[str],
    timestamp: str | None = None,
) -> list[CheckResult]:
    """Return the verdict of each expectation, in the order of the section.

    :param columns: every column of the dataset.
    :param timestamp: which of them holds moments.
    :raises SpecError: for an expectation that does not exist, or cannot be computed with its arguments.
    :raises DataError: for a column that does not exist.
    """
    if not section.expectations:
        return []
    configurations = configured([in_utc_bounds(each, timestamp) for each in section.expectations], columns)
    groups: dict[tuple[tuple[str, ...], str], list[int]] = {}
    for index, expectation in enumerate(section.expectations):
        rows_of = repr(expectation.condition)
        groups.setdefault((_columns_of(expectation, columns), rows_of), []).append(index)
    findings: dict[int, CheckResult] = {}
    problems: dict[int, str] = {}
    context = _context()
    for indices, frame in _frames(store, dataset, groups):
        condition = section.expectations[indices[0]].condition
        validator = _validator(context, frame if condition is None else rows_where(frame, condition))
        for index in indices:
            outcome = _validate(validator, configurations[index], "BASIC")
            if (message := _exception(outcome.exception_info)) is not None:
                problems[index] = f"validation.expectations.{index}, {section.expectations[index].type}: {message}"
                continue
            rows: Sequence[int] = ()
            if not outcome.success and section.keep_failing_rows:
                complete = _validate(validator, configurations[index], "COMPLETE")
                rows = _rows(complete.result, section.keep_failing_rows)
            findings[index] = CheckResult(_check(section.expectations[index], outcome, section), rows)
    if problems:
        raise SpecError(
            "expectations cannot be computed on this data:",
            problems=[problems[index] for index in sorted(problems)],
            hint="Correct the expectation's arguments, or the column's role.",
        )
    return [findings[index] for index in sorted(findings)]


def failed_of(
    store: ArtifactStore, dataset: ArtifactRef, expectations: Sequence[Expectation], columns: Sequence[str]
) -> list[str]:
    """Return which expectations of each value a dataset fails, a line each and without its values.

    Where an expectation need hold `mostly`, a few rows fall short of its share by chance: so many that a share as bad
    as allowed shows more in one of 30,000 datasets have to fail.

    :param columns: those of which an expectation may ask; it says nothing when it names another.
    :raises SpecError: for an expectation that does not exist, or cannot be computed with its arguments.
    """
    known = [each for each in expectations if set(_named_by(each)) <= set(columns)]
    section = Validation(expectations=known, keep_failing_rows=0)
    findings = run_expectations(store, dataset, section, columns)
    return [
        f"{shorten(check.column or 'the window', 60)}: {check.unexpected:,} values fail {check.name} ({check.expected})"
        for each, check in zip(known, (finding.check for finding in findings), strict=True)
        if not check.passed and check.unexpected and not _by_chance(check, float(each.kwargs.get("mostly", 1)))
    ]


def _by_chance(check: Check, mostly: float) -> bool:
    """Return whether so many values may fail though the share of all that do is the allowed one."""
    failed, rows = check.unexpected or 0, round((check.unexpected or 0) / (check.share or 1))
    expected = rows * (1 - mostly)
    return failed <= expected + _DEVIATIONS * math.sqrt(expected * mostly)


def configured(expectations: Sequence[Expectation], columns: Sequence[str]) -> list[Any]:
    """Build every expectation before any runs, so that one error says all that is wrong."""
    _quiet()
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    use_bounded_patterns()
    known = list_registered_expectation_implementations()
    built, problems = [], []
    for index, expectation in enumerate(expectations):
        where = f"validation.expectations.{index}"
        if expectation.type not in known:
            nearest = difflib.get_close_matches(expectation.type, known, n=1)
            problems.append(
                f"{where}: Great Expectations has no {expectation.type!r}"
                + (f"; did you mean {nearest[0]!r}?" if nearest else "")
            )
            continue
        require_columns(_columns_of(expectation, columns), columns, f"{where}, {expectation.type},")
        try:
            # Which rows it is of is decided here: the library would evaluate a text.
            kwargs = {name: value for name, value in expectation.kwargs.items() if name != "row_condition"}
            configuration = ExpectationConfiguration(type=expectation.type, kwargs=kwargs)
            built.append(configuration.to_domain_obj().configuration)  # with its arguments checked and parsed
        except (ValueError, TypeError) as error:
            problems.append(f"{where}, {expectation.type}: {' '.join(str(error).split())}")
        problems += [f"{where}, {expectation.type}: {problem}" for problem in _pattern_problems(expectation)]
    if problems:
        raise SpecError(f"{len(problems)} expectations cannot be used:", problems=problems)
    return built


def _pattern_problems(expectation: Expectation) -> list[str]:
    given = [expectation.kwargs.get("regex"), *(expectation.kwargs.get("regex_list") or ())]
    return [problem for pattern in given if pattern is not None and (problem := pattern_problem(pattern)) is not None]


def _columns_of(expectation: Expectation, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that an expectation reads: all, when only the library knows which."""
    named = _named_by(expectation)
    return tuple(dict.fromkeys(named if _arguments(expectation) else [*named, *columns]))


def _named_by(expectation: Expectation) -> list[str]:
    """Return the columns that an expectation names, those of its condition after the others."""
    return [*_arguments(expectation), *columns_of(expectation.condition)]


def _arguments(expectation: Expectation) -> list[str]:
    given = [expectation.kwargs.get(argument) for argument in _COLUMN_ARGUMENTS]
    named = [item for item in given if item is not None]
    return [str(name) for item in named for name in (item if isinstance(item, (list, tuple)) else [item])]


def _quiet() -> None:
    """Keep the library from calling home, and from writing hundreds of lines into the task's log."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the library is imported
    logging.getLogger("great_expectations").setLevel(logging.WARNING)


def _context() -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    # A docs site would leave a temporary folder behind in every run.
    stores = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    context = gx.get_context(mode="ephemeral", project_config=DataContextConfig(store_backend_defaults=stores))
    context.variables.progress_bars = {"globally": False}
    return context


def _frames(
    store: ArtifactStore, dataset: ArtifactRef, groups: Mapping[tuple[tuple[str, ...], str], list[int]]
) -> Iterator[tuple[list[int], pd.DataFrame]]:
    """Yield the expectations on each set of columns with a frame of these.

    As many columns are read at once as memory allows: to open a table of a thousand columns takes longer than to read
    one of them.
    """
    at_once = max(1, _CELLS // max(1, table_rows(store, dataset)))
    waiting = list(groups.items())
    while waiting:
        names, taken = dict.fromkeys(waiting[0][0][0]), 1
        while taken < len(waiting) and len(names | dict.fromkeys(waiting[taken][0][0])) <= at_once:
            names |= dict.fromkeys(waiting[taken][0][0])
            taken += 1
        frame = read_table(store, dataset, list(names))
        # Conditions on categories compare codes or fail: the library wants plain text.
        frame = frame.astype({name: object for name in frame.select_dtypes("category").columns})
        for (columns, _), indices in waiting[:taken]:
            yield indices, frame[list(columns)]
        del waiting[:taken]


def _validator(context: Any, frame: pd.DataFrame) -> Any:
    from great_expectations.execution_engine import PandasExecutionEngine
    from great_expectations.validator.validator import Validator

    return Validator(PandasExecutionEngine(batch_data_dict={"snapshot": frame}), data_context=context)


def _validate(validator: Any, configuration: Any, result_format: str) -> Any:
    runtime = {"result_format": {"result_format": result_format}, "catch_exceptions": True}
    [outcome] = validator.graph_validate([configuration], runtime_configuration=runtime)
    return outcome


def _exception(info: Any) -> str | None:
    """Return the message in GX's two shapes of exception_info: one exception, or one for each metric."""
    for item in [info, *(info.values() if info else ())]:
        if isinstance(item, dict) and item.get("raised_exception"):
            return " ".join(str(item.get("exception_message")).split())
    return None


def _check(expectation: Expectation, outcome: Any, section: Validation) -> Check:
    result = outcome.result
    unexpected, elements = result.get("unexpected_count"), result.get("element_count")
    kwargs = expectation.kwargs
    names = [str(kwargs[name]) for name in _COLUMN_ARGUMENTS if kwargs.get(name) is not None]
    expected = {name: value for name, value in kwargs.items() if name not in _COLUMN_ARGUMENTS}
    return Check(
        name=expectation.type,
        column=", ".join(names) or None,
        policy=expectation.policy or section.policy,
        passed=bool(outcome.success),
        expected=shorten(", ".join(f"{name} {_words(value)}" for name, value in expected.items()), 300) or "true",
        got=_got(result),
        unexpected=unexpected,
        share=unexpected / elements if unexpected is not None and elements else None,
    )


def _got(result: dict[str, Any]) -> str:
    if (unexpected := result.get("unexpected_count")) is not None:
        text = f"{unexpected} of {result.get('element_count')} values"
        examples = list(dict.fromkeys(_words(value) for value in result.get("partial_unexpected_list", ())))
        return shorten(text + (f", such as {', '.join(examples[:_SHOWN_VALUES])}" if examples else ""), 300)
    return shorten(_words(result.get("observed_value")), 300)


def _words(value: Any) -> str:
    """Return a value of the library, numpy's scalars among them, as people write it."""
    if hasattr(value, "item") and callable(value.item):
        value = value.item()
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_words(item) for item in value) + "]"
    return str(value)


def _rows(result: dict[str, Any], keep: int) -> list[int]:
    found: Iterable[Any] = result.get("unexpected_index_list") or ()
    return [int(row) for _, row in zip(range(keep), found, strict=False)]
