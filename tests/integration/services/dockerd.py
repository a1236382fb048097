"""A Docker engine of its own, and an image of the steps that is built without pulling one."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.daemons import daemon
from services.needs import needs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import APIClient

PROJECT = Path(__file__).resolve().parents[3]
#: What is installed into the image, here and by the Dockerfile.
CONSTRAINTS = PROJECT / "constraints-step.txt"
IMAGE = "airflow-mlops-step:test"
#: Where an image finds its packages: on the path of Debian's Python.
_PACKAGES = "usr/local/lib/python3.11/dist-packages"
#: What a training imports. Compiled once, here: a container cannot keep what it compiles.
_COMPILED = (
    "airflow_mlops_provider.__main__, pandas, pyarrow.parquet, scipy.stats, skops.io, joblib, threadpoolctl, "
    "sklearn.compose, sklearn.ensemble, sklearn.impute, sklearn.linear_model, sklearn.pipeline, sklearn.tree"
)


@dataclass(frozen=True)
class Dockerd:
    """A running engine.

    :param url: what `DOCKER_HOST` and `runtime.docker_url` take.
    """

    url: str

    def client(self) -> APIClient:
        """Return a client; close it."""
        from docker import APIClient

        return APIClient(base_url=self.url)

    def containers(self) -> list[dict[str, Any]]:
        """Return what is known of every container, running or not."""
        from docker.errors import NotFound

        client, known = self.client(), []
        try:
            for found in client.containers(all=True):
                with suppress(NotFound):  # it was removed meanwhile
                    known.append(client.inspect_container(found["Id"]))
        finally:
            client.close()
        return known

    def created(self) -> list[dict[str, Any]]:
        """Return the events of containers that were made so far."""
        command = ["events", "--since", "0", "--until", f"{time.time():.3f}", "--format", "{{json .}}"]
        command += ["--filter", "type=container", "--filter", "event=create"]
        return [json.loads(line) for line in _run(["docker", "-H", self.url, *command]).splitlines()]

    def remove(self, container: str) -> None:
        """End and remove a container."""
        client = self.client()
        try:
            client.remove_container(container, force=True)
        finally:
            client.close()

    def load(self, packed: Path, image: str = IMAGE) -> None:
        """Make an image of a packed root file system."""
        _run(["docker", "-H", self.url, "import", str(packed), image])


def step_image(folder: Path) -> Path:
    """Return the packed root file system of an image of the steps, made by whichever process asks for it first.

    Needs no image to begin with: it is Debian's own Python with what the Dockerfile installs. Takes half a minute.

    :param folder: the same for all who are to share it; it keeps half a gigabyte.
    """
    packed = folder / "step-image.tar"
    with (folder / "step-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not packed.exists():
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                root = Path(scratch) / "root"
                _fill(root)
                _pack(root, Path(f"{packed}.new"))
            Path(f"{packed}.new").rename(packed)
    return packed


def _pack(root: Path, packed: Path) -> None:
    done = subprocess.run(["tar", "-C", str(root), "-cf", str(packed), "."], capture_output=True, text=True)
    # 1 says that files changed: the installer links them to its cache, where others link them as well.
    if done.returncode > 1:
        raise RuntimeError(f"tar failed:\n{done.stderr[-2000:]}")


def _fill(root: Path) -> None:
    _unpack_python(root)
    packages = root / _PACKAGES
    _run([*_install(), "--target", str(packages), "--no-deps", "-r", str(CONSTRAINTS)])
    shutil.copytree(
        PROJECT / "airflow_mlops_provider",
        packages / "airflow_mlops_provider",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    _run(["/usr/sbin/chroot", str(root), "/usr/bin/python3", "-c", f"import {_COMPILED}"], env={"PATH": "/usr/bin"})


@contextmanager
def dockerd() -> Iterator[Dockerd]:
    """Run an engine of its own: without networks but `none` and `host`, which needs no firewall of the machine's."""
    needs("dockerd", "docker", "mmdebstrap", root=True)
    # The path of a socket has to be short, and pytest's are long.
    folder = Path(tempfile.mkdtemp(prefix="mlops-docker-"))
    # In memory: an image is 35,000 files, which take a minute to delete from a busy disk.
    _run(["mount", "-t", "tmpfs", "-o", "size=4g", "mlops-docker", str(folder)])
    engine = Dockerd(f"unix://{folder}/socket")
    command = ["dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "-H", engine.url]
    command += ["--pidfile", f"{folder}/pid", "--bridge=none", "--iptables=false", "--ip6tables=false"]
    try:
        with daemon(command, folder / "log", lambda: _answers(engine)):
            try:
                yield engine
            finally:
                # A test that failed may leave one, which would outlive the engine.
                for left in engine.containers():
                    engine.remove(left["Id"])
    finally:
        _run(["umount", "--recursive", "--lazy", str(folder)])
        folder.rmdir()


def _answers(engine: Dockerd) -> bool:
    return subprocess.run(["docker", "-H", engine.url, "info"], capture_output=True).returncode == 0


def _unpack_python(root: Path) -> None:
    """Unpack Debian's Python and what its extensions link to, from the mirror that this machine uses."""
    sources = Path("/etc/apt/sources.list.d/debian.sources").read_text(encoding="utf-8")
    mirror = next(line.split()[1] for line in sources.splitlines() if line.startswith("URIs:"))
    signed = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    packages = "--include=python3,base-files,libstdc++6,libgomp1"
    _run(
        [
            "mmdebstrap",
            "-q",
            "--variant=extract",
            packages,
            "bookworm",
            str(root),
            f"deb {signed} {mirror} bookworm main",
        ]
    )


def _install() -> list[str]:
    """Return the installer at hand, told to fetch for the image's Python."""
    beside = Path(sys.executable).parent
    if (uv := shutil.which("uv", path=f"{beside}:{os.environ['PATH']}")) is not None:
        return [uv, "pip", "install", "-q", "--python", sys.executable, "--python-version", "3.11"]
    return [sys.executable, "-m", "pip", "install", "-q", "--python-version", "3.11", "--only-binary=:all:"]


def _run(command: list[str], **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout
