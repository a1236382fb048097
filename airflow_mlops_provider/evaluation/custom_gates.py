"""Gates that users write: a function that gets the evaluation and returns a verdict.

The function is `(evaluation: dict, **params) -> dict`. The evaluation is the JSON of the artifact `evaluation`, with
the winner's scores under `challenger`. The answer holds `passed`, true or false; `got` and `expected`, in words; and
may hold `why`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ConfigDict, StrictBool, ValidationError

from airflow_mlops_provider.allow_list import users_code
from airflow_mlops_provider.evaluation.verdicts import Verdict, verdict_of
from airflow_mlops_provider.exceptions import MLOpsError
from airflow_mlops_provider.spec.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from airflow_mlops_provider.evaluation.report import EvaluationReport
    from airflow_mlops_provider.spec.gates import CustomGate

#: In characters: the ledger keeps what a gate says.
_LONGEST = 500
_HINT = "Correct the function, then clear the gate task."


class _Answer(Frozen):
    """What such a function returns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    passed: StrictBool
    got: str
    expected: str
    why: str = ""


def custom(gate: CustomGate, report: EvaluationReport, load: Callable[[str], Any]) -> Verdict:
    """Return the verdict of a user's function.

    :param load: imports what the platform allows, by its dotted name.
    :raises NotAllowedError: the function is not allowed, or not there.
    :raises MLOpsError: it raised, or its answer is no verdict; names the gate and the function.
    """
    function = load(gate.function)
    evaluation = report.model_dump(mode="json")
    evaluation["challenger"] = evaluation["candidates"][report.winner]
    where = f"gate {gate.label!r}: {gate.function}"
    with users_code(where, _HINT):
        answer = function(evaluation, **gate.params)
    try:
        found = _Answer.model_validate(answer)
    except ValidationError as error:
        first = error.errors()[0]
        raise MLOpsError(
            f"{where} returned no verdict",
            got=f"{'.'.join(map(str, first['loc'])) or type(answer).__name__}: {first['msg']}",
            expected="a dict of `passed` (true or false), `got`, `expected` and, if you like, `why`",
            hint=_HINT,
        ) from None
    # JSON takes no half of a surrogate pair.
    words = {
        name: value[:_LONGEST].encode(errors="replace").decode()
        for name, value in found.model_dump(exclude={"passed"}).items()
    }
    return verdict_of(gate, passed=found.passed, **words)
