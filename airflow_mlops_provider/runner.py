"""Runs a compute step once per key: the same in a worker, a container, a test or a backtest."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import time
from typing import TYPE_CHECKING, Any, Protocol, cast

from pydantic import JsonValue, ValidationError

from airflow_mlops_provider.allow_list import AllowList, version_of
from airflow_mlops_provider.as_of import in_utc
from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.exceptions import ArtifactError, SpecError, out_of_memory
from airflow_mlops_provider.job import Job, StepRequest
from airflow_mlops_provider.results import StepResult
from airflow_mlops_provider.storage import guarded

if TYPE_CHECKING:
    from airflow_mlops_provider.job import Outcome, SecretReader, SqlReader
    from airflow_mlops_provider.spec import Frozen
    from airflow_mlops_provider.storage import ArtifactStore

log = logging.getLogger(__name__)

STEPS = (
    "ingest", "validate", "prepare", "search", "train", "evaluate", "latency", "gate", "refit", "drift", "estimate",
    "live", "score",
)  # fmt: skip


_CLEAR = "Clear that task with the Param `recompute` set."
#: Steps whose result depends on as_of besides their inputs. The others compute nothing anew while the data stays the
#: same, however many days pass.
_SEE_AS_OF = frozenset({"ingest", "evaluate", "gate", "score"})
#: Steps that tell which earlier steps their inputs come from. To the others, equal inputs are the same.
_SEE_LINEAGE = frozenset({"evaluate"})


class Step(Protocol):
    """A module in `steps/`. Importing one imports no heavy library.

    `Section` parses the step's settings. `LIBRARIES` are the modules whose version decides the result, or
    `libraries(section)` where the settings decide which. `FORMAT` is raised when the step computes or stores
    otherwise than before, or a default of its settings changes, so that what is stored already is not taken for it.
    `names(section)` lists what the settings name in plugins and libraries. `fingerprint(section, job)` identifies
    the source of a step that reads the outside world; None means that it has to be read each time.
    """

    Section: type[Frozen]
    FORMAT: int
    LIBRARIES: tuple[str, ...]

    def run(self, section: Any, job: Job) -> Outcome:
        """Compute."""

    def names(self, section: Any) -> list[str]:
        """Dotted names in the settings."""

    def libraries(self, section: Any) -> tuple[str, ...]:
        """Modules whose version decides the result."""

    def fingerprint(self, section: Any, job: Job) -> str | None:
        """Identity of the source."""


def run_step(
    request: StepRequest,
    store: ArtifactStore,
    *,
    read_sql: SqlReader | None = None,
    read_secret: SecretReader | None = None,
    image: str | None = None,
) -> StepResult:
    """Return the committed result of a step, computing it when there is none.

    :param image: digest of the container image that this runs in. It identifies every library there.
    :raises SpecError: for a wrong section.
    :raises MLOpsError: whatever the step finds wrong.
    """
    step, section, job = _parsed(request, store, read_sql, read_secret)
    request = job.request
    identity = _identity(step, section, job, image)
    known = _with_source(step, section, job, identity)
    if (receipt := _receipt(job, None if known is None else _digest(known))) is not None:
        return receipt
    started = time.perf_counter()
    try:
        with guarded(store.root):
            outcome = step.run(section, job)
    except MemoryError as error:
        # Nothing that the step could say of its settings would help.
        raise out_of_memory(f"step {request.step!r} of {request.pipeline!r} ran out of memory", error) from error
    # Of a source without a fingerprint, what was read identifies it.
    identity = {"request": identity, "read": _digests(outcome.artifacts)} if known is None else known
    key = _digest(identity)
    result = StepResult(
        step=request.step,
        pipeline=request.pipeline,
        key=key,
        as_of=request.as_of,
        artifacts=dict(outcome.artifacts),
        facts=dict(outcome.facts),
        failure=outcome.failure,
    )
    result.xcom()  # refused now, before anything is committed
    stored = StoredRequest(request=request, identity=identity).stored(
        release=True, exclude={"request": {"allow_list", "recompute"}}
    )
    store.write_receipt(result, store.write_request(*_names(request), key, json.dumps(stored)))
    log.info("%s: step %s took %.2f s.", *_names(request), time.perf_counter() - started)
    return result


class StoredRequest(Document):
    """A request as it is stored: with all that its key is the digest of, so that anyone can check it against that.

    The allow-list is left out. It belongs to whoever runs a step, not to the store.

    :param identity: None of an earlier release.
    """

    SCHEMA = 4

    request: StepRequest
    identity: dict[str, JsonValue] | None = None

    @classmethod
    def upgraded(cls, raw: Any, schema: int) -> Any:
        """Return what was stored as a bare request."""
        return {"request": raw} if schema == 1 else raw


def request_behind(
    store: ArtifactStore, result: StepResult, *, allow_list: AllowList | None = None, shown_only: bool = False
) -> StepRequest:
    """Return the request behind a result, checked against the result's key: it is the one that was run.

    :param allow_list: what the caller allows, should it run the step again; the stored one never counts.
    :param shown_only: take one of an earlier release, which cannot be checked, for what people are shown.
    :raises ArtifactError: it is gone, was changed, or is another's; names the task to clear.
    """
    what = f"the request behind step {result.step!r} of {result.pipeline!r}"
    stored = StoredRequest.read(store.read_request(result), what)
    request = stored.request.model_copy(update={"allow_list": allow_list or AllowList(), "recompute": False})
    if (got := (request.pipeline, request.step)) != (expected := (result.pipeline, result.step)):
        raise ArtifactError(f"{what} is another's", got=got, expected=expected, hint=_CLEAR)
    if stored.identity is None:
        if shown_only:
            log.warning("%s was stored by an earlier release. It cannot be verified and is only shown.", what)
            return request
        raise ArtifactError(f"{what} was stored by an earlier release and cannot be verified", hint=_CLEAR)
    step = _step(request.step)
    requested = json.loads(json.dumps(_requested(_section(step, request), request)))
    held: Any = stored.identity.get("request", stored.identity)
    wrong = [name for name, value in requested.items() if held.get(name) != value]
    if wrong or _digest(stored.identity) != result.key:
        raise ArtifactError(
            f"{what} does not match its key",
            got=f"another {', '.join(wrong)}" if wrong else _digest(stored.identity),
            expected=result.key,
            hint=_CLEAR,
        )
    return request


def ask_the_same(one: StepRequest, other: StepRequest) -> bool:
    """Return whether two requests are one to a key, however their defaults are written."""
    first, second = (_requested(_section(_step(each.step), each), each) for each in (one, other))
    return first == second


def committed(request: StepRequest, store: ArtifactStore, *, image: str) -> StepResult | None:
    """Return the result that a container of an image has committed, None when there is none or only it can tell.

    :raises SpecError: for a wrong section.
    """
    step, section, job = _parsed(request, store)
    try:
        key = step_key(step, section, job, image)
    except Exception as error:
        # A source, or the code of its reader, may be seen from inside only.
        log.debug("%s: step %s cannot be looked up outside its container: %s", *_names(request), error)
        return None
    return _receipt(job, key)


def _parsed(
    request: StepRequest,
    store: ArtifactStore,
    read_sql: SqlReader | None = None,
    read_secret: SecretReader | None = None,
) -> tuple[Step, Frozen, Job]:
    step = _step(request.step)
    section = _section(step, request)
    return step, section, Job(request.model_copy(update={"as_of": in_utc(request.as_of)}), store, read_sql, read_secret)


def _receipt(job: Job, key: str | None) -> StepResult | None:
    request = job.request
    if key is None or request.recompute:
        return None
    receipt = job.store.read_receipt(request.pipeline, request.step, key)
    if receipt is None:
        return None
    log.info("%s: step %s is already done: receipt %s. Nothing is computed.", *_names(request), key[:12])
    return receipt.model_copy(update={"as_of": request.as_of})


def step_key(step: Step, section: Frozen, job: Job, image: str | None = None) -> str | None:
    """Return the digest of everything that the result depends on; None when only reading can tell."""
    identity = _with_source(step, section, job, _identity(step, section, job, image))
    return None if identity is None else _digest(identity)


def _with_source(step: Step, section: Frozen, job: Job, identity: dict[str, Any]) -> dict[str, Any] | None:
    if not hasattr(step, "fingerprint"):
        return identity
    source = step.fingerprint(section, job)
    return None if source is None else {**identity, "source": source}


def _identity(step: Step, section: Frozen, job: Job, image: str | None) -> dict[str, Any]:
    request = job.request
    named = step.names(section) if hasattr(step, "names") else []
    for name in named:
        request.allow_list.check(name)
    return {
        # The release is not in the key: an upgrade that changes nothing about a step computes nothing anew.
        "format": step.FORMAT,
        **_environment(_libraries(step, section), request, named, image),
        **_requested(section, request),
    }


def _requested(section: Frozen, request: StepRequest) -> dict[str, Any]:
    """Return what of a key the request alone decides."""
    return {
        "step": request.step,
        "pipeline": request.pipeline,
        # Defaults are not in the key: a new setting, which nobody has used yet, changes none.
        "section": section.model_dump(mode="json", exclude_defaults=True),
        "as_of": in_utc(request.as_of).isoformat() if request.step in _SEE_AS_OF else None,
        "seed": request.seed,
        "inputs": {
            role: sorted(json.dumps(_digests(result.artifacts), sort_keys=True) for result in results)
            for role, results in request.inputs.items()
        },
        "lineage": sorted(result.key for result in request.inputs.get("models", []))
        if request.step in _SEE_LINEAGE
        else None,
        "champion": None
        if request.champion is None
        # After a rollback the same version may carry another order_key, by which its age is measured.
        else request.champion.model_dump(mode="json", include={"version", "digest", "order_key", "metrics"})
        # The champion gate asks the one that was judged.
        | ({} if (judged := request.champion.judged) is None else {"judged": judged.sha256})
        # What is computed without a lost file is computed again once it is back.
        | ({"lost": list(request.champion.lost)} if request.champion.lost else {})
        | ({} if (unseen := request.champion.unseen) is None else {"unseen": unseen.total_seconds()}),
    }


def _libraries(step: Step, section: Frozen) -> tuple[str, ...]:
    return step.libraries(section) if hasattr(step, "libraries") else step.LIBRARIES


def _environment(
    libraries: tuple[str, ...], request: StepRequest, named: list[str], image: str | None
) -> dict[str, Any]:
    """Return what identifies the code that runs: versions and plugins, or the image, and plugins."""
    allowed = request.allow_list
    if image is None:
        return {
            "libraries": {library: version_of(library) for library in libraries},
            "code": {name: allowed.fingerprint(name) for name in named},
        }
    # What is installed out here says nothing of what is installed in there.
    return {"image": image, "code": {name: allowed.fingerprint(name) for name in named if allowed.is_plugin(name)}}


def _digests(artifacts: Any) -> dict[str, str]:
    return {role: ref.sha256 for role, ref in artifacts.items()}


def _digest(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _names(request: StepRequest) -> tuple[str, str]:
    return request.pipeline, request.step


def _step(name: str) -> Step:
    if name not in STEPS:
        raise SpecError("unknown step", got=name, expected=", ".join(STEPS))
    return cast("Step", importlib.import_module(f"airflow_mlops_provider.steps.{name}"))


def _section(step: Step, request: StepRequest) -> Frozen:
    try:
        return step.Section.model_validate(request.section)
    except ValidationError as error:
        raise SpecError(
            f"the settings of step {request.step!r} of {request.pipeline!r} are wrong",
            problems=[f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()],
        ) from error
