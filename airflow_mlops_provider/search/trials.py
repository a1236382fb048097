"""Trials: one point of the space, fitted and measured on each fold of the training rows."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import Field, JsonValue, ValidationError

from airflow_mlops_provider.evaluation.metrics import measure, predictions_of
from airflow_mlops_provider.exceptions import SpecError, shorten
from airflow_mlops_provider.modeling.estimators import build_pipeline
from airflow_mlops_provider.modeling.predictions import predict
from airflow_mlops_provider.spec.frozen import Finite, Frozen
from airflow_mlops_provider.spec.search import with_values

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from airflow_mlops_provider.allow_list import AllowList
    from airflow_mlops_provider.evaluation.custom_metrics import OwnMetrics
    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.modeling.splits import SplitPlan
    from airflow_mlops_provider.search.folds import Fold
    from airflow_mlops_provider.search.space import Point
    from airflow_mlops_provider.spec import Candidate
    from airflow_mlops_provider.storage.journal import Journal

#: The trial of the parameters as they stand.
DEFAULT = 0


class Trial(Frozen):
    """One point, measured.

    :param number: 0 is that of the parameters as they stand.
    :param params: what the point sets, by name in the space.
    :param score: mean over the folds; None when it could not be fitted or measured, and `why` says why.
    :param seconds: of fitting and measuring; 0 of a point that had come before.
    :param share: of the training rows that it saw; below 1 when halving dropped it before the last round.
    """

    number: int = Field(ge=0)
    shard: int = 0
    params: dict[str, JsonValue] = Field(default_factory=dict)
    score: Finite | None
    folds: list[Finite] = Field(default_factory=list)
    seconds: Finite
    share: Finite = 1.0
    why: str | None = None


@dataclass
class Bench:
    """Where the trials of one candidate are measured, on one set of training rows.

    What is fitted before the estimator is the same in each trial of a fold, so it is fitted once: with n trials, n - 1
    times less than by `cross_validate`. It costs the memory of the transformed folds.

    :param rows: positions of the training rows in frame and target.
    :param journal: what was measured before is not measured again.
    :param scope: tells apart several such sets of rows in one journal.
    :param fresh: measure anew whatever the journal says.
    :param own: the user's metrics of every row of the frame.
    """

    candidate: Candidate
    plan: SplitPlan
    frame: pd.DataFrame
    target: NDArray[Any]
    rows: NDArray[np.int64]
    folds: list[Fold]
    metric: str
    seed: int
    allow_list: AllowList
    journal: Journal
    scope: str
    fresh: bool = False
    own: OwnMetrics | None = None
    _prepared: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    _known: dict[str, Trial] = field(default_factory=dict)

    def trial(self, number: int, shard: int, point: Point) -> Trial:
        """Return the trial of a point, from the journal when it is there."""
        # Each shard on its own, as in tasks of their own.
        point_key = f"{shard} {json.dumps(point, sort_keys=True)}"
        if (same := self._known.get(point_key)) is not None:
            return same.model_copy(update={"number": number, "shard": shard, "seconds": 0.0})
        trial = Trial(number=number, shard=shard, params=point, **self.fitted(f"{number:04}", point, self.folds))
        self._known[point_key] = trial
        return trial

    def fitted(self, name: str, point: Point, folds: list[Fold]) -> dict[str, Any]:
        """Return what a point reaches on some folds, measured once in all processes and kept under a name."""
        name = f"{self.scope}-{name}"
        record = None if self.fresh else self.journal.read(name)
        if (found := _result(record, point)) is not None:
            return found
        result = self._measured(point, folds)
        self.journal.write(name, {"params": point, "result": result})
        return result

    def _measured(self, point: Point, folds: list[Fold]) -> dict[str, Any]:
        started = time.perf_counter()
        scores: list[float] = []
        why = None
        for number, fold in enumerate(folds, 1):
            score, why = self._score(point, fold)
            if score is None:
                why = f"fold {number}: {why}"
                break
            scores.append(score)
        mean = None if why is not None else sum(scores) / len(scores)
        return {"score": mean, "folds": scores, "seconds": round(time.perf_counter() - started, 3), "why": why}

    def _score(self, point: Point, fold: Fold) -> tuple[float | None, str | None]:
        """Return what a point reaches on one fold, or why it reaches nothing.

        :raises SpecError: for a parameter that the estimator does not have: no other point would do better.
        """
        from joblib import parallel_config

        try:
            # What is odd about a trial is shown by its score; the candidate's own fit keeps its warnings.
            with warnings.catch_warnings(), parallel_config(backend="sequential"):
                warnings.simplefilter("ignore")
                predictions = self._predicted(point, fold)
        except SpecError:
            raise
        except Exception as error:
            return None, shorten(f"{type(error).__name__}: {' '.join(str(error).split())}", 300)
        # A metric of the user's that raises is no fault of this point: the task fails.
        return (None, predictions) if isinstance(predictions, str) else measure(self.metric, predictions)

    def _predicted(self, point: Point, fold: Fold) -> Predictions | str:
        """Return the predictions for the held-out rows of a fold, or why there are none."""
        import pandas as pd

        train, test = fold
        pipeline = self._pipeline(point)
        known, held_out = self._transformed(pipeline, fold)
        model = pipeline.named_steps["model"].fit(known, self.target[train])
        classes = self.plan.classes or []
        if classes and model.classes_.tolist() != classes:
            return f"it learned the classes {shorten(model.classes_.tolist(), 100)}"
        scores = predict(model, held_out, self.plan.task)
        truth = self.target[test]
        codes = pd.Categorical(truth, categories=classes).codes if classes else truth
        own = None if self.own is None else self.own.take(test)
        return predictions_of(self.plan.task, codes, scores, classes, own=own)

    def _pipeline(self, point: Point) -> Any:
        changed = {"params": with_values(self.candidate.params, point), "search": None}
        return build_pipeline(
            self.candidate.model_copy(update=changed),
            self.plan.columns,
            task=self.plan.task,
            seed=self.seed,
            allow_list=self.allow_list,
            classes=self.plan.classes or (),
        )

    def _transformed(self, pipeline: Any, fold: Fold) -> tuple[Any, Any]:
        """Return the rows of a fold as the estimator takes them."""
        preprocess = pipeline.named_steps["preprocess"]
        train, test = fold
        # Which rows, and whether the estimator takes sparse ones: all else is the candidate's.
        rows = hashlib.sha256(train.tobytes()).hexdigest()
        key = f"{rows} {len(test)} {preprocess.sparse_threshold}"
        if key not in self._prepared:
            if len(self._prepared) >= len(self.folds):
                self._prepared.clear()  # a round of halving has rows of its own
            known = preprocess.fit_transform(self.frame.iloc[train], self.target[train])
            self._prepared[key] = known, preprocess.transform(self.frame.iloc[test])
        return self._prepared[key]


def _result(record: Any, point: Point) -> dict[str, Any] | None:
    """Return what a record says of a point, None when it is another's."""
    if not isinstance(record, dict) or record.get("params") != point:
        return None
    try:
        Trial(number=0, **record["result"])
    except (KeyError, TypeError, ValidationError):
        return None
    result: dict[str, Any] = record["result"]
    return result
