"""Fits one candidate and asks it for the held-out rows.

The number of OpenMP and BLAS threads is capped at one while it runs: candidates train beside one another, and
their thread pools would starve each other (a boosting of 1.4 s took 25 s). joblib's `n_jobs` stays as it is set.
"""

from __future__ import annotations

import logging
import resource
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import ModelError, shorten
from airflow_mlops_provider.job import Job, Outcome
from airflow_mlops_provider.modeling.calibration import check_task, fitted_and_validation_rows, settle
from airflow_mlops_provider.modeling.estimators import build_pipeline
from airflow_mlops_provider.modeling.fitted import Fitted, store_model
from airflow_mlops_provider.modeling.fitting import libraries_of, named, names_of, one_thread_each, read_rows
from airflow_mlops_provider.modeling.predictions import predict, write_predictions
from airflow_mlops_provider.modeling.recipes import recipe_of
from airflow_mlops_provider.modeling.splits import StoredSplit, read_split
from airflow_mlops_provider.modeling.threshold import threshold_of
from airflow_mlops_provider.results import first_within
from airflow_mlops_provider.spec import Candidate, Frozen
from airflow_mlops_provider.spec.search import with_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.search.report import SearchReport

log = logging.getLogger(__name__)

#: Raised when the same candidate is fitted otherwise than before, so that what was stored is fitted again.
FORMAT = 3
LIBRARIES = ("numpy", "pandas", "pyarrow", "scipy", "sklearn", "skops")

_MAX_WARNINGS = 5
_WARNINGS_BYTES = 1200


class Section(Frozen):
    """One candidate, by name."""

    name: str
    candidate: Candidate


def names(section: Section) -> list[str]:
    """Return the dotted names of the estimator and of every estimator in its parameters."""
    return names_of(section.candidate)


def libraries(section: Section) -> tuple[str, ...]:
    """Return the libraries whose versions decide the result."""
    return libraries_of(section.candidate, LIBRARIES)


def run(section: Section, job: Job) -> Outcome:
    """Store the artifacts `model`, `model_info` and `predictions`.

    :raises SpecError: when the estimator or a parameter of it cannot be used.
    :raises ModelError: when fitting fails, or the fitted model cannot be stored.
    """
    dataset = job.artifact("dataset", "dataset")
    split = read_split(job.store, job.artifact("split", "split"), job.artifact("split", "assignment"))
    check_task(section.candidate, split.plan.task)
    frame, target = read_rows(job.store, dataset, split.plan)
    training = _Training(section, job, split, frame, target)
    with one_thread_each(names(section), job.allow_list):
        predictions = training.hold_out()
        pipeline = training.final()
    fitted = Fitted(section.name, section.candidate, split.plan, frame[split.train_mask(1)], pipeline)
    info, model = store_model(job.store, job.allow_list, fitted)
    return Outcome(
        artifacts={
            "model": model,
            "model_info": job.store.add_document(info),
            "predictions": predictions,
            **training.search_artifact(),
        },
        facts={
            "candidate": section.name,
            "estimator": section.candidate.estimator,
            "recipe": recipe_of(section.candidate, split.plan, job.allow_list),
            "digest": info.digest,
            "model_bytes": info.size,
            "fit_seconds": round(training.fit_seconds, 3),
            "predict_seconds": round(training.predict_seconds, 3),
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            **({} if info.threshold is None else {"threshold": info.threshold}),
            "warnings": first_within(training.warnings, _WARNINGS_BYTES),
            **training.search_facts(),
        },
    )


@dataclass
class _Training:
    """One candidate being trained, and what was seen on the way."""

    section: Section
    job: Job
    split: StoredSplit
    frame: pd.DataFrame
    target: NDArray[Any]
    fit_seconds: float = 0.0
    predict_seconds: float = 0.0
    warnings: dict[str, None] = field(default_factory=dict)
    pipeline: Any = None
    searched: SearchReport | None = None

    def hold_out(self) -> ArtifactRef:
        """Fit each fold without its held-out rows, and store what it says of them."""
        import numpy as np

        plan = self.split.plan
        held = np.flatnonzero(self.split.fold > 0)
        shape = held.size if plan.classes is None else (held.size, len(plan.classes))
        values, thresholds = np.empty(shape), np.full(held.size, np.nan)
        for fold in range(1, plan.folds + 1):
            self.pipeline = self._fit("final" if plan.folds == 1 else f"fold-{fold}")
            rows = self.split.fold[held] == fold
            values[rows] = self._predict(self.pipeline, self.split.holdout_mask(fold))
            if (threshold := threshold_of(self.pipeline)) is not None:
                thresholds[rows] = threshold
        known = thresholds if np.isfinite(thresholds).all() else None
        return write_predictions(self.job.store, held.astype(np.int32), self.split.fold[held], values, known)

    def final(self) -> Any:
        """Return the model to keep: of the training rows, or of all rows after a cross-validation."""
        return self.pipeline if self.split.plan.folds == 1 else self._fit("final")

    def _fit(self, scope: str) -> Any:
        plan, rows = self.split.plan, self.split.scopes[scope]
        candidate, job = self.section.candidate, self.job
        dataset = job.artifact("dataset", "dataset")
        pipeline = build_pipeline(
            self._chosen(rows, scope),
            plan.columns,
            task=plan.task,
            seed=self.job.seed,
            allow_list=self.job.allow_list,
            classes=plan.classes or (),
        )
        started = time.perf_counter()
        with self._named("be trained"):
            fitted, validation = fitted_and_validation_rows(candidate, job.store, dataset, plan, rows, job.seed)
            pipeline.fit(self.frame[fitted], self.target[fitted])
            pipeline = settle(pipeline, candidate, self.frame[validation], self.target[validation], plan.classes or [])
        self.fit_seconds += time.perf_counter() - started
        self._check_classes(pipeline)
        return pipeline

    def _chosen(self, rows: NDArray[np.bool_], scope: str) -> Candidate:
        """Return the candidate with the parameters that its search has found.

        Each fold that is held out has a search of its own: one that had seen its rows would flatter the estimate.
        """
        candidate = self.section.candidate
        if candidate.search is None:
            return candidate
        from airflow_mlops_provider.search.running import Searching

        searching = Searching(
            self.section.name, candidate, candidate.search, self.job, self.split, self.frame, self.target
        )
        self.searched = searching.whole(rows, scope)
        log.info("Candidate %s: %s.", self.section.name, self.searched.reason)
        return candidate.model_copy(update={"params": with_values(candidate.params, self.searched.params)})

    def search_artifact(self) -> dict[str, ArtifactRef]:
        """Return the search behind the model to keep, stored, when there was one."""
        found = self.searched
        return {} if found is None else {"search": self.job.store.add_document(found)}

    def search_facts(self) -> dict[str, Any]:
        """Return what the search came to, when there was one."""
        return {} if self.searched is None else {"search": self.searched.facts()}

    def _check_classes(self, pipeline: Any) -> None:
        plan = self.split.plan
        if plan.classes is None:
            return
        if (known := pipeline.classes_.tolist()) != plan.classes:
            raise ModelError(f"candidate {self.section.name!r} learned other classes", got=known, expected=plan.classes)

    def _predict(self, pipeline: Any, rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        from joblib import parallel_config

        started = time.perf_counter()
        # In threads, a forest adds its trees up in any order, and the last digit differs from run to run.
        with self._named("predict the holdout"), parallel_config(backend="sequential"):
            values = predict(pipeline, self.frame[rows], self.split.plan.task)
        self.predict_seconds += time.perf_counter() - started
        return values

    @contextmanager
    def _named(self, doing: str) -> Iterator[None]:
        """Keep warnings, and name the candidate in whatever goes wrong."""
        name, estimator = self.section.name, self.section.candidate.estimator
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with named(name, estimator, doing):
                yield
        for warning in caught:
            text = shorten(f"{warning.category.__name__}: {' '.join(str(warning.message).split())}", 200)
            if text not in self.warnings and len(self.warnings) < _MAX_WARNINGS:
                log.warning("Candidate %s: %s", name, text)
                self.warnings[text] = None
