"""One container: find or create it, give it its order, follow its log, fetch its answer, remove it."""

from __future__ import annotations

import logging
import os
import re
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.runtime.bounds import own_user
from airflow_mlops_provider.runtime.engine import speaking_to_engine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from docker import APIClient

    from airflow_mlops_provider.spec import Docker

log = logging.getLogger(__name__)

ORDER_LABEL = "airflow_mlops_provider.order"
_LEVELS = {name: getattr(logging, name) for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")}
_LEVELLED = re.compile(rf"({'|'.join(_LEVELS)}) (.*)", re.DOTALL)
#: Where a container may write, besides the store. In memory.
_SCRATCH = "/tmp"
#: What decides how BLAS and NumPy round: with the worker's, a container makes the very model that the worker would.
_ROUNDING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_CBWR", "BLIS_ARCH_TYPE", "NPY_DISABLE_CPU_FEATURES")
#: Threads included, of which a training takes some for each processor: what multiplies without end stops there.
_PROCESSES = 4096
#: The engine keeps what a container prints, of which the answer is the last line.
_LOG_CONFIG = {"type": "json-file", "config": {"max-size": "20m", "max-file": "2"}}


@dataclass(frozen=True)
class Ended:
    """How a container ended.

    :param out_of_memory: the kernel ended it, or a process in it, at its limit.
    :param out: what it wrote to standard output: the answer.
    :param tail: the last lines that it logged.
    """

    code: int
    out_of_memory: bool
    out: str
    tail: str


@dataclass(frozen=True)
class Container:
    """A container by its name, which one task instance has for itself.

    Each method raises `TransientServiceError` when the engine is away, and `GoneError`, which is one, when somebody
    else has removed the container.
    """

    client: APIClient
    name: str

    def order(self) -> str | None:
        """Return the digest of the order of a container of this name that runs, "" of one that does not run.

        None when there is no such container.
        """
        from docker.errors import NotFound

        with speaking_to_engine(f"look for container {self.name}"):
            try:
                found = self.client.inspect_container(self.name)
            except NotFound:
                return None
        return str(found["Config"]["Labels"].get(ORDER_LABEL, "")) if found["State"]["Running"] else ""

    def start(self, settings: Docker, step: str, order: str, labels: dict[str, str], mounts: list[Any]) -> bool:
        """Make the container, start it, and give it its order by standard input.

        It ends by itself when we are killed before it has the order: its input ends with us.

        :return: False when somebody else has made a container of this name.
        """
        from docker.errors import APIError

        with speaking_to_engine(f"make a container of image {settings.image!r}"):
            host = self.client.create_host_config(mounts=mounts, **_limits(settings, mounts))
            try:
                self.client.create_container(
                    settings.image,
                    name=self.name,
                    entrypoint=["python3", "-m", "airflow_mlops_provider"],
                    command=["run", step],
                    environment={
                        "HOME": _SCRATCH,
                        **{name: os.environ[name] for name in _ROUNDING if name in os.environ},
                    },
                    user=settings.user or own_user(),
                    labels=labels,
                    stdin_open=True,
                    host_config=host,
                )
            except APIError as error:
                if error.status_code == HTTPStatus.CONFLICT:
                    return False
                raise
        with speaking_to_engine(f"start a container of image {settings.image!r}"):
            stdin = self.client.attach_socket(self.name, params={"stdin": 1, "stream": 1})
            # What docker-py gives is a reader, with the socket inside; over TLS, the socket itself.
            socket = getattr(stdin, "_sock", stdin)
            with closing(socket), closing(stdin):
                self.client.start(self.name)
                socket.sendall(order.encode())
        return True

    def logs(self) -> Iterator[str]:
        """Yield the lines that it logs, from the first, until it has ended."""
        with speaking_to_engine("stream the log of a container"):
            yield from _lines(self.client.logs(self.name, stdout=False, stderr=True, stream=True, follow=True))

    def ended(self) -> Ended:
        """Wait until it has ended, and return how."""
        with speaking_to_engine("report how a container ended"):
            self.client.wait(self.name)
            state = self.client.inspect_container(self.name)["State"]
            out = self.client.logs(self.name, stdout=True, stderr=False)
            tail = self.client.logs(self.name, stdout=False, stderr=True, tail=5)
        return Ended(
            code=int(state["ExitCode"]),
            out_of_memory=bool(state["OOMKilled"]),
            out=out.decode(errors="replace"),
            tail=tail.decode(errors="replace").strip(),
        )

    def remove(self) -> None:
        """End and remove it. One that is not there is no error."""
        from docker.errors import NotFound

        with speaking_to_engine(f"remove container {self.name}"):
            try:
                self.client.remove_container(self.name, force=True, v=True)
            except NotFound:
                return


def _limits(settings: Docker, mounts: list[Any]) -> dict[str, Any]:
    """Return what a container may do and have: as little as a computation needs."""
    from docker.types import DeviceRequest

    limits: dict[str, Any] = {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "network_mode": settings.network_mode,
        "log_config": _LOG_CONFIG,
        "pids_limit": _PROCESSES,
    }
    if _SCRATCH not in [mount["Target"] for mount in mounts]:
        limits["tmpfs"] = {_SCRATCH: "rw,nosuid,nodev,mode=1777"}
    if settings.mem_limit is not None:
        # Without the second, it would get as much again in swap.
        limits |= {"mem_limit": settings.mem_limit, "memswap_limit": settings.mem_limit}
    if settings.cpus is not None:
        limits["nano_cpus"] = int(settings.cpus * 1e9)
    if settings.gpus is not None:
        count = -1 if settings.gpus == "all" else settings.gpus
        limits["device_requests"] = [DeviceRequest(count=count, capabilities=[["gpu"]])]
    return limits


def relay(lines: Iterable[str]) -> None:
    """Log what a container logs, at the level that it gives; a line without one continues the last."""
    level = logging.INFO
    for line in lines:
        if (levelled := _LEVELLED.fullmatch(line)) is not None:
            level = _LEVELS[levelled[1]]
        log.log(level, "%s", line if levelled is None else levelled[2])


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines in a stream whose pieces end anywhere."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")
