"""A whole training, from its data to its champion: each S3 call that it makes fails, in each way."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fault_proxy import DROP_AFTER, SLOW_DOWN, Call, Fault, FaultProxy
from s3_tries import FAULTS, Tried, check_whole, every_one, line_of

from airflow_mlops_provider import effects
from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.backtest.steps import Steps
from airflow_mlops_provider.exceptions import TransientServiceError
from airflow_mlops_provider.pipelines import load_pipeline
from airflow_mlops_provider.registry import Registry
from airflow_mlops_provider.registry.client import Connection
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mlops_provider.results import StepResult

PROJECT = Path(__file__).parents[2]
AS_OF = datetime(2013, 3, 1, tzinfo=UTC)
NAME = "wine_cultivar"
PAGE = "model_card.html"
#: Of a model, besides MLmodel and the archive.
OTHER_FILES = [
    "conda.yaml",
    "input_example.json",
    "python_env.yaml",
    "requirements.txt",
    "serving_input_example.json",
]
#: What is kept in a model's run: the page for people, and the evaluation, in case the store loses it.
OF_THE_RUN = (PAGE, "evaluation")
IN_MLFLOW = ("MLmodel", "model.skops", *OF_THE_RUN, *OTHER_FILES)
pytestmark = pytest.mark.usefixtures("no_pauses")


@dataclass(frozen=True)
class World:
    """A store behind the proxy, and an MLflow whose models' files lie in the same bucket, behind it too.

    :param ours: its files go there by the code that keeps our artifacts, and else by MLflow's own.
    """

    tried: Tried
    database: str
    ours: bool

    def registry(self) -> Registry:
        s3 = self.tried.store.options if self.ours else None
        return Registry(Connection(self.database, artifact_root=f"{self.tried.root}/mlflow", s3=s3))

    def check_mlflow(self, evaluation: StepResult, files: dict[str, bytes]) -> None:
        """Hold that MLflow shows the training once, and its model whole."""
        from mlflow import MlflowClient

        client = MlflowClient(self.database)
        experiment = client.get_experiment_by_name(NAME).experiment_id
        runs = client.search_runs([experiment])
        assert sorted(run.info.run_name for run in runs) == ["forest", "logistic", f"{NAME} 2013-03-01"]
        assert {run.info.status for run in runs} == {"FINISHED"}
        [version] = client.search_model_versions(f"name = '{NAME}'")
        [model] = client.search_logged_models([experiment])
        assert str(version.version) == "1"
        assert (str(model.status), version.source) == ("READY", model.artifact_location)
        aliases = client.get_registered_model(NAME).aliases
        assert {alias: int(number) for alias, number in aliases.items()} == {"champion": 1, "challenger": 1}
        assert [(entry.action, entry.version) for entry in self.registry().history(NAME)] == [("promote", 1)]
        content = {file_in_mlflow(name): body for name, body in files.items()}
        places = {file_in_mlflow(name): f"{self.tried.root}/{name.rpartition('/')[0]}" for name in files}
        assert all(version.run_id in places.pop(name) for name in OF_THE_RUN)
        assert content.pop("evaluation") == self.tried.store.fetch(evaluation.artifacts["evaluation"]).read_bytes()
        assert content.pop(PAGE).rstrip().endswith(b"</html>")
        assert set(places.values()) == {model.artifact_location}
        assert content.pop("model.skops") == self.tried.store.fetch(evaluation.artifacts["model"]).read_bytes()
        assert yaml.safe_load(content.pop("MLmodel"))["model_id"] == model.model_id
        assert sorted(content) == OTHER_FILES
        for name, body in content.items():
            assert (json.loads if name.endswith(".json") else yaml.safe_load)(body), name

    def shown(self) -> list[str]:
        """Return the versions and the complete models that MLflow shows."""
        from mlflow import MlflowClient

        client = MlflowClient(self.database)
        experiment = client.get_experiment_by_name(NAME)
        models = [] if experiment is None else client.search_logged_models([experiment.experiment_id])
        complete = [model.model_id for model in models if str(model.status) == "READY"]
        return complete + [str(version.source) for version in client.search_model_versions(f"name = '{NAME}'")]

    def lacks(self) -> set[str]:
        """Return the files of a model that MLflow does not hold."""
        held = {file_in_mlflow(name) for name in self.tried.objects() if name.startswith("mlflow/")}
        return set(IN_MLFLOW) - set(OF_THE_RUN) - held


@pytest.fixture(params=[True, False], ids=["by our code", "by MLflow's own"])
def world(
    request: pytest.FixtureRequest, tried: Tried, s3_proxy: FaultProxy, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> World:
    if not request.param:
        for name, value in tried.ceph.environment().items():
            monkeypatch.setenv(name, value)
        # MLflow keeps its client for as long as this variable stays.
        monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", s3_proxy.url)
    return World(tried, mlflow_uri, request.param)


@dataclass
class Trained:
    """What a training made: results with receipts, and what its effects returned."""

    results: list[StepResult]
    comparable: StepResult
    published: StepResult
    promotion: effects.PromotionResult


def train(world: World, around: Callable[[Callable[[], Any]], Any]) -> Trained:
    """Do what the tasks of a training do, each on a store and a registry of its own."""
    pipeline = load_pipeline(PROJECT / "config" / "pipelines" / f"{NAME}.yaml")
    plugins = AllowList(plugins_folder=str(PROJECT / "plugins"))

    def store() -> ArtifactStore:
        return ArtifactStore(world.tried.root, world.tried.store.options)

    def run(step: str, section: dict[str, Any], **inputs: list[StepResult]) -> StepResult:
        found: StepResult = around(
            lambda: Steps(pipeline, store(), plugins).run(step, as_of=AS_OF, section=section, inputs=inputs)
        )
        return found

    data = pipeline.data.model_dump(mode="json", exclude_defaults=True)
    dataset = [run("ingest", {"task": pipeline.task, "data": data})]
    checked = run("validate", pipeline.validation.model_dump(mode="json"), dataset=dataset)
    split = [run("prepare", pipeline.preparation.model_dump(mode="json"), dataset=dataset)]
    models = [
        run(
            "train",
            {"name": name, "candidate": candidate.model_dump(mode="json", exclude_defaults=True)},
            dataset=dataset,
            split=split,
        )
        for name, candidate in pipeline.training.candidates.items()
    ]
    requested = {"pipeline": NAME, "model": NAME, "as_of": AS_OF, "allow_older": False}
    comparable = around(lambda: effects.find_comparable_champions(world.registry(), store(), **requested))

    def evaluate() -> tuple[StepResult, StepResult]:
        own = store()
        section = {
            "evaluation": pipeline.evaluation.model_dump(mode="json", exclude_defaults=True),
            "metrics": pipeline.metrics,
            "candidates": list(pipeline.training.candidates),
        }
        champion = effects.champion_to_compare(own, comparable, models)
        inputs = effects.evaluation_inputs(own, models)
        found = Steps(pipeline, own, plugins).run(
            "evaluate", as_of=AS_OF, section=section, inputs=inputs, champion=champion
        )
        return found, effects.compared(found, champion)

    committed, evaluation = around(evaluate)
    # Without the one that times the model: that is done anew each time.
    judged = [gate for gate in pipeline.gates if gate.kind != "latency"]
    gates = [gate.model_dump(mode="json", exclude_defaults=True) | {"kind": gate.kind} for gate in judged]
    gate = run("gate", {"gates": gates, "metrics": pipeline.metrics}, evaluation=[evaluation])
    published = around(lambda: effects.publish(world.registry(), store(), evaluation, model=NAME, tags={}, gate=gate))
    caller = (f"{NAME}_training", "by hand", "promote", "-1")
    promotion = around(lambda: effects.promote(world.registry(), store(), published, gate, model=NAME, caller=caller))
    return Trained([*dataset, checked, *split, *models, committed, gate], comparable, published, promotion)


def straight(task: Callable[[], Any]) -> Any:
    return task()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_training_survives_each_of_its_calls_failing_once(fault: Fault, world: World, s3_proxy: FaultProxy) -> None:
    s3_proxy.fail(fault, every_one(), times=10_000)

    trained = train(world, straight)

    tries = Counter(line_of(call) for call in s3_proxy.calls)
    failed = Counter(line_of(call) for call in s3_proxy.calls if call.fault)
    assert [line for line, count in tries.items() if failed[line] < count - failed[line]] == []
    assert {call.method for call in s3_proxy.calls} == {"GET", "HEAD", "PUT"}
    assert sum("/mlflow/" in line for line in failed) == len(IN_MLFLOW)
    assert len(failed) > 65
    assert not any(one.cached or one.failure for one in trained.results)
    check(world, trained)
    s3_proxy.clear()
    again = train(world, straight)
    assert all(one.cached for one in again.results)
    written = {call.path.rpartition("/")[2] for call in s3_proxy.calls if call.method == "PUT"}
    assert written == {f"{again.comparable.key}.json"}, "the champion that it made is looked up"
    check(world, again, trained.comparable)


def check(world: World, trained: Trained, *others: StepResult, given_up: int = 0) -> None:
    """Hold that nothing is lost, nothing is there twice, and nothing is half-written."""
    assert (trained.promotion.skipped, trained.promotion.mine) == (False, True)
    comparable = [one.artifacts["champions"] for one in (trained.comparable, *others)]
    files = check_whole(world.tried, trained.results, given_up, [*comparable, *trained.published.artifacts.values()])
    [evaluation] = [one for one in trained.results if one.step == "evaluate"]
    world.check_mlflow(evaluation, files)


@pytest.mark.parametrize("fault", [SLOW_DOWN, DROP_AFTER], ids=lambda fault: fault.name)
def test_a_task_that_gives_up_is_done_once_by_its_retry(fault: Fault, world: World, s3_proxy: FaultProxy) -> None:
    """Calls of a kind are alike: each kind of call of each task goes on failing until the task gives up."""
    given_up: set[str] = set()

    def retried(task: Callable[[], Any]) -> Any:
        for _ in range(20):
            stuck: list[str] = []

            def goes_on(call: Call, stuck: list[str] = stuck) -> bool:
                if not stuck and kind_of(call) not in given_up:
                    given_up.add(kind_of(call))
                    stuck.append(call.line)
                return call.line in stuck

            s3_proxy.clear()
            s3_proxy.fail(fault, goes_on, times=10_000)
            before = world.shown()
            try:
                return task()
            except TransientServiceError:
                # The card of a version that is shown may still be to come.
                assert world.shown() == before or not world.lacks(), "what is not whole is not shown"
        pytest.fail("never done")

    trained = train(world, retried)

    kinds = {kind.partition(" ")[2] for kind in given_up}
    wanted = {f"{method} {what}" for method in ("GET", "PUT") for what in ("receipt", "request", "object")}
    wanted.add("HEAD object")
    if fault is DROP_AFTER:
        # A try finds what the one before has committed, and asks whether its request is still beside the receipt.
        wanted.add("HEAD request")
    assert kinds == wanted | {f"PUT {name}" for name in IN_MLFLOW}
    evaluations = sum(kind.startswith("evaluate") or " PUT object" in kind for kind in given_up)
    check(world, trained, given_up=evaluations)


def file_in_mlflow(path: str) -> str:
    """Return which of the files of a model it is; the evaluation is named by its digest."""
    return "evaluation" if "/evaluation/" in path else Path(path).name


def kind_of(call: Call) -> str:
    if "/mlflow/" in call.path:
        return f"publish {call.method} {file_in_mlflow(call.path)}"
    found = re.search(r"/receipts/[^/]+/([^/]+)/[^/]+/(receipt|request)\.json", call.path)
    step, what = (found[1], found[2]) if found else ("any", "object")
    return f"{step} {call.method} {what}"
