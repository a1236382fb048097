"""Compute steps of one task instance in containers, one at a time.

Its container has one name, whatever the try. A try that finds it running, with the same order, takes it over: it is
that of an earlier try that was killed. Any other of this name is removed. So there are never two, and the work of a
killed task is not lost.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from airflow_mlops_provider.as_of import in_utc
from airflow_mlops_provider.exceptions import MLOpsError, SpecError, TransientServiceError
from airflow_mlops_provider.runner import ask_the_same, committed, request_behind
from airflow_mlops_provider.runtime.bounds import configured
from airflow_mlops_provider.runtime.container import ORDER_LABEL, Container, Ended, relay
from airflow_mlops_provider.runtime.engine import GoneError, connect, image_digest
from airflow_mlops_provider.runtime.reach import folder_of, private_options, uri_of
from airflow_mlops_provider.spec import Docker
from airflow_mlops_provider.wire import Order, StepAnswer

if TYPE_CHECKING:
    from airflow_mlops_provider.job import StepRequest
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.storage import ArtifactStore

log = logging.getLogger(__name__)

_KILLED = 128 + 9
#: Somebody who makes and removes containers of our name at the same time is met once, not again and again.
_PATIENCE = 5


class DockerRuntime:
    """Runs the steps of one task instance in a container.

    :param settings: the image and its limits.
    :param caller: what identifies the task instance over its tries: DAG, run, task, map index.
    :raises SpecError: the settings ask for what `[mlops] docker_*` does not allow.
    """

    def __init__(self, settings: Docker, caller: dict[str, str]) -> None:
        bounds = configured()
        bounds.check(settings)
        self.settings = bounds.limited(settings)
        self.caller = caller
        self._name: str | None = None
        self._stopped = False

    @classmethod
    def of(cls, runtime: Any, caller: dict[str, str]) -> DockerRuntime:
        """Return the runtime of a mapping as a pipeline file has it.

        :raises SpecError: names the wrong key.
        """
        try:
            return cls(Docker.model_validate(runtime), caller)
        except ValidationError as error:
            raise SpecError(
                "the runtime is invalid",
                problems=[f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()],
            ) from error

    def run(self, request: StepRequest, store: ArtifactStore) -> StepResult:
        """Return the committed result of a step, computing it in a container when there is none.

        :raises SpecError: when the step cannot run in a container, or there is no such image.
        :raises MLOpsError: whatever the step finds wrong, as the class that it raised; the container ran out of memory.
        :raises TransientServiceError: when the engine is away.
        """
        _refuse_connections(request)
        client = connect(self.settings)
        try:
            order = Order(
                request=request,
                image=image_digest(client, self.settings),
                store=uri_of(store),
                options=private_options(store),
                secret=store.secret,
            )
            self._name = name = _name(self.caller, order)
            return self._answer(Container(client, name), order, store)
        finally:
            client.close()

    def stop(self) -> None:
        """End the container, when there is one: what it did not commit is computed again."""
        self._stopped = True
        if self._name is None:
            return
        client = connect(self.settings)
        try:
            log.info("Stopping container %s.", self._name)
            Container(client, self._name).remove()
        finally:
            client.close()

    def _answer(self, container: Container, order: Order, store: ArtifactStore) -> StepResult:
        digest = _digest(order, self.settings)
        for _ in range(_PATIENCE):
            self._go_on(order)
            running = container.order()
            if (receipt := committed(order.request, store, image=order.image)) is not None:
                if running in ("", digest):
                    container.remove()  # it has done what it was made for
                return receipt
            if running is None:
                if not self._start(container, order, digest, store):
                    continue
            elif running == digest:
                log.info(
                    "Container %s is still running for an earlier try that was killed: taking it over.", container.name
                )
            else:
                log.info("Removing container %s, which an earlier try left behind.", container.name)
                container.remove()
                continue
            try:
                relay(container.logs())
                ended = container.ended()
            except GoneError:
                continue
            container.remove()
            self._go_on(order)
            return _vouched(_settled(ended, order, self.settings), order, store)
        raise TransientServiceError(
            f"container {container.name} of step {order.request.step!r} keeps disappearing",
            hint="Something else removes it: stop that.",
        )

    def _start(self, container: Container, order: Order, digest: str, store: ArtifactStore) -> bool:
        step, line = order.request.step, order.model_dump_json() + "\n"
        labels = {**{f"airflow.{key}": value for key, value in self.caller.items()}, ORDER_LABEL: digest}
        settings = self.settings
        if settings.network_mode is None:
            settings = settings.model_copy(update={"network_mode": "none" if folder_of(store) else "bridge"})
        try:
            if not container.start(settings, step, line, labels, _mounts(settings, order, store)):
                return False
        except TransientServiceError:
            raise
        except MLOpsError:
            container.remove()  # made, and not able to start
            raise
        log.info("Step %s runs in container %s of image %s.", step, container.name, settings.image)
        if self._stopped:
            container.remove()  # the engine was still creating it when `stop` tried to remove it
        return True

    def _go_on(self, order: Order) -> None:
        """Do nothing more once the task was stopped: Airflow lets it run on after `on_kill`."""
        if self._stopped:
            raise MLOpsError(f"step {order.request.step!r} of {order.request.pipeline!r} was stopped")


def _refuse_connections(request: StepRequest) -> None:
    """Refuse to read a source through an Airflow connection: no container gets one.

    :raises SpecError: names the connection.
    """
    conn_id = request.section.get("data", {}).get("source", {}).get("conn_id")
    if conn_id is not None:
        raise SpecError(
            f"step {request.step!r} reads through the connection {conn_id!r}, which containers do not get",
            hint="Run it in the worker: runtime {kind: in_process}.",
        )


def _name(caller: dict[str, str], order: Order) -> str:
    """Return the container's name: the same for every try, another for another Airflow on the same engine."""
    return "mlops-" + _sha256([order.store, sorted(caller.items())])[:40]


def _digest(order: Order, settings: Docker) -> str:
    """Return what identifies an order, without its secrets."""
    return _sha256([order.model_dump_json(exclude={"options", "secret"}), settings.model_dump_json()])


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _mounts(settings: Docker, order: Order, store: ArtifactStore) -> list[Any]:
    """Return what the container sees: the store's folder, the plugins, and what the settings add or put elsewhere."""
    from docker.types import Mount

    seen: dict[str, Any] = {}
    if (folder := folder_of(store)) is not None:
        folder.mkdir(parents=True, exist_ok=True)
        seen[str(folder)] = Mount(str(folder), str(folder), type="bind")
    plugins = order.request.allow_list.plugins_folder
    if plugins is not None and Path(plugins).is_dir():
        seen[plugins] = Mount(plugins, plugins, type="bind", read_only=True)
    if (authority := order.options.get("ca_bundle")) is not None:
        seen[authority] = Mount(authority, authority, type="bind", read_only=True)
    for mount in settings.mounts:
        kind = "bind" if mount.source.startswith("/") else "volume"
        seen[mount.target] = Mount(mount.target, mount.source, type=kind, read_only=mount.read_only)
    return list(seen.values())


def _settled(ended: Ended, order: Order, settings: Docker) -> StepResult:
    """Return the result that a container answered.

    :raises MLOpsError: what it answered instead, or why it did not answer.
    """
    answer = _parsed(ended.out)
    if answer is not None and (answer.result is not None or not ended.out_of_memory):
        return answer.settled()
    request = order.request
    if ended.out_of_memory or ended.code == _KILLED:
        limit = "no limit" if settings.mem_limit is None else f"a limit of {settings.mem_limit}"
        raise MLOpsError(
            f"step {request.step!r} of {request.pipeline!r} ran out of memory in its container, or was killed there",
            got=f"exit code {ended.code} under {limit}",
            hint="Raise runtime.mem_limit, or give the step less data.",
        )
    raise MLOpsError(
        f"the container of step {request.step!r} of {request.pipeline!r} ended without a result",
        got=f"exit code {ended.code}: {ended.tail or 'its log is empty'}",
        hint=f"Image {settings.image!r} must contain this package and its dependencies: build it with `make image`.",
    )


def _vouched(result: StepResult, order: Order, store: ArtifactStore) -> StepResult:
    """Return what a container answered, as its receipt has it: what it only says counts for nothing.

    :raises MLOpsError: there is no such receipt, or it is of another request.
    """
    request = order.request
    receipt = store.read_receipt(request.pipeline, request.step, result.key)
    if receipt is not None:
        receipt = receipt.model_copy(update={"as_of": in_utc(request.as_of), "cached": result.cached})
    if receipt != result or not ask_the_same(request_behind(store, result), request):
        raise MLOpsError(
            f"the container of step {request.step!r} of {request.pipeline!r} returned a result that it did not commit",
            got=f"a result of step {result.step!r} of {result.pipeline!r}, key {result.key[:12]}",
            expected="the result in its receipt",
            hint="Something else wrote to its output, or to the artifact store: check who has access.",
        )
    return receipt


def _parsed(out: str) -> StepAnswer | None:
    try:
        return StepAnswer.model_validate_json(out.strip().rpartition("\n")[2])
    except ValidationError:
        return None
