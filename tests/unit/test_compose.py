from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_mlops_provider import __version__

PROJECT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(PROJECT / "tools"), str(PROJECT / "tests" / "integration")]
FILE = PROJECT / "docker-compose.yaml"
TEXT = FILE.read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
#: They do something once; others wait until it is done.
JOBS = {"airflow-init", "mlflow-users", "s3-buckets"}
#: What pins images, where somebody has looked it up.
DIGESTS = {"PYTHON_DIGEST", "POSTGRES_DIGEST", "REDIS_DIGEST", "S3_DIGEST"}
VARIABLE = re.compile(r"\$\{([^}]*)\}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of what Compose reads, with secrets."""
    from write_env import write

    shutil.copy(FILE, tmp_path)
    shutil.copytree(PROJECT / "compose", tmp_path / "compose")
    assert write(tmp_path / ".env")
    return tmp_path


def test_the_published_schema_accepts_the_file() -> None:
    command = [sys.executable, "-W", "ignore", "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(FILE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_itself_accepts_the_file_with_the_secrets_of_make_env(folder: Path) -> None:
    from services.needs import needs

    command = ["docker", "compose"]
    if not shutil.which("docker") or subprocess.run([*command, "version"], capture_output=True).returncode != 0:
        needs("docker-compose")
        command = ["docker-compose"]
    done = subprocess.run([*command, "config"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARN" not in done.stderr, "a variable without a value"
    resolved = yaml.safe_load(done.stdout)["services"]
    assert set(resolved) == set(SERVICES)
    assert "${" not in done.stdout
    (folder / ".env").unlink()
    without = subprocess.run([*command, "config"], cwd=folder, capture_output=True, text=True)
    assert without.returncode != 0
    assert "run make env" in without.stderr


def test_it_is_airflow_with_two_workers_and_all_that_it_needs() -> None:
    parts = {"api-server", "scheduler", "dag-processor", "triggerer", "worker-1", "worker-2", "init"}
    services = {"postgres", "redis", "mlflow", "mlflow-users", "s3", "s3-buckets"}
    assert set(SERVICES) == {f"airflow-{part}" for part in parts} | services


def test_every_image_is_of_one_version() -> None:
    for name, service in SERVICES.items():
        if "build" in service:
            assert service["image"] == f"airflow-mlops-provider/{service['build']['target']}:{__version__}", name
        else:
            image, digest = re.fullmatch(r"([^$]+)\$\{(\w+_DIGEST):-\}", service["image"]).groups()
            assert re.search(r":v?\d+\.\d+\.\d+$|:\d+\.\d+(\.\d+)?-[a-z]+$", image), name
            assert digest in DIGESTS
    bases = re.findall(r"^(?:ARG \w+=|FROM )([\w./-]+:\S+)", (PROJECT / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert bases
    assert all(re.search(r":\d+\.\d+\.\d+-\S+$", base) for base in bases), bases


def test_every_image_can_be_pinned_to_one_digest(folder: Path) -> None:
    digest = f"@sha256:{'ab' * 32}"
    text, dockerfile = FILE.read_text(encoding="utf-8"), (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    for name in DIGESTS:
        text = text.replace(f"${{{name}:-}}", digest)
    for service in yaml.safe_load(text)["services"].values():
        pinned = service["build"]["args"]["PYTHON_DIGEST"] if "build" in service else service["image"]
        assert pinned.endswith(digest)
    assert set(re.findall(r"^FROM (\S+)", dockerfile, flags=re.MULTILINE)) == {"${PYTHON_IMAGE}${PYTHON_DIGEST}"}


def test_every_service_says_when_it_is_healthy_and_every_job_is_waited_for() -> None:
    for name, service in SERVICES.items():
        if name not in JOBS:
            assert service["healthcheck"]["test"], name
            assert service["restart"] == "unless-stopped", name
    waits = [wait for service in SERVICES.values() for wait in service.get("depends_on", {}).items()]
    for name, how in waits:
        expected = "service_completed_successfully" if name in JOBS else "service_healthy"
        assert how["condition"] == expected, name
    assert {name for name, _ in waits} >= JOBS


def test_nothing_is_published_beyond_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"airflow-api-server", "mlflow"}
    for ports in published.values():
        assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports), ports
    assert not [name for name, service in SERVICES.items() if "network_mode" in service or service.get("privileged")]


def test_every_secret_comes_from_env_and_has_no_default() -> None:
    from write_env import values

    requested = [name for name in VARIABLE.findall(TEXT) if name.removesuffix(":-") not in DIGESTS]
    assert {name.removesuffix(":?run make env") for name in requested} == set(values())
    assert all(name.endswith(":?run make env") for name in requested)
    secret = re.compile(r"PASSWORD|SECRET|_KEY|TOKEN|^AIRFLOW_CONN_|BROKER_URL|BACKEND$|SQL_ALCHEMY")
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if secret.search(key):
                assert VARIABLE.search(value), f"{name}: {key} is written in the file"


def test_secrets_are_in_no_command() -> None:
    for name, service in SERVICES.items():
        message = yaml.safe_dump([service.get("command"), service.get("healthcheck")])
        assert not VARIABLE.search(message), f"{name}: Compose would write the value into the arguments"


def test_workers_hold_neither_the_database_nor_airflow_s_keys() -> None:
    for name in ("airflow-worker-1", "airflow-worker-2"):
        message = yaml.safe_dump(SERVICES[name]["environment"])
        for secret in ("AIRFLOW_DB_PASSWORD", "AIRFLOW_FERNET_KEY", "AIRFLOW_JWT_SECRET", "S3_ROOT", "POSTGRES"):
            assert secret not in message, name


def test_data_is_in_named_volumes_and_the_project_s_files_are_read_only() -> None:
    named = set(yaml.safe_load(TEXT)["volumes"])
    used = set()
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source, _, rest = volume.partition(":")
            if source.startswith("./"):
                assert rest.endswith(":ro"), f"{name}: {volume}"
                assert (PROJECT / source).exists(), volume
            else:
                used.add(source)
    assert used == named


@pytest.mark.parametrize("script", sorted((PROJECT / "compose").glob("*.sh")), ids=lambda script: script.name)
def test_the_shell_reads_the_scripts(script: Path) -> None:
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True).returncode == 0


def test_make_env_writes_random_secrets_for_its_owner_and_never_twice(tmp_path: Path) -> None:
    from write_env import values, write

    file = tmp_path / ".env"
    assert write(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_text(encoding="utf-8")
    assert not write(file)
    assert file.read_text(encoding="utf-8") == before
    first, second = values(), values()
    assert not set(first.values()) & set(second.values())
    assert all(len(value) >= 20 for value in first.values())
    assert len(set(first.values())) == len(first)
