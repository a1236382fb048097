"""A gate of the user's own: a function in the plugins folder, as docs/custom-gates.md writes it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from judged_evaluation import AS_OF, evaluated

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.exceptions import MLOpsError, NotAllowedError, SpecError
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mlops_provider.results import StepResult

GUIDE = Path(__file__).parents[3] / "docs" / "custom-gates.md"
WORTH = {"kind": "custom", "function": "business_gates.worth_it", "params": {"value_per_point": 1200, "least": 5000}}


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., StepResult]:
    """Judge one evaluation by a gate, whose module holds what is given."""
    plugins, store = tmp_path / "plugins", ArtifactStore(str(tmp_path / "store"))
    plugins.mkdir()
    monkeypatch.syspath_prepend(str(plugins))

    def run(gate: dict[str, Any], code: str | None = None) -> StepResult:
        (plugins / "business_gates.py").write_text(example() if code is None else code)
        monkeypatch.delitem(sys.modules, "business_gates", raising=False)
        scores = {"metrics": {"roc_auc": 0.75}}
        evaluation = evaluated(
            store, metrics=["roc_auc"], candidates={"forest": scores}, baseline={"metrics": {"roc_auc": 0.5}}
        )
        request = StepRequest(
            step="gate", pipeline="flights", as_of=AS_OF, section={"gates": [gate]},
            inputs={"evaluation": [evaluation]},
            allow_list=AllowList(plugins_folder=str(plugins)),
        )  # fmt: skip
        return run_step(request, store)

    return run


def example() -> str:
    [code] = re.findall(r"<!-- example: business_gates.py -->\n```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    return str(code)


@pytest.mark.parametrize(("least", "decision"), [(5000, "promote"), (50_000, "skip")])
def test_the_guides_function_decides(judge: Callable[..., StepResult], least: int, decision: str) -> None:
    params = {"value_per_point": 1200, "least": least}
    facts = judge({**WORTH, "params": params, "on_fail": "skip"}).facts
    assert facts["decision"] == decision
    assert facts["verdicts"] == [["worth_it", decision == "promote", "30,000 a year", f">= {least:,} a year"]]


def test_another_code_judges_anew(judge: Callable[..., StepResult]) -> None:
    first, again = judge(WORTH), judge(WORTH)
    changed = judge(WORTH, example().replace("100 * gain", "0 * gain") + "\n")
    assert (first.cached, again.cached, changed.cached) == (False, True, False)
    assert (first.facts["passed"], changed.facts["passed"]) == (True, False)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def worth_it(evaluation, **params):\n    return 1 / 0\n", "failed: got ZeroDivisionError: division by zero"),
        ("def worth_it(evaluation):\n    return {}\n", "got an unexpected keyword argument"),
        ("def worth_it(evaluation, **params):\n    return True\n", "returned no verdict"),
        ("def worth_it(evaluation, **params):\n    return {'passed': 1, 'got': '', 'expected': ''}\n", "passed: Input"),
        ("def worth_it(evaluation, **params):\n    return {'passed': True, 'got': ''}\n", "expected: Field required"),
        ("def worth_it(evaluation, **params):\n    evaluation.clear()\n", "returned no verdict"),
        ("def worth_it(evaluation, **params):\n    raise SystemExit(0)\n", "failed: got SystemExit: 0"),
    ],
    ids=["raises", "takes other arguments", "no dict", "no true or false", "a key is missing", "nothing", "leaves"],
)
def test_what_is_no_verdict_fails_with_the_names_of_gate_and_function(
    judge: Callable[..., StepResult], code: str, words: str
) -> None:
    with pytest.raises(MLOpsError, match="gate 'worth_it': business_gates.worth_it") as caught:
        judge(WORTH, code)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("os.system", "'os.system' is outside the allow-list"),
        ("business_gates.nothing", "module 'business_gates' has no 'nothing'"),
        ("worth_it", "gates.0.custom.function: String should match pattern"),
    ],
)
def test_only_what_the_platform_allows_is_called(judge: Callable[..., StepResult], function: str, words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        judge({**WORTH, "function": function})


@pytest.mark.parametrize("function", ["xgboost.Booster", "lightgbm.Booster", "sklearn.metrics.roc_auc_score"])
def test_no_function_of_a_library_is_called(judge: Callable[..., StepResult], function: str) -> None:
    with pytest.raises(SpecError, match="is not allowed here: write a function in the plugins folder"):
        judge({**WORTH, "function": function, "params": {"model_file": "/etc/passwd"}})


@pytest.mark.parametrize(
    "code",
    ["class worth_it:\n    def __init__(self, evaluation, **params): ...\n", "def worth_it(e, **p):\n    yield e\n"],
    ids=["a class", "a generator"],
)
def test_only_a_plain_function_is_called(judge: Callable[..., StepResult], code: str) -> None:
    with pytest.raises(NotAllowedError, match="'business_gates.worth_it' is not a plain function"):
        judge(WORTH, code)


def test_half_a_character_is_stored_as_a_question_mark(judge: Callable[..., StepResult]) -> None:
    code = "def worth_it(evaluation, **params):\n    return {'passed': True, 'got': 'a\\ud800', 'expected': 'a'}\n"
    assert judge(WORTH, code).facts["verdicts"] == [["worth_it", True, "a?", "a"]]
