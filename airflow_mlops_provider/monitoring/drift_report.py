"""What the drift step writes and deciding, the page and the UI read: one JSON file, every number finite or null."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.results import first_within, text_within
from airflow_mlops_provider.spec.frozen import Finite, Frozen, Share

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_mlops_provider.evaluation.probe_report import Importances

Role = Literal["feature", "prediction", "target"]
#: What is wrong with the data itself. The first four break a column: it cannot be compared, and counts as drifted.
ProblemKind = Literal[
    "missing_column",
    "wrong_type",
    "all_missing",
    "no_reference",
    "infinite",
    "missing_share",
    "constant",
    "constant_reference",
    "new_categories",
    "out_of_range",
    "other_rows",
    "other_version",
]
BREAKING: frozenset[ProblemKind] = frozenset({"missing_column", "wrong_type", "all_missing", "no_reference"})

#: What of the report goes into XCom, in bytes of JSON; the artifact holds it whole.
_WHY_BYTES = 400
_NAME_BYTES, _COLUMNS_BYTES = 80, 700
_PROBLEM_BYTES, _PROBLEMS_BYTES, _INCIDENT_BYTES = 160, 700, 500


class Problem(Frozen):
    """Something wrong with the data.

    :param column: null when it concerns the whole table.
    """

    kind: ProblemKind
    column: str | None = None
    got: str
    expected: str

    @property
    def broken(self) -> bool:
        """Whether the column cannot be compared."""
        return self.kind in BREAKING

    @property
    def words(self) -> str:
        """The problem in one line."""
        name = self.kind.replace("_", " ")
        return f"{f'{self.column}: ' if self.column else ''}{name} (got {self.got}, expected {self.expected})"


class Side(Frozen):
    """One column on one side.

    :param rows: of the table, all of them counted.
    :param missing: share of them without a usable value.
    :param low: smallest number of all rows.
    :param mean: of the sample.
    :param categories: how many there are; null for numbers.
    :param shares: of the sample, by the bins or labels of the comparison.
    """

    rows: int
    missing: Share
    low: Finite | None = None
    high: Finite | None = None
    mean: Finite | None = None
    sd: Finite | None = None
    categories: int | None = None
    shares: list[Finite] = Field(default_factory=list)


class ColumnDrift(Frozen):
    """One column of the window beside the reference.

    :param method: the distance; null when nothing could be measured, and `why` says why.
    :param threshold: the least distance that matters.
    :param bound: what is usual; measured once the threshold is reached. A distance within it is no drift.
    :param bound_by: what the bound follows from: the threshold, what independent rows show by chance, or what
        stretches of the reference show.
    :param missing_shift: by how much the share of missing values differs; at the categorical threshold it is drift.
    :param importance: permutation importance in the champion, as evaluate measured it.
    :param weight: the column's part in the weighted share; 0 for what is no feature.
    :param edges: of the bins of numbers; the outer ones hold what lies beyond.
    :param labels: the categories with the largest shares; the rest is in no bin.
    """

    column: str
    role: Role
    kind: Literal["numeric", "categorical"]
    method: Literal["wasserstein", "jensenshannon"] | None = None
    statistic: Finite | None = None
    threshold: Finite
    bound: Finite | None = None
    bound_by: Literal["threshold", "chance", "stretches"] | None = None
    missing_shift: Finite = 0.0
    drifted: bool
    broken: bool = False
    why: str | None = None
    importance: Finite | None = None
    weight: Share = 0.0
    reference: Side | None = None
    current: Side | None = None
    edges: list[Finite] = Field(default_factory=list)
    labels: list[str] = Field(default_factory=list)

    @property
    def force(self) -> float:
        """How much the column matters to the verdict: its weight times how far it lies over its bound."""
        return max(self.ratio, float(self.broken)) * (self.weight or 1e-9)

    @property
    def ratio(self) -> float:
        """The distance over the bound."""
        return (self.statistic or 0.0) / max(self.bound or 0.0, self.threshold)


class DriftReport(Document):
    """The verdict on one window.

    :param version: the champion, on whose reference the window was held.
    :param rows: of the window.
    :param labelled: rows whose target is known.
    :param judged: False when the rows allow no verdict; `why` says why.
    :param why: the verdict in words.
    :param share: of the features, those that drifted.
    :param weighted_share: of the champion's importance, what lies in features that drifted.
    :param least_share: a window drifts from this weighted share on.
    :param level: how far over its bound each of the features lies that hold `least_share` together.
    :param usual_level: what stretches of the reference show of it, measured once they drift; a level within it is no
        drift of the window.
    :param usual_by: in one sentence, what is usual follows from.
    :param stretches: of the reference that were measured; 0 where it knows no time.
    :param weights: what the weights are: permutation importance, or equal where none was measured.
    :param prediction_drift: null when predictions could not be compared.
    :param target_drift: null as long as labels are missing.
    :param incident: what is broken of what the champion uses, a line each: the window teaches nothing.
    """

    SCHEMA: ClassVar[int] = 2

    version: int
    rows: int
    sampled: int
    reference_rows: int
    labelled: int = 0
    judged: bool
    drifted: bool
    why: str
    share: Share | None = None
    weighted_share: Share | None = None
    least_share: Share
    level: Finite | None = None
    usual_level: Finite | None = None
    usual_by: str | None = None
    stretches: int = 0
    weights: Literal["importance", "equal"]
    metric: str | None = None
    prediction_drift: bool | None = None
    target_drift: bool | None = None
    incident: list[str] = Field(default_factory=list)
    columns: list[ColumnDrift]
    problems: list[Problem] = Field(default_factory=list)

    @classmethod
    def upgraded(cls, raw: Any, schema: int) -> Any:
        """Read the first schema: only what independent rows show was held against a distance, as `noise`."""
        columns = []
        for column in raw["columns"]:
            noise = column.pop("noise", None)
            columns.append(column | ({} if noise is None else {"bound": noise, "bound_by": "chance"}))
        return raw | {"columns": columns}

    @property
    def worst_problems(self) -> list[Problem]:
        """What is wrong with the data, what breaks a column first."""
        return sorted(self.problems, key=lambda problem: not problem.broken)

    @property
    def drifted_features(self) -> list[ColumnDrift]:
        """Features that drifted, those that matter most first."""
        return sorted(
            (column for column in self.columns if column.role == "feature" and column.drifted),
            key=lambda column: -column.force,
        )

    def facts(self) -> dict[str, Any]:
        """Return what goes into XCom."""
        moved = self.drifted_features
        return {
            "judged": self.judged,
            "drifted": self.drifted,
            "why": text_within(self.why, _WHY_BYTES),
            "rows": self.rows,
            "version": self.version,
            "share": self.share,
            "weighted_share": self.weighted_share,
            "stretches": self.stretches,
            "prediction_drift": self.prediction_drift,
            "target_drift": self.target_drift,
            "columns": first_within((text_within(column.column, _NAME_BYTES) for column in moved), _COLUMNS_BYTES),
            "drifted_columns": len(moved),
            "incident": first_within((text_within(one, _PROBLEM_BYTES) for one in self.incident), _INCIDENT_BYTES),
            "problems": first_within(
                (text_within(one.words, _PROBLEM_BYTES) for one in self.worst_problems), _PROBLEMS_BYTES
            ),
            "problem_count": len(self.problems),
        }


def weights_of(names: Sequence[str], importances: Importances | None) -> dict[str, float]:
    """Return each feature's weight; together 1.

    By importance: what does not help the champion (zero or less) weighs nothing; a feature that was not measured
    weighs as much as the mean of the others. Equal where nothing was measured, or nothing helps.

    >>> from airflow_mlops_provider.evaluation.probe_report import ImportanceOf, Importances
    >>> known = {"a": ImportanceOf(mean=3, sd=0), "b": ImportanceOf(mean=1, sd=0), "c": ImportanceOf(mean=-1, sd=0)}
    >>> weights_of(["a", "b", "c"], Importances(metric="roc_auc", rows=9, repeats=1, columns=known))
    {'a': 0.75, 'b': 0.25, 'c': 0.0}
    >>> weights_of(["a", "b"], None)
    {'a': 0.5, 'b': 0.5}
    """
    measured = {} if importances is None else {name: max(0.0, of.mean) for name, of in importances.columns.items()}
    known = [measured[name] for name in names if name in measured]
    if not sum(known):
        return {name: 1 / len(names) for name in names}
    mean = sum(known) / len(known)
    raw = {name: measured.get(name, mean) for name in names}
    total = sum(raw.values())
    return {name: value / total for name, value in raw.items()}


def weighted(columns: Iterable[ColumnDrift], importances: Importances | None) -> list[ColumnDrift]:
    """Return the columns with the importance and the weight of each feature."""
    columns = list(columns)
    weights = weights_of([column.column for column in columns if column.role == "feature"], importances)
    known: Mapping[str, float] = {} if importances is None else {n: of.mean for n, of in importances.columns.items()}
    return [
        column.model_copy(update={"weight": min(1.0, weights[column.column]), "importance": known.get(column.column)})
        if column.role == "feature"
        else column
        for column in columns
    ]
