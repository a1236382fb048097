"""Where a compute step runs: in the Airflow worker, or in a container beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from airflow_mlops_provider.spec.frozen import AbsolutePath, Finite, Frozen, MemoryLimit

if TYPE_CHECKING:
    from collections.abc import Sequence


class InProcess(Frozen):
    """In the Airflow worker itself."""

    kind: Literal["in_process"] = Field("in_process", description="In the worker.")


class Mount(Frozen):
    """A folder of the engine's machine, or a named volume, that a container sees."""

    source: str = Field(min_length=1, description="Absolute path on the engine's machine, or name of a volume.")
    target: AbsolutePath = Field(description="Where the container sees it.")
    read_only: bool = Field(True, description="The container cannot write there.")


class Docker(Frozen):
    """In a container of its own, without Airflow: read-only, no privileges, no network but the store's."""

    kind: Literal["docker"] = Field(description="In a container.")
    image: str = Field(min_length=1, description="Image that holds this package and what the steps need.")
    mem_limit: MemoryLimit | None = Field(None, description="Most memory, such as `512m` or `2g`; no limit without.")
    cpus: Finite | None = Field(None, gt=0, description="Most processor time, in processors; no limit without.")
    gpus: PositiveInt | Literal["all"] | None = Field(None, description="How many GPUs it gets; none without.")
    network_mode: str | None = Field(
        None, description="Docker network. Left out: `none` for a store in a folder, `bridge` for one in S3."
    )
    mounts: list[Mount] = Field(
        default_factory=list, description="What it sees besides the store's folder and the plugins: local sources."
    )
    user: str | None = Field(
        None, description="User and group, such as `1000:1000`; left out, those of the worker, who owns the store."
    )
    pull: Literal["missing", "never"] = Field("missing", description="Whether an image that is not there is pulled.")
    docker_url: str | None = Field(
        None, description="The engine; left out, the worker's `DOCKER_HOST`, else `unix:///var/run/docker.sock`."
    )
    docker_conn_id: str | None = Field(None, description="Airflow connection of the registry to pull from.")

    @model_validator(mode="after")
    def _targets_are_free(self) -> Docker:
        targets = [mount.target for mount in self.mounts]
        if twice := sorted({target for target in targets if targets.count(target) > 1}):
            raise ValueError(f"mounts share the target {twice[0]!r}")
        return self


Runtime = Annotated[InProcess | Docker, Field(discriminator="kind")]

#: Tasks that compute. The others only talk to MLflow and Airflow, which a container cannot.
COMPUTING = (
    "ingest", "validate", "prepare", "search", "train", "evaluate", "gate", "refit", "score_shard", "score", "watch",
)  # fmt: skip
#: Those that read the source.
_READING = ("ingest", "watch")


def check_runtimes(runtimes: dict[str, Runtime | None], conn_ids: Sequence[str]) -> None:
    """Refuse what cannot run where it is told to.

    :param runtimes: of each task that has one of its own, and of each that computes.
    :param conn_ids: the Airflow connections that reading takes.
    :raises ValueError: names the task.
    """
    for task, runtime in runtimes.items():
        if runtime is not None and task not in COMPUTING:
            raise ValueError(f"tasks.{task}.runtime: {task} computes nothing; leave it out")
        if runtime is not None and runtime.kind == "docker" and task in _READING and conn_ids:
            raise ValueError(
                f"{task} reads the source through the connection {conn_ids[0]!r}, which a container does not get: "
                f"set tasks.{task}.runtime to {{kind: in_process}}"
            )
