"""What is checked before Great Expectations, which passes an all-null column and an empty table in silence."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_mlops_provider.data.tables import iter_tables
from airflow_mlops_provider.exceptions import DataError
from airflow_mlops_provider.validation.checks import Check, CheckResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from airflow_mlops_provider.data.tables import TableInfo
    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.spec import Validation
    from airflow_mlops_provider.storage import ArtifactStore

#: A check of a target's classes need not know more of them.
_MAX_DISTINCT = 10_000


@dataclass
class _Wrong:
    """Values of one column that are wrong in one way."""

    count: int = 0
    rows: list[int] = field(default_factory=list)

    def add(self, mask: pa.ChunkedArray, offset: int, keep: int) -> None:
        import pyarrow.compute as pc

        found = pc.indices_nonzero(mask)
        self.count += len(found)
        room = max(0, keep - len(self.rows))
        self.rows.extend(offset + index for index in found[:room].to_pylist())


class _Survey:
    """One pass over the table, a row group at a time."""

    def __init__(self, columns: Sequence[str], keep: int) -> None:
        self.rows = 0
        self.missing = {name: _Wrong() for name in columns}
        self.infinite = {name: _Wrong() for name in columns}
        self.distinct: set[object] = set()
        self._keep = keep

    def add(self, table: pa.Table, target: str) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        for name in table.column_names:
            values = table[name]
            if values.null_count or pa.types.is_floating(values.type):
                self.missing[name].add(pc.is_null(values, nan_is_null=True), self.rows, self._keep)
            if pa.types.is_floating(values.type):
                self.infinite[name].add(pc.is_inf(values), self.rows, self._keep)
        if len(self.distinct) < _MAX_DISTINCT:
            self.distinct.update(pc.unique(table[target]).drop_null().to_pylist())
        self.rows += len(table)


def run_guards(store: ArtifactStore, dataset: ArtifactRef, info: TableInfo, section: Validation) -> list[CheckResult]:
    """Check row counts, missing and infinite values, the target's classes and the keys.

    A guard that holds everywhere is one check; one that does not is a check for each column at fault.

    :raises DataError: when `required` names a column that is not there.
    """
    columns = info.columns
    require_columns(section.required, columns.all, "validation.required")
    keep = section.keep_failing_rows
    survey = _Survey(columns.all, keep)
    for table in iter_tables(store, dataset):
        survey.add(table, columns.target)
    needed = dict.fromkeys(
        [columns.target, *([columns.timestamp] if columns.timestamp else []), *columns.keys, *section.required]
    )
    empty = [name for name in columns.all if survey.rows and survey.missing[name].count == survey.rows]
    all_null = {name: survey.missing[name] for name in empty}
    some_null = {name: survey.missing[name] for name in needed if name not in empty}
    return [
        *_row_counts(survey.rows, section),
        *_per_column("column_is_not_all_null", "at least one value", survey.rows, all_null, section),
        *_per_column("column_has_no_null", "a value in every row", survey.rows, some_null, section),
        *_per_column("column_is_finite", "no infinite value", survey.rows, survey.infinite, section),
        *_target_varies(survey, info, section),
        *_keys_are_unique(store, dataset, info, section),
    ]


def require_columns(names: Sequence[str], present: Sequence[str], where: str) -> None:
    """Refuse a column that the dataset does not have.

    :raises DataError: names the nearest one.
    """
    for name in names:
        if name not in present:
            nearest = difflib.get_close_matches(name, present, n=1)
            raise DataError(
                f"{where} names a column that the dataset does not have",
                got=name,
                expected=list(present),
                hint=f"Did you mean {nearest[0]!r}?" if nearest else "Give the column a role in data.columns.",
            )


def _row_counts(rows: int, section: Validation) -> Iterator[CheckResult]:
    least = max(section.min_rows, 2)
    most = section.max_rows
    yield CheckResult(
        Check(
            name="rows_are_enough",
            policy=section.policy,
            passed=rows >= least,
            expected=f"at least {least} rows",
            got=f"{rows} row{'' if rows == 1 else 's'}",
        )
    )
    if most is not None:
        yield CheckResult(
            Check(
                name="rows_are_not_too_many",
                policy=section.policy,
                passed=rows <= most,
                expected=f"at most {most} rows",
                got=f"{rows} rows",
            )
        )


def _per_column(
    name: str, expected: str, rows: int, columns: dict[str, _Wrong], section: Validation
) -> Iterator[CheckResult]:
    wrong = {column: found for column, found in columns.items() if found.count}
    if not wrong:
        yield CheckResult(
            Check(name=name, policy=section.policy, passed=True, expected=expected, got="true of every column")
        )
    for column, found in wrong.items():
        yield CheckResult(
            Check(
                name=name,
                column=column,
                policy=section.policy,
                passed=False,
                expected=expected,
                got=f"{found.count} of {rows} values"
                + (f", the first in row {found.rows[0] + 1} of the snapshot" if found.rows else ""),
                unexpected=found.count,
                share=found.count / rows,
            ),
            found.rows,
        )


def _target_varies(survey: _Survey, info: TableInfo, section: Validation) -> Iterator[CheckResult]:
    classes = len(survey.distinct)
    exactly = 2 if info.task == "binary" else None
    kind = "value" if info.task == "regression" else "class"
    shown = ", ".join(sorted(map(str, survey.distinct))[:5]) + (", ..." if classes > 5 else "")
    yield CheckResult(
        Check(
            name="target_varies",
            column=info.columns.target,
            policy=section.policy,
            passed=classes == exactly if exactly else classes >= 2,
            expected="exactly 2 classes" if exactly else f"at least 2 different {kind}{'e' * (kind == 'class')}s",
            got=f"{classes} {kind}{'' if classes == 1 else 'es' if kind == 'class' else 's'}: {shown}",
        )
    )


def _keys_are_unique(
    store: ArtifactStore, dataset: ArtifactRef, info: TableInfo, section: Validation
) -> Iterator[CheckResult]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (keys := info.columns.keys):
        return
    table = pa.concat_tables(iter_tables(store, dataset, keys))
    distinct = len(table.group_by(keys).aggregate([([], "count_all")]))
    extra = len(table) - distinct
    twice, rows = table.slice(0, 0), []
    if extra:  # only now, because finding the rows takes five times as long as counting them
        groups = table.append_column("row", pa.arange(0, len(table))).group_by(keys)
        counted = groups.aggregate([("row", "count"), ("row", "max")]).sort_by("row_max")
        twice = counted.filter(pc.greater(counted["row_count"], 1)).slice(0, max(section.keep_failing_rows, 1))
        rows = twice["row_max"].to_pylist()[: section.keep_failing_rows]
    example = ", ".join(f"{key}={twice[key][0].as_py()}" for key in keys) if len(twice) else ""
    yield CheckResult(
        Check(
            name="keys_are_unique",
            column=keys[0] if len(keys) == 1 else None,
            policy=section.policy,
            passed=not extra,
            expected=f"each {', '.join(keys)} once",
            got=f"{extra} repeated rows" + (f", such as {example}" if example else ""),
            unexpected=extra,
            share=extra / len(table) if len(table) else 0.0,
        ),
        rows,
    )
