"""One shard of a candidate's search: its trials, each kept as soon as it is done.

Nothing depends on it: `train` asks for every trial of the search by its name, takes those that are there, and does the
others itself. So a shard that was killed, or that never ran, costs time and no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, JsonValue

from airflow_mlops_provider.evaluation.metrics import gain
from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.job import Job, Outcome
from airflow_mlops_provider.modeling.fitting import libraries_of, names_of, one_thread_each, read_rows
from airflow_mlops_provider.modeling.splits import read_split
from airflow_mlops_provider.search.running import Searching
from airflow_mlops_provider.spec import Candidate, Frozen

if TYPE_CHECKING:
    from airflow_mlops_provider.search.methods import ShardResult

#: Raised when a trial is measured otherwise than before, as `search.running` has it.
FORMAT = 3
LIBRARIES = ("numpy", "pandas", "pyarrow", "scipy", "sklearn")


class Section(Frozen):
    """One shard of one candidate's search.

    :param shard: from 0 on, below the `shards` of the search.
    """

    name: str
    candidate: Candidate
    shard: int = Field(ge=0)


def names(section: Section) -> list[str]:
    """Return the dotted names of the estimators."""
    return names_of(section.candidate)


def libraries(section: Section) -> tuple[str, ...]:
    """Return the libraries whose versions decide the result."""
    return libraries_of(section.candidate, LIBRARIES)


def run(section: Section, job: Job) -> Outcome:
    """Do the shard's trials, on the training rows of each model that will be fitted.

    :raises SpecError: when the candidate has no search, or no such shard, or a parameter that it does not have.
    """
    search = section.candidate.search
    if search is None or section.shard >= search.shards:
        raise SpecError(
            f"candidate {section.name!r} has no search shard {section.shard}",
            expected="a shard below search.shards",
        )
    split = read_split(job.store, job.artifact("split", "split"), job.artifact("split", "assignment"))
    frame, target = read_rows(job.store, job.artifact("dataset", "dataset"), split.plan)
    searching = Searching(section.name, section.candidate, search, job, split, frame, target)
    with one_thread_each(names(section), job.allow_list):
        shards = [searching.shard(rows, scope, section.shard) for scope, rows in split.scopes.items()]
    return Outcome(facts=_facts(section, searching.metric, shards))


def _facts(section: Section, metric: str, shards: list[ShardResult]) -> dict[str, JsonValue]:
    last = shards[-1]
    scores = [trial.score for trial in last.trials if trial.score is not None and trial.share == 1.0]
    return {
        "candidate": section.name,
        "shard": section.shard,
        "trials": len(last.trials),
        "seconds": round(sum(trial.seconds for shard in shards for trial in shard.trials), 1),
        "stopped": last.stop,
        "best": max(scores, key=lambda score: gain(metric, score, 0.0), default=None),
    }
