"""A step that is already done: found, returned, and nothing heavy imported to do so."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.job import Champion, StepRequest
from airflow_mlops_provider.pipelines import load_pipeline
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from airflow_mlops_provider.results import StepResult

PROJECT = Path(__file__).resolve().parents[2]
HEAVY = ("pandas", "numpy", "pyarrow", "sklearn", "scipy", "skops", "great_expectations", "evidently", "mlflow")

#: Repeats each request of a file in a fresh process, and says what came of it.
REPEAT = """
import json, sys
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore

store = ArtifactStore(sys.argv[1])
for line in sys.stdin:
    result = run_step(StepRequest.model_validate_json(line), store)
    print(json.dumps([result.step, result.cached, result.key]))
print(json.dumps(sorted(sys.modules)))
"""

#: Runs the operators of a training that compute, as the DAG does, and says what came of each.
OPERATORS = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from airflow_mlops_provider.dag_templates.settings import section
from airflow_mlops_provider.operators.data import IngestDataOperator, PrepareDataOperator, ValidateDataOperator
from airflow_mlops_provider.operators.gates import QualityGateOperator
from airflow_mlops_provider.operators.training import EvaluateModelOperator, TrainModelOperator
from airflow_mlops_provider.pipelines import load_pipeline

done, spec = json.load(sys.stdin), load_pipeline(Path(sys.argv[2]))
settings = {"pipeline": spec.name, "seed": spec.seed, "artifacts": sys.argv[1], "as_of": "2024-01-01"}
names = list(spec.training.candidates)
name = names[0]
dataset, candidate = done["ingest"], {"name": name, **section(spec.training.candidates[name])}
trained = [done[f"train {name}"] for name in names]
# A gate that times the model is never done.
gates = [{"kind": gate.kind, **section(gate)} for gate in spec.gates if gate.kind != "latency"]
operators = [
    IngestDataOperator(task_id="ingest", task=spec.task, data=section(spec.data), **settings),
    ValidateDataOperator(task_id="validate", dataset=dataset, validation=section(spec.validation), **settings),
    PrepareDataOperator(task_id="prepare", dataset=dataset, preparation=section(spec.preparation), **settings),
    TrainModelOperator(task_id="train", dataset=dataset, split=done["prepare"], candidate=candidate, **settings),
    EvaluateModelOperator(
        task_id="evaluate",
        models=trained,
        champion=done["champion"],
        metrics=spec.metrics,
        candidates=names,
        evaluation=section(spec.evaluation),
        **settings,
    ),
    QualityGateOperator(task_id="gate", evaluation=done["evaluate"], metrics=spec.metrics, gates=gates, **settings),
]
context = {"params": {}, "dag_run": SimpleNamespace(run_after=datetime.now(UTC))}
print(json.dumps({operator.task_id: operator.run(context).cached for operator in operators}))
print(json.dumps(sorted(sys.modules)))
"""


class Chain:
    """Runs the steps of a pipeline one after the other, as the training DAG does, and keeps their requests."""

    def __init__(self, store: ArtifactStore, name: str) -> None:
        self.store = store
        self.pipeline = load_pipeline(PROJECT / "config" / "pipelines" / f"{name}.yaml")
        self.requests: list[StepRequest] = []

    def step(
        self, step: str, section: Any, day: int, *, champion: Champion | None = None, **inputs: list[StepResult]
    ) -> StepResult:
        request = StepRequest(
            step=step,
            pipeline=self.pipeline.name,
            as_of=datetime(2024, 1, day, tzinfo=UTC),
            seed=self.pipeline.seed,
            section=section,
            inputs=inputs,
            champion=champion,
            allow_list=AllowList(plugins_folder=str(PROJECT / "plugins")),
        )
        self.requests.append(request)
        return run_step(request, self.store)

    def all(self, day: int) -> dict[str, StepResult]:
        spec, metrics = self.pipeline, self.pipeline.metrics
        names = list(spec.training.candidates)
        done = {"ingest": self.step("ingest", {"task": spec.task, "data": spec.data.model_dump(mode="json")}, day)}
        data = {"dataset": [done["ingest"]]}
        done["validate"] = self.step("validate", spec.validation.model_dump(mode="json"), day, **data)
        done["prepare"] = self.step("prepare", spec.preparation.model_dump(mode="json"), day, **data)
        data["split"] = [done["prepare"]]
        for name, candidate in spec.training.candidates.items():
            section = {"name": name, "candidate": candidate.model_dump(mode="json")}
            done[f"train {name}"] = self.step("train", section, day, **data)
        models = [done[f"train {name}"] for name in names]
        section = {"evaluation": spec.evaluation.model_dump(mode="json"), "metrics": metrics, "candidates": names}
        done["evaluate"] = self.step("evaluate", section, day, **data, models=models)
        gates = [gate.model_dump(mode="json") for gate in spec.gates if gate.kind != "latency"]
        done["gate"] = self.step("gate", {"gates": gates, "metrics": metrics}, day, evaluation=[done["evaluate"]])
        return {**done, **self.scored(done["evaluate"], day)}

    def scored(self, evaluation: StepResult, day: int) -> dict[str, StepResult]:
        champion = self.champion(evaluation, day)
        data = self.pipeline.data.model_dump(mode="json")
        rows = self.step("ingest", {"task": self.pipeline.task, "data": data, "purpose": "scoring"}, day)
        message = self.step("score", {}, day, champion=champion, dataset=[rows])
        section = {"min_rows": 50}
        drift = self.step("drift", section, day, champion=champion, dataset=[rows], predictions=[message])
        return {"ingest scoring": rows, "score": message, "drift": drift}

    def champion(self, evaluation: StepResult, day: int) -> Champion:
        artifacts = evaluation.artifacts
        return Champion(
            seq=1,
            version=1,
            digest=self.store.read_json(artifacts["model_info"])["digest"],
            model=artifacts["model"],
            order_key=datetime(2024, 1, day, tzinfo=UTC),
            reference=artifacts["reference"],
            evaluation=artifacts["evaluation"],
        )


@pytest.fixture
def wine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
    monkeypatch.syspath_prepend(str(PROJECT / "plugins"))
    return Chain(ArtifactStore(str(tmp_path)), "wine_cultivar")


def test_every_step_that_is_done_is_found_and_imports_nothing_heavy(wine: Chain, tmp_path: Path) -> None:
    done = wine.all(day=1)
    assert not any(result.cached for result in done.values())
    repeated = subprocess.run(
        [sys.executable, "-c", REPEAT, str(tmp_path)],
        input="\n".join(request.model_dump_json() for request in wine.requests),
        env={"PYTHONPATH": f"{PROJECT}:{PROJECT / 'plugins'}", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    *steps, modules = [json.loads(line) for line in repeated.stdout.splitlines()]
    assert steps == [[result.step, True, result.key] for result in done.values()]
    assert [name for name in HEAVY if name in modules] == []


def test_the_tasks_of_a_training_that_only_compute_need_no_heavy_library_to_find_their_results(
    wine: Chain, tmp_path: Path
) -> None:
    """The operators themselves, with evaluation's look at what the ledger said of a champion that it made itself."""
    done = wine.all(day=1)
    evaluation = done["evaluate"]
    champion = wine.champion(evaluation, day=1).model_dump(mode="json")
    message = wine.store.add_json(
        {"schema": 2, "rivals": [{"lineage": evaluation.facts["lineage"], "champion": champion}]}
    )
    found = evaluation.model_copy(update={"step": "champion", "artifacts": {"rivals": message}})
    given = {name: result.xcom() for name, result in {**done, "champion": found}.items()}
    ran = subprocess.run(
        [sys.executable, "-c", OPERATORS, str(tmp_path), str(PROJECT / "config" / "pipelines" / "wine_cultivar.yaml")],
        input=json.dumps(given),
        env={
            "PYTHONPATH": f"{PROJECT}:{PROJECT / 'plugins'}",
            "PATH": "",
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    cached, modules = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith(("{", "["))]
    assert cached == dict.fromkeys(["ingest", "validate", "prepare", "train", "evaluate", "gate"], True)
    assert [name for name in HEAVY if name in modules] == []


def test_a_day_later_data_that_stayed_the_same_is_not_prepared_or_trained_again(wine: Chain) -> None:
    wine.all(day=1)
    later = wine.all(day=2)
    computed = {name for name, result in later.items() if not result.cached}
    assert computed == {"ingest", "evaluate", "gate", "ingest scoring", "score", "drift"}
    assert {result.as_of.day for result in later.values()} == {2}
