"""A candidate's search as the steps do it: `search` a shard of it, `train` the whole, from what is there already."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.allow_list import version_of
from airflow_mlops_provider.data.tables import read_table
from airflow_mlops_provider.evaluation.custom_metrics import own_metrics
from airflow_mlops_provider.modeling.calibration import fitted_and_validation_rows
from airflow_mlops_provider.modeling.fitting import libraries_of, names_of
from airflow_mlops_provider.modeling.splits import microseconds
from airflow_mlops_provider.search.folds import folds_of, splitter_of
from airflow_mlops_provider.search.methods import run_shard
from airflow_mlops_provider.search.report import SearchReport, report_of
from airflow_mlops_provider.search.trials import Bench
from airflow_mlops_provider.spec.metrics import DEFAULT_METRICS, label_of
from airflow_mlops_provider.storage.journal import Journal

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from airflow_mlops_provider.job import Job
    from airflow_mlops_provider.modeling.splits import StoredSplit
    from airflow_mlops_provider.search.methods import ShardResult
    from airflow_mlops_provider.spec import Candidate
    from airflow_mlops_provider.spec.metrics import CustomMetric
    from airflow_mlops_provider.spec.search import Search

#: Raised when a trial is measured otherwise than before, so that what was kept of it is measured again.
FORMAT = 2
#: Versions that decide what a trial reaches.
_LIBRARIES = ("numpy", "pandas", "pyarrow", "scipy", "sklearn")


@dataclass(frozen=True)
class Searching:
    """A candidate with a search, and the rows of its pipeline."""

    name: str
    candidate: Candidate
    search: Search
    job: Job
    split: StoredSplit
    frame: pd.DataFrame
    target: NDArray[Any]

    @property
    def decides(self) -> str | CustomMetric:
        """The metric that decides."""
        return self.search.metric or DEFAULT_METRICS[self.split.plan.task][0]

    @property
    def metric(self) -> str:
        """The name of the metric that decides."""
        return label_of(self.decides)

    def shard(self, mask: NDArray[np.bool_], scope: str, index: int) -> ShardResult:
        """Do the trials of one shard on some training rows."""
        return run_shard(self.search, self._bench(mask, scope, fresh=self.job.request.recompute), index)

    def whole(self, mask: NDArray[np.bool_], scope: str) -> SearchReport:
        """Return the search on some training rows; what shards have done of it is taken.

        :raises ModelError: when nothing could be fitted.
        """
        # Shards have recomputed what they do, when the run was to recompute.
        fresh = self.job.request.recompute and self.search.shards == 1
        bench = self._bench(mask, scope, fresh=fresh)
        shards = [run_shard(self.search, bench, index) for index in range(self.search.shards)]
        return report_of(
            self.name,
            self.search,
            shards,
            metric=self.metric,
            splitter=splitter_of(self.split.plan),
            embargo=self.split.plan.embargo,
            rows=len(bench.rows),
        )

    def _bench(self, mask: NDArray[np.bool_], scope: str, *, fresh: bool) -> Bench:
        import numpy as np

        plan, job = self.split.plan, self.job
        dataset = job.artifact("dataset", "dataset")
        # No search sees what is kept to calibrate on and to choose the threshold from.
        rows = np.flatnonzero(fitted_and_validation_rows(self.candidate, job.store, dataset, plan, mask, job.seed)[0])
        moments = microseconds(self._column(str(plan.columns.timestamp))) if plan.in_time else None
        groups = None
        if plan.group is not None:
            groups = np.unique(self._column(plan.group).to_numpy().astype(str), return_inverse=True)[1]
        return Bench(
            candidate=self.candidate,
            plan=plan,
            frame=self.frame,
            target=self.target,
            rows=rows,
            folds=folds_of(rows, self.target, plan, cv=self.search.cv, seed=job.seed, moments=moments, groups=groups),
            metric=self.metric,
            seed=job.seed,
            allow_list=job.allow_list,
            journal=Journal(job.store, job.request.pipeline, self._key()),
            scope=scope,
            fresh=fresh,
            own=own_metrics(job, dataset, [self.decides], np.arange(len(self.target))),
        )

    def _column(self, name: str) -> pd.Series[Any]:
        """Return a column of every row."""
        return read_table(self.job.store, self.job.artifact("dataset", "dataset"), [name])[name]

    def _key(self) -> str:
        """Return the digest of all that decides what a trial reaches: the same for shards and training."""
        libraries = libraries_of(self.candidate, _LIBRARIES)
        identity = {
            "format": FORMAT,
            "candidate": self.candidate.model_dump(mode="json", exclude_defaults=True),
            "metric": self.metric,
            "seed": self.job.seed,
            "libraries": {library: version_of(library) for library in libraries},
            "code": {name: self.job.allow_list.fingerprint(name) for name in names_of(self.candidate)},
            "inputs": {
                role: [result.artifacts[name].sha256 for result in self.job.results(role) for name in names]
                for role, names in (("dataset", ["dataset"]), ("split", ["split", "assignment"]))
            },
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
