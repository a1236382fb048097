"""Which column is what, and which is of no use; each with the reason that ends in a comment."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_mlops_provider.data.conversion import Column, to_moment
from airflow_mlops_provider.data.forms import Forms, is_text
from airflow_mlops_provider.data.guesses import guess_dates, odd_ones
from airflow_mlops_provider.data.kinds import is_number, without_nan
from airflow_mlops_provider.data.time_of_day import is_time_of_day
from airflow_mlops_provider.drafting.keys import is_code, is_key, names_a_key
from airflow_mlops_provider.exceptions import DataError, SpecError
from airflow_mlops_provider.spec import Columns, Csv
from airflow_mlops_provider.spec.dates import EPOCHS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from airflow_mlops_provider.drafting.sample import Sample
    from airflow_mlops_provider.spec.frozen import Task

#: Whole numbers of more values than this are a quantity to predict, not classes.
MAX_CLASSES = 10
#: Texts of more values than this are no classes: nobody has rows enough for each.
MAX_TEXT_CLASSES = 50
#: A category has so many rows a value on average, or its values are names that say nothing of the next row.
_ROWS_A_VALUE = 5
_MAX_CATEGORIES = 1000
#: A column with a larger share missing is left out; preparation fails over 0.3, on either side of the split.
_MAX_MISSING = 0.2
#: Fewer rows can neither train nor measure: five folds of ten.
MIN_ROWS = 50
_TIME_NAME = re.compile(
    r"(^|[_\W])(at|on|ts|day|when|epoch)$|time|date|stamp|datum|zeit|moment|created|updated|modified", re.I
)
#: From here on, a moment is written where none is known yet: 9999-12-31 and the like.
_OPEN_END = 9000


@dataclass
class Roles:
    """What the columns of a file are.

    :param task: what kind of target it has, and why.
    :param time_of_day: a column of its own that the timestamp, a day, has it in.
    :param zoned: the timestamp says its zone.
    :param csv: how the file writes its values.
    :param why_csv: what of that is not as usual, a sentence each.
    :param left_out: columns without a role, each with the reason.
    """

    task: Task
    why_task: str
    target: str
    timestamp: str | None = None
    time_of_day: str | None = None
    zoned: bool = True
    keys: list[str] = field(default_factory=list)
    numeric: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    csv: Csv = field(default_factory=Csv)
    why_csv: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> Columns:
        """The roles as a pipeline file has them."""
        return Columns(
            target=self.target,
            timestamp=self.timestamp,
            keys=self.keys,
            numeric=self.numeric,
            categorical=self.categorical,
        )

    @property
    def features(self) -> list[str]:
        """The features."""
        return [*self.numeric, *self.categorical]

    def leave_out(self, name: str, why: str) -> None:
        """Take a feature's role away."""
        for features in (self.numeric, self.categorical):
            if name in features:
                features.remove(name)
        self.left_out[name] = why


def roles_of(sample: Sample, target: str, timestamp: str | None, keys: Sequence[str]) -> Roles:
    """Return what each column is.

    :raises SpecError: a column that was named is not there, or cannot be what it was named for.
    :raises DataError: nothing can be learned from the data.
    """
    table = sample.table
    for argument, name in [("--target", target), ("--timestamp", timestamp), *(("--keys", key) for key in keys)]:
        if name is not None and name not in table.column_names:
            nearest = difflib.get_close_matches(name, table.column_names, n=1)
            raise SpecError(
                f"{argument} is not a column of the file",
                got=name,
                expected=", ".join(table.column_names),
                hint=f"Did you mean {nearest[0]!r}?" if nearest else None,
            )
    if len(table) < MIN_ROWS:
        raise DataError("the file has too few rows", got=len(table), expected=f"at least {MIN_ROWS}")
    task, why = _task_of(table[target], target)
    roles = Roles(task, why, target, csv=sample.csv, why_csv=list(sample.why))
    _give_timestamp(roles, table, timestamp)
    roles.keys = list(keys)
    _give_time_of_day(roles, table)
    for name in table.column_names:
        if name not in (target, roles.timestamp, roles.time_of_day, *roles.keys):
            _assign(roles, name, table[name], find_keys=not keys)
    if not roles.features:
        raise DataError("no column is left to use as a feature", got=roles.left_out)
    return roles


def _task_of(values: pa.ChunkedArray, name: str) -> tuple[Task, str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if values.null_count:
        raise DataError(
            f"target {name!r} is missing in {values.null_count} of {len(values)} rows",
            hint="Leave rows without a label out of the file.",
        )
    counts = {item["values"]: item["counts"] for item in pc.value_counts(_plain(values)).to_pylist()}
    kind, distinct = values.type, len(counts)
    if distinct < 2:
        raise DataError(f"target {name!r} is the same in every row", got=next(iter(counts)))
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        if distinct > 2 or any(float(value) % 1 for value in counts):
            return "regression", f"{distinct} different numbers"
    elif pa.types.is_integer(kind):
        if distinct > MAX_CLASSES:
            return "regression", f"{distinct} different numbers"
    elif not (pa.types.is_boolean(kind) or is_text(kind)):
        raise DataError(f"target {name!r} is not a number, text or boolean", got=str(kind))
    if distinct > MAX_TEXT_CLASSES:
        raise DataError(
            f"target {name!r} has {distinct} different texts", expected=f"a number, or at most {MAX_TEXT_CLASSES}"
        )
    rarest = min(counts, key=counts.__getitem__)
    if counts[rarest] < 10:
        raise DataError(
            f"class {rarest!r} of target {name!r} has {counts[rarest]} rows",
            expected="at least 10 per class",
            hint="Leave it out of the file, or merge it with another class.",
        )
    return ("binary" if distinct == 2 else "multiclass"), f"{distinct} different values"


def _give_timestamp(roles: Roles, table: pa.Table, requested: str | None) -> None:
    """Find the moments that say when a row became known: those in ISO 8601 before those in another form."""
    names = [name for name in table.column_names if name != roles.target] if requested is None else [requested]
    found: dict[str, str | None] = {
        name: None for name in names if _is_moment(table[name]) and not table[name].null_count and _is_past(table[name])
    }
    if not found:
        found = {name: dates for name in names if (dates := _dates_of(name, table[name], requested)) is not None}
    if requested is not None and not found:
        values = table[requested]
        raise SpecError(
            "--timestamp names a column that is not a moment in every row",
            got=f"{requested}, of type {values.type}, such as {values[0]}, missing in {values.null_count} rows",
            expected="values such as 2013-03-01 or 2013-03-01T06:00:00Z",
            hint=_why_not(values, roles),
        )
    if len(found) > 1:
        raise SpecError(
            "several columns are moments",
            got=", ".join(found),
            hint="Use --timestamp to name the column with the moment at which a row became known.",
        )
    for name, dates in found.items():
        roles.timestamp = name
        roles.zoned = dates in EPOCHS if dates else getattr(table[name].type, "tz", None) is not None
        if dates is not None:
            roles.csv = roles.csv.model_copy(update={"dates": dates})
            roles.why_csv.append(f"all {len(table)} values of {name!r} have this form, such as {table[name][0]}")


def _give_time_of_day(roles: Roles, table: pa.Table) -> None:
    """Find the one column with the time of day, where the timestamp is a day alone."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if roles.timestamp is None or roles.csv.dates in EPOCHS:
        return
    taken = (roles.target, roles.timestamp, *roles.keys)
    times = [name for name in table.column_names if name not in taken and is_time_of_day(table[name])]
    rows = pa.arange(1, len(table) + 1)
    days = to_moment(Column(roles.timestamp, table[roles.timestamp], "", rows, Forms(roles.csv)), "UTC")
    if len(times) == 1 and pc.all(pc.equal(days, pc.floor_temporal(days, unit="day"))).as_py():
        roles.time_of_day = times[0]


def _dates_of(name: str, values: pa.ChunkedArray, requested: str | None) -> str | None:
    """Return the one form, other than ISO 8601, by which all values are moments; None when there is none, or several.

    Numbers count seconds by their column's name: those of a key, or of an amount, may lie in the same range.
    """
    if values.null_count or not (is_text(values.type) or is_number(values.type)):
        return None
    if requested is None and names_a_key(name):
        return None
    fitting = [dates for dates, odd in guess_dates(values) if odd is None and dates is not None]
    if len(fitting) != 1 or (requested is None and fitting[0] in EPOCHS and not _TIME_NAME.search(name)):
        return None
    return fitting[0]


def _assign(roles: Roles, name: str, values: pa.ChunkedArray, *, find_keys: bool) -> None:
    """Give a column its role, or the reason why it has none."""
    import pyarrow.compute as pc

    if (why := _unusable(name, values)) is not None:
        roles.left_out[name] = why
        return
    rows, distinct = len(values), pc.count_distinct(_plain(values)).as_py()
    if distinct < 2:
        roles.left_out[name] = "the same in every row"
    elif find_keys and is_key(name, values, distinct):
        roles.keys.append(name)
    elif (why := _why_not(values, roles)) is not None:
        roles.left_out[name] = why
    elif is_number(values.type) and not is_code(values):
        roles.numeric.append(name)
    elif distinct > min(_MAX_CATEGORIES, rows / _ROWS_A_VALUE):
        roles.left_out[name] = f"{distinct} different {_called(values)} in {rows} rows are too many to learn from"
    else:
        roles.categorical.append(name)


def _called(values: pa.ChunkedArray) -> str:
    return "codes" if is_code(values) else "texts"


def _unusable(name: str, values: pa.ChunkedArray) -> str | None:
    """Return why nothing can be made of a column at all."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if not name.strip():
        return "has no name: give it one to use it as a key or a feature"
    if pa.types.is_nested(kind):
        return f"holds {kind}, which cannot be a feature"
    if "binary" in str(kind):
        return f"holds {kind}: bytes, which cannot be a feature"
    if values.null_count > _MAX_MISSING * len(values):
        return f"missing in {values.null_count / len(values):.0%} of the rows"
    if pa.types.is_floating(kind) and len(infinite := pc.indices_nonzero(pc.is_inf(values))):
        rows = ", ".join(str(index + 1) for index in infinite[:5].to_pylist())
        are = "is" if len(infinite) == 1 else "are"
        return (
            f"{len(infinite)} of {len(values)} values {are} infinite (row {rows}): correct the source, or name the "
            "text in data.source.csv.missing"
        )
    return None


def _why_not(values: pa.ChunkedArray, roles: Roles) -> str | None:
    """Return why a column that looks like moments, or nearly like numbers, is no feature; None when it is no such."""
    import pyarrow as pa

    kind = values.type
    if _is_moment(values):
        if not _is_past(values):
            return f"an open end such as {_latest(values)}, and no time when the row became known"
        if roles.timestamp is None and values.null_count:
            return f"a moment, but no timestamp: it is missing in {values.null_count} rows"
        return "a moment cannot be a feature; derive numbers from it, such as the hour"
    if pa.types.is_time(kind) or pa.types.is_duration(kind) or pa.types.is_interval(kind):
        return "a time cannot be a feature; derive numbers from it, such as the hour"
    if not is_text(kind):
        return None
    if (mixed := _mixed_zones(values, roles.csv)) is not None:
        return mixed
    if (odd := odd_ones(values, roles.csv)) is not None:
        return f"{odd}. Correct them, or name them in data.source.csv.missing"
    return _dates_in_words(values)


def _dates_in_words(values: pa.ChunkedArray) -> str | None:
    """Return that texts are dates of another form, and which."""
    found = [(dates, odd) for dates, odd in guess_dates(values) if dates is not None]
    if not found:
        return None
    forms = " or ".join(str(dates) for dates, _ in found)
    odd = found[0][1]
    example = next(text for text in values.to_pylist() if text and text not in (odd.texts if odd else ()))
    rest = "" if odd is None else f"; but {odd.words('dates')}"
    return f"dates such as {example}, which data.source.csv.dates {forms} reads as the timestamp{rest}"


def _mixed_zones(values: pa.ChunkedArray, csv: Csv) -> str | None:
    import pyarrow.compute as pc

    forms = Forms(csv)
    moments = forms.moments(values)
    zoned, naive = (pc.sum(pc.is_valid(part)).as_py() or 0 for part in (moments.zoned, moments.naive))
    if not zoned or not naive or forms.misfits(values, moments.read) is not None:
        return None
    return f"moments, of which {zoned} have a zone and {naive} do not: give each its zone"


def _is_past(values: pa.ChunkedArray) -> bool:
    return not str(_latest(values))[:4].isdigit() or int(str(_latest(values))[:4]) < _OPEN_END


def _latest(values: pa.ChunkedArray) -> str:
    """Return the last moment as text: Python has no dates beyond 9999, nor some of those before."""
    import pyarrow.compute as pc

    return str(pc.max(values).cast("string").as_py())


def _is_moment(values: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_timestamp(values.type) or pa.types.is_date(values.type))


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    return without_nan(values) if pa.types.is_floating(values.type) else values
