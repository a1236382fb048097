"""What a pipeline file may ask of the container engine: the platform's owner says, in `[mlops] docker_*`.

A pipeline file is written by whoever makes a model. A container engine is as much as root on its machine. So a file
gets a container without rights of its own, and whatever widens it is named by the owner first.
"""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.redaction import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_mlops_provider.spec import Docker, Mount

Number = TypeVar("Number")

_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_UNITS = {"b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


@dataclass(frozen=True)
class Root:
    """A folder of the engine's machine below which a file may mount, or a named volume.

    :param target: where a container sees it; at its own path when left out.
    """

    source: str
    target: str
    writable: bool

    def holds(self, mount: Mount) -> bool:
        """Return whether a mount lies in it, and where it has to."""
        source, target = posixpath.normpath(mount.source), posixpath.normpath(mount.target)
        if not self.source.startswith("/"):
            return (source, target) == (self.source, self.target)
        if os.path.exists(source):
            real = os.path.realpath(source)  # a link out of the folder leads out of it in the engine as well
            if not _is_below(real, os.path.realpath(self.source)):
                return False
        below = _is_below(source, self.source)
        return below and target == posixpath.normpath(self.target + source[len(self.source.rstrip("/")) :])


@dataclass(frozen=True)
class Bounds:
    """The `[mlops] docker_*` settings.

    :param images: patterns of images; any when empty.
    :param users: users that a file may name, besides the worker's own.
    :param networks: networks that a file may name, besides `none`.
    :param mounts: what a file may mount.
    :param urls: engines that a file may name, besides the worker's own.
    :param conn_ids: connections of registries that a file may name.
    :param memory: most of it in bytes; None when there is no limit.
    :param cpus: most processors; None when there is no limit.
    :param gpus: most GPUs; None when there is no limit.
    """

    images: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    mounts: tuple[Root, ...] = ()
    urls: tuple[str, ...] = ()
    conn_ids: tuple[str, ...] = ()
    memory: int | None = None
    cpus: float | None = None
    gpus: int | None = 0

    def problems(self, settings: Docker) -> list[str]:
        """Return what a file asks for and does not get, a sentence each, with the setting that would let it."""
        return [*self._identity(settings), *self._reach(settings), *self._share(settings)]

    def check(self, settings: Docker, where: str = "the runtime") -> None:
        """Refuse what the owner does not allow.

        :param where: whose settings these are.
        :raises SpecError: names each setting, and what would allow it.
        """
        if problems := self.problems(settings):
            raise SpecError(
                f"{where} requests settings that this platform does not allow",
                problems=problems,
                hint="Leave it out, or ask the platform's owner to allow it in Airflow's configuration.",
            )

    def _identity(self, settings: Docker) -> Iterator[str]:
        if self.images and not any(fnmatchcase(settings.image, pattern) for pattern in self.images):
            yield f"image {settings.image!r} matches none of [mlops] docker_images: {', '.join(self.images)}"
        if settings.user is not None and settings.user not in (*self.users, own_user()):
            yield f"user {settings.user!r} is not among [mlops] docker_users: {_listed(self.users)}"
        elif settings.user is not None and settings.user not in self.users and _is_root(settings.user):
            yield f"user {settings.user!r} is root, and not among [mlops] docker_users: {_listed(self.users)}"
        if settings.docker_url is not None and settings.docker_url not in self.urls:
            allowed = _listed(tuple(shown(url) for url in self.urls))
            yield f"docker_url {shown(settings.docker_url)!r} is not among [mlops] docker_urls: {allowed}"
        if settings.docker_conn_id is not None and settings.docker_conn_id not in self.conn_ids:
            allowed = _listed(self.conn_ids)
            yield f"docker_conn_id {settings.docker_conn_id!r} is not among [mlops] docker_conn_ids: {allowed}"

    def _reach(self, settings: Docker) -> Iterator[str]:
        if settings.network_mode not in (None, "none", *self.networks):
            allowed = _listed(self.networks)
            yield f"network_mode {settings.network_mode!r} is not among [mlops] docker_networks: {allowed}"
        for mount in settings.mounts:
            fits = [root for root in self.mounts if root.holds(mount)]
            what = f"mount of {mount.source!r} at {mount.target!r}"
            if not fits:
                allowed = _listed(tuple(f"{root.source}:{root.target}" for root in self.mounts))
                yield f"{what} is not within [mlops] docker_mounts: {allowed}"
            elif not mount.read_only and not any(root.writable for root in fits):
                yield f"{what} is writable, but [mlops] docker_mounts lists it without :rw"

    def _share(self, settings: Docker) -> Iterator[str]:
        requested = {
            "mem_limit": (memory_bytes(settings.mem_limit or "0"), self.memory, "docker_max_memory"),
            "cpus": (settings.cpus, self.cpus, "docker_max_cpus"),
            "gpus": (float("inf") if settings.gpus == "all" else settings.gpus, self.gpus, "docker_max_gpus"),
        }
        for name, (wanted, most, option) in requested.items():
            if wanted is not None and most is not None and wanted > most:
                yield f"{name} {getattr(settings, name)!r} is more than [mlops] {option}: {most}"

    def limited(self, settings: Docker) -> Docker:
        """Return the settings with the owner's limits where a file has none."""
        limits = {
            "mem_limit": None if self.memory is None else f"{self.memory}b",
            "cpus": self.cpus,
        }
        missing = {name: most for name, most in limits.items() if most is not None and getattr(settings, name) is None}
        return settings.model_copy(update=missing)


def configured() -> Bounds:
    """Return the bounds of Airflow's configuration.

    :raises SpecError: a setting cannot be read; it then allows nothing.
    """
    return Bounds(
        images=_names("docker_images"),
        users=_names("docker_users"),
        networks=_names("docker_networks"),
        mounts=tuple(map(_root, _names("docker_mounts"))),
        urls=_names("docker_urls"),
        conn_ids=_names("docker_conn_ids"),
        memory=_most("docker_max_memory", memory_bytes) or None,
        cpus=_most("docker_max_cpus", float) or None,
        gpus=_most("docker_max_gpus", lambda text: None if text == "all" else int(text), "0"),
    )


def own_user() -> str:
    """Return the worker's own user and group, who own a store in a folder."""
    return f"{os.getuid()}:{os.getgid()}"


def memory_bytes(text: str) -> int:
    """Return how many bytes a limit is, as Docker writes it.

    >>> memory_bytes("2g"), memory_bytes("512m"), memory_bytes("1000")
    (2147483648, 536870912, 1000)
    """
    number, unit = (text[:-1], text[-1].lower()) if text[-1:].lower() in _UNITS else (text, "b")
    return int(float(number) * _UNITS[unit])


def _is_root(user: str) -> bool:
    name, _, group = user.partition(":")
    # A name is what the image makes of it; a group of root reads what root leaves to it.
    return not name.isdecimal() or int(name) == 0 or (group != "" and (not group.isdecimal() or int(group) == 0))


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def _names(option: str) -> tuple[str, ...]:
    from airflow.sdk import conf

    text: str = conf.get("mlops", option, fallback="") or ""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _root(text: str) -> Root:
    """Return a root of `source[:target][:ro|rw]`, as Docker's command line writes it."""
    parts = text.split(":")
    writable = parts[-1] == "rw"
    if parts[-1] in ("ro", "rw"):
        parts.pop()
    source, target = (parts[0], parts[-1]) if len(parts) in (1, 2) else ("", "")
    absolute = source.startswith("/")
    if not (absolute or (_VOLUME.fullmatch(source) and len(parts) == 2)) or not target.startswith("/"):
        raise SpecError(
            "[mlops] docker_mounts cannot be read",
            got=text,
            expected="/folder, /folder:/target, or volume:/target, and :rw where a container may write",
        )
    return Root(posixpath.normpath(source), posixpath.normpath(target), writable)


def _most(option: str, read: Callable[[str], Number], default: str = "") -> Number | None:
    from airflow.sdk import conf

    text: str = (conf.get("mlops", option, fallback=default) or default).strip()
    if not text:
        return None
    try:
        return read(text)
    except ValueError as error:
        raise SpecError(
            f"[mlops] {option} cannot be read", got=text, hint="Correct Airflow's configuration."
        ) from error
