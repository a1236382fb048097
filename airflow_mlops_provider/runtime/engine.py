"""A Docker engine through Airflow's `DockerHook`, its images, and its errors as ours."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import MLOpsError, SpecError, TransientServiceError
from airflow_mlops_provider.hooks.connections import defined_connection
from airflow_mlops_provider.redaction import cause_to_show, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import APIClient

    from airflow_mlops_provider.spec import Docker

log = logging.getLogger(__name__)


class GoneError(TransientServiceError):
    """The container of a moment ago is not there any more: somebody else removed it."""


_SOCKET = "unix:///var/run/docker.sock"


def connect(settings: Docker, *, conn_id: str | None = None) -> APIClient:
    """Return a client of the engine, found as Docker's own command line finds it unless the settings name it.

    :param conn_id: Airflow connection of the registry to log in to.
    :raises TransientServiceError: when it does not answer.
    :raises SpecError: when this user may not talk to it, or there is no such connection.
    """
    from airflow.providers.docker.hooks.docker import DockerHook
    from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException
    from docker.errors import DockerException

    if conn_id is not None:
        defined_connection(conn_id)
    found = _environment()
    url = settings.docker_url or found.get("base_url") or _SOCKET
    _check_permission(url)
    hook = DockerHook(docker_conn_id=conn_id, base_url=url, tls=found.get("tls"))
    try:
        with speaking_to_engine("log in to the registry" if conn_id else "answer"):
            return hook.api_client
    except AirflowNotFoundException as error:
        raise SpecError(f"connection {conn_id!r} cannot be used for a registry", got=str(error)) from cause_to_show(
            error
        )
    except (AirflowException, DockerException) as error:
        raise TransientServiceError(
            f"the Docker engine at {shown(url)} cannot be reached",
            got=str(error),
            hint="Start it, or name another in runtime.docker_url or the worker's DOCKER_HOST.",
        ) from cause_to_show(error)


def _environment() -> dict[str, Any]:
    """Return what the worker's environment says of the engine: `base_url` and `tls`, as far as it does."""
    from docker.errors import DockerException
    from docker.utils import kwargs_from_env

    try:
        found: dict[str, Any] = kwargs_from_env()
    except DockerException as error:
        raise SpecError(
            "the worker's environment does not name a usable Docker engine",
            got=str(error),
            hint="Correct DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH.",
        ) from cause_to_show(error)
    return found


def _check_permission(url: str) -> None:
    path = url.removeprefix("unix://")
    if path != url and os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
        raise SpecError(
            f"this worker's user has no permission to use the Docker engine at {shown(url)}",
            got=f"user {os.getuid()}",
            hint="Add the user to the group that owns the socket, usually `docker`.",
        )


@contextmanager
def speaking_to_engine(doing: str) -> Iterator[None]:
    """Turn the engine's refusals into errors of ours, and failures that may pass into errors that are retried.

    :param doing: what the engine was to do.
    """
    from docker.errors import APIError
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except APIError as error:
        message = str(error.explanation or error)
        kind = GoneError if "no such container" in message.lower() else MLOpsError
        raise kind(f"the Docker engine refused to {doing}", got=message) from cause_to_show(error)
    except (RequestException, HTTPError) as error:
        raise TransientServiceError(
            f"the Docker engine became unreachable before it could {doing}", got=f"{type(error).__name__}: {error}"
        ) from cause_to_show(error)


def image_digest(client: APIClient, settings: Docker) -> str:
    """Return what identifies an image, pulling it when it is not there.

    :raises SpecError: when there is no such image.
    :raises TransientServiceError: when the registry does not answer.
    """
    if (digest := _digest(client, settings.image)) is not None:
        return digest
    if settings.pull == "never":
        raise SpecError(
            f"image {settings.image!r} is not on the Docker engine",
            hint="Build it there with `make image`, or set runtime.pull to missing.",
        )
    _pull(settings)
    if (digest := _digest(client, settings.image)) is None:
        raise SpecError(f"image {settings.image!r} is still missing after it was pulled", hint="Correct runtime.image.")
    return digest


def _digest(client: APIClient, image: str) -> str | None:
    from docker.errors import ImageNotFound, NotFound

    with speaking_to_engine(f"look for image {image!r}"):
        try:
            return str(client.inspect_image(image)["Id"])
        except (ImageNotFound, NotFound):
            return None


def _pull(settings: Docker) -> None:
    """Pull an image, logged in when the settings name a registry's connection."""
    from docker.errors import APIError
    from docker.utils import parse_repository_tag

    client = connect(settings, conn_id=settings.docker_conn_id)
    repository, tag = parse_repository_tag(settings.image)
    log.info("Pulling image %s.", settings.image)
    with speaking_to_engine(f"pull image {settings.image!r}"):
        try:
            for line in client.pull(repository, tag=tag or "latest", stream=True, decode=True):
                if "error" in line:
                    raise _not_pulled(settings.image, str(line["error"]), passing=True)
        except APIError as error:
            message = error.explanation or str(error)
            # A registry that has no such image, or does not show it to us, answers 404; one that is away, 500.
            raise _not_pulled(settings.image, message, passing=error.is_server_error()) from error
        finally:
            client.close()


def _not_pulled(image: str, message: str, *, passing: bool) -> MLOpsError:
    lasting = any(mark in message.lower() for mark in ("denied", "unauthorized", "not found", "manifest unknown"))
    kind: Any = TransientServiceError if passing and not lasting else SpecError
    error: MLOpsError = kind(
        f"image {image!r} is not on the Docker engine and cannot be pulled",
        got=message,
        hint="Build it there with `make image`, or correct runtime.image or runtime.docker_conn_id.",
    )
    return error
