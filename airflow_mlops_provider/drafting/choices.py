"""What a draft chooses by the size and kind of the data: split, candidates, gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from airflow_mlops_provider.drafting.roles import Roles
    from airflow_mlops_provider.spec.frozen import Task

#: With fewer rows one holdout is so small that chance decides: every row is held out once instead.
_CROSS_VALIDATED = 2000
#: With fewer rows the last part by time is too small as well.
_TIMED = 200
_HOLDOUT = 0.2
_MANY_ROWS = 50_000
#: Slices are columns of at most so many values.
_MAX_SLICES = 20
#: A class rarer than this is seldom the most probable one, though its probability may be estimated well.
_RARE = 0.3


@dataclass(frozen=True)
class Choice:
    """A value of the pipeline file, and why it is that."""

    value: Any
    why: str


@dataclass(frozen=True)
class Choices:
    """Everything that the size and kind of the data decide.

    :param splits: in order of preference; the first that the data allows is taken.
    """

    min_rows: Choice
    splits: list[Choice]
    candidates: dict[str, dict[str, Any]]
    why_candidates: str
    slices: list[str]
    min_slice_rows: int
    gates: list[Choice]


def choose(roles: Roles, frame: pd.DataFrame) -> Choices:
    """Return what fits a dataset.

    :param frame: its typed rows.
    """
    rows = len(frame)
    slices = [name for name in roles.categorical if frame[name].nunique() <= _MAX_SLICES]
    splits = _splits(roles, rows)
    held = rows if splits[0].value["by"] == "cross_validation" else round(rows * _HOLDOUT)
    return Choices(
        min_rows=Choice(max(20, rows // 2), f"half of the {rows} rows in the file: a broken feed is noticed"),
        splits=splits,
        candidates=_candidates(roles.task, rows),
        why_candidates="One linear model and one or two of trees; the best by the first metric is the challenger.",
        slices=slices,
        min_slice_rows=min(200, max(20, held // 20)),
        gates=_gates(roles, frame),
    )


def _splits(roles: Roles, rows: int) -> list[Choice]:
    folds = 5 if rows >= 100 else 3
    every = Choice(
        {"by": "cross_validation", "folds": folds},
        f"{rows} rows{'' if roles.timestamp else ' without a time'}: each is held out once, in one of {folds} folds, "
        "since a single small holdout would be too noisy",
    )
    part = Choice(
        {"by": "random", "holdout": _HOLDOUT},
        "by a hash of the row, so a row stays on its side as other rows come and go",
    )
    last = Choice(
        {"by": "time", "holdout": _HOLDOUT},
        "the last fifth by time is held out: as in production, the model must predict what comes next",
    )
    undated = [part, every] if rows >= _CROSS_VALIDATED else [every, part]
    return [last, *undated] if roles.timestamp is not None and rows >= _TIMED else undated


def _candidates(task: Task, rows: int) -> dict[str, dict[str, Any]]:
    large = rows >= _MANY_ROWS
    # As many trees as one row can pass in time on a busy machine, and as rows can fill.
    trees: dict[str, Any] = {
        "n_estimators": 100 if rows < _CROSS_VALIDATED else 60,
        "min_samples_leaf": 20 if large else 5 if rows >= 1000 else 2,
    }
    if large:
        trees |= {"max_depth": 14, "max_samples": 0.3, "n_jobs": -1}
    kind = "Regressor" if task == "regression" else "Classifier"
    found: dict[str, dict[str, Any]] = {
        **(
            {"ridge": {"estimator": "sklearn.linear_model.Ridge", "params": {"alpha": 1.0}}}
            if task == "regression"
            else {"logistic": {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 1000}}}
        ),
        "forest": {
            "estimator": f"sklearn.ensemble.RandomForest{kind}",
            "params": trees,
            "encode": "ordinal",
            "scale": "none",
        },
    }
    if rows >= 1000:  # with fewer it mostly learns noise
        found["boosting"] = {
            "estimator": f"sklearn.ensemble.HistGradientBoosting{kind}",
            "params": {"max_iter": 100},
            "encode": "ordinal",
            "scale": "none",
            "impute_numeric": "none",
        }
    return found


def _gates(roles: Roles, frame: pd.DataFrame) -> list[Choice]:
    metric = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}[roles.task]
    return [
        Choice({"kind": "baseline", "metric": metric}, "better than a dummy that knows only the target's distribution"),
        Choice(
            {"kind": "latency", "max_p95_ms": 250},
            "a one-row prediction, 95th percentile, in milliseconds: for a busy machine; 100 is usual on a quiet one",
        ),
        _predictions(roles, frame),
        Choice({"kind": "model_size", "max_mb": 100}, "of the stored model, in megabytes"),
        Choice(
            {"kind": "champion", "metric": metric, "rule": "better"},
            "the champion's recipe, retrained on newer data, passes unless it is clearly worse; another must be "
            "clearly better",
        ),
    ]


def _predictions(roles: Roles, frame: pd.DataFrame) -> Choice:
    if roles.task == "regression":
        why = (
            "predictions vary less than the target: they may differ from it by this many standard deviations, "
            "beyond what the target itself moved from training to holdout"
        )
        return Choice({"kind": "predictions", "max_shift": 0.75}, why)
    rarest = float(frame[roles.target].value_counts(normalize=True).min())
    if rarest < _RARE:
        why = f"the rarest class is {rarest:.1%} of the rows: it need not be the most probable one anywhere"
        return Choice({"kind": "predictions", "min_class_share": 0}, why)
    least = round(rarest / 4, 2)
    return Choice(
        {"kind": "predictions", "min_class_share": least},
        f"each class is predicted for at least a quarter as often as the rarest is found ({rarest:.1%})",
    )
