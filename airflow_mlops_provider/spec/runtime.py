"""Where a compute step runs: in the Airflow worker, or in a container beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from airflow_mlops_provider.spec.frozen import AbsolutePath, Finite, Frozen, MemoryLimit

if TYPE_CHECKING:
    from collections.abc import Sequence


class InProcess(Frozen):
    """Computes in the Airflow worker itself."""

    kind: Literal["in_process"] = Field("in_process", description="`in_process` computes in the Airflow worker itself.")


class Mount(Frozen):
    """A folder on the Docker host, or a named volume, that a container can use."""

    source: str = Field(min_length=1, description="Absolute path on the Docker host, or name of a volume.")
    target: AbsolutePath = Field(description="Absolute path at which the container sees the folder or volume.")
    read_only: bool = Field(True, description="Whether the container can only read the mount, and not write to it.")


class Docker(Frozen):
    """Computes in a container of its own, without Airflow: read-only, unprivileged, no network but the store's."""

    kind: Literal["docker"] = Field(description="`docker` computes in a container of its own.")
    image: str = Field(min_length=1, description="Docker image that contains this package and what the steps need.")
    mem_limit: MemoryLimit | None = Field(
        None,
        description="Largest memory of a container, such as `512m` or `2g`. Defaults to `[mlops] docker_max_memory`, "
        "else to no limit.",
    )
    cpus: Finite | None = Field(
        None,
        gt=0,
        description="Largest number of processors that a container may use, such as 1.5. Defaults to `[mlops] "
        "docker_max_cpus`, else to no limit.",
    )
    gpus: PositiveInt | Literal["all"] | None = Field(
        None, description="Number of GPUs that a container gets, or `all`. Defaults to none."
    )
    network_mode: str | None = Field(
        None,
        description="Docker network of a container. Defaults to `none` when the artifact store is a folder, and to "
        "`bridge` when it is on S3.",
    )
    mounts: list[Mount] = Field(
        default_factory=list,
        description="Folders and volumes that a container sees besides the artifact store and the plugins, such as "
        "local sources.",
    )
    user: str | None = Field(
        None,
        description="User and group of a container, such as `1000:1000`. Defaults to those of the worker, which owns "
        "the artifact store.",
    )
    pull: Literal["missing", "never"] = Field(
        "missing", description="What happens to an image that is missing: `missing` pulls it, `never` fails the task."
    )
    docker_url: str | None = Field(
        None,
        description="Address of the Docker engine. Defaults to the worker's `DOCKER_HOST`, else to "
        "`unix:///var/run/docker.sock`.",
    )
    docker_conn_id: str | None = Field(
        None, description="Airflow connection of type `docker` for the registry from which the image is pulled."
    )

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
    """Refuse what cannot run where it is configured to.

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
