"""What a pipeline file may ask of a container engine, and what only the platform's owner may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from generated import pipeline

from airflow_mlops_provider.dag_templates.folder import check_pipelines, file_problems
from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.pipelines import parse_pipeline
from airflow_mlops_provider.runtime import DockerRuntime
from airflow_mlops_provider.runtime.bounds import configured, own_user

if TYPE_CHECKING:
    from pathlib import Path

DOCKER = {"kind": "docker", "image": "steps:1"}
SOCKET = "/var/run/docker.sock"


def allow(monkeypatch: pytest.MonkeyPatch, **options: str) -> None:
    for name, value in options.items():
        monkeypatch.setenv(f"AIRFLOW__MLOPS__DOCKER_{name.upper()}", value)


def runtime(**requested: Any) -> DockerRuntime:
    return DockerRuntime.of({**DOCKER, **requested}, {"dag_id": "a"})


def mount(source: str, target: str | None = None, **more: Any) -> dict[str, Any]:
    return {"mounts": [{"source": source, "target": target or source, **more}]}


def test_the_documented_runtime_needs_no_leave() -> None:
    settings = runtime(mem_limit="8g", cpus=4, pull="never").settings
    assert (settings.user, settings.network_mode, settings.mounts, settings.mem_limit) == (None, None, [], "8g")
    assert runtime(network_mode="none").settings.network_mode == "none"


#: What a file asks for, and the setting that has it refused when the owner says nothing.
REFUSED: list[tuple[dict[str, Any], str]] = [
    *(
        ({"user": user}, "users")
        for user in ("0:0", "root", "0", "1000:0", "app", "1234:1234", "00:00", "-1", "+0", "")
    ),
    *(
        ({"network_mode": name}, "networks")
        for name in ("host", "bridge", "container:airflow", "default", "HOST", "ns:/proc/1/ns/net", "")
    ),
    (mount("/", "/host", read_only=False), "mounts"),
    (mount("/etc"), "mounts"),
    (mount(SOCKET), "mounts"),
    (mount("/data", "/usr/local/lib/python3.11"), "mounts"),
    (mount("models", "/models"), "mounts"),
    (mount("../etc", "/etc"), "mounts"),
    ({"docker_url": "tcp://engine:2375"}, "urls"),
    ({"docker_url": "unix:///var/run/docker.sock"}, "urls"),
    ({"docker_conn_id": "registry"}, "conn_ids"),
    ({"gpus": 1}, "max_gpus"),
    ({"gpus": "all"}, "max_gpus"),
]


@pytest.mark.parametrize(("requested", "option"), REFUSED, ids=str)
def test_what_widens_a_container_is_refused_unless_the_owner_allows_it(requested: dict[str, Any], option: str) -> None:
    with pytest.raises(SpecError, match=rf"\[mlops\] docker_{option}"):
        runtime(**requested)


@pytest.mark.parametrize(
    "key", ["privileged", "cap_add", "devices", "security_opt", "pid_mode", "ipc_mode", "volumes_from", "environment"]
)
def test_what_no_owner_can_allow_is_no_setting_at_all(key: str) -> None:
    with pytest.raises(SpecError, match=key):
        runtime(**{key: True})


BOUNDS = {
    "images": "registry.example.org/mlops/*,steps:?",
    "users": "1000:1000",
    "networks": "store",
    "mounts": "/data, /srv/plugins:/opt/airflow/plugins, /scratch:rw, cache:/tmp:rw",
    "urls": "tcp://engine:2376",
    "conn_ids": "registry",
    "max_memory": "8g",
    "max_cpus": "4",
    "max_gpus": "2",
}


@pytest.mark.parametrize(
    "requested",
    [
        {"image": "registry.example.org/mlops/steps:1"},
        {"user": "1000:1000"},
        {"network_mode": "store"},
        {"docker_url": "tcp://engine:2376"},
        {"docker_conn_id": "registry"},
        {"mem_limit": "8g", "cpus": 4, "gpus": 2},
        mount("/data"),
        mount("/data/2024"),
        mount("/data/./2024/", "/data/2024"),
        mount("/srv/plugins", "/opt/airflow/plugins"),
        mount("/srv/plugins/more", "/opt/airflow/plugins/more"),
        mount("/scratch/a", read_only=False),
        mount("cache", "/tmp", read_only=False),
    ],
    ids=str,
)
def test_what_the_owner_allows_is_granted(requested: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, **BOUNDS)
    granted = runtime(**requested).settings
    assert granted.model_dump(include=set(requested) - {"mounts"}) == {
        k: v for k, v in requested.items() if k != "mounts"
    }
    assert len(granted.mounts) == len(requested.get("mounts", []))


@pytest.mark.parametrize(
    ("requested", "option"),
    [
        ({"image": "registry.example.org/other/steps:1"}, "images"),
        ({"image": "steps:12"}, "images"),
        ({"image": "evil/registry.example.org/mlops/steps:1"}, "images"),
        ({"user": "1000"}, "users"),
        ({"user": "1000:0"}, "users"),
        ({"network_mode": "stores"}, "networks"),
        ({"docker_url": "tcp://engine:2375"}, "urls"),
        ({"mem_limit": "9g"}, "max_memory"),
        ({"mem_limit": "8589934593"}, "max_memory"),
        ({"cpus": 4.5}, "max_cpus"),
        ({"gpus": 3}, "max_gpus"),
        ({"gpus": "all"}, "max_gpus"),
        (mount("/data", read_only=False), "mounts"),
        (mount("/database"), "mounts"),
        (mount("/data/../etc"), "mounts"),
        (mount("/data/../etc", "/etc"), "mounts"),
        (mount("/data", "/usr/local/lib"), "mounts"),
        (mount("/srv/plugins"), "mounts"),
        (mount("/srv/plugins/more", "/opt/airflow/plugins"), "mounts"),
        (mount("cache", "/usr"), "mounts"),
        (mount("/scratch:/etc", "/scratch"), "mounts"),
    ],
    ids=str,
)
def test_the_owners_bounds_are_not_stretched(
    requested: dict[str, Any], option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, **BOUNDS)
    with pytest.raises(SpecError, match=rf"\[mlops\] docker_{option}"):
        runtime(**requested)


def test_a_link_leads_out_of_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "inside").mkdir()
    (tmp_path / "data" / "out").symlink_to("/etc")
    allow(monkeypatch, mounts=f"{tmp_path / 'data'}")
    assert runtime(**mount(str(tmp_path / "data" / "inside")))
    with pytest.raises(SpecError, match="docker_mounts"):
        runtime(**mount(str(tmp_path / "data" / "out")))


def test_a_limit_that_a_file_leaves_out_is_the_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, max_memory="2g", max_cpus="1.5")
    settings = runtime().settings
    assert (settings.mem_limit, settings.cpus) == ("2147483648b", 1.5)
    assert runtime(mem_limit="1g").settings.mem_limit == "1g"


def test_the_workers_own_user_may_be_named_unless_it_is_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 50000)
    monkeypatch.setattr("os.getgid", lambda: 50000)
    assert runtime(user=own_user()).settings.user == "50000:50000"
    monkeypatch.setattr("os.getgid", lambda: 0)
    with pytest.raises(SpecError, match="root"):
        runtime(user=own_user())


@pytest.mark.parametrize(
    "options",
    [
        {"mounts": "data:rw:x"},
        {"mounts": "data"},
        {"mounts": "/data:relative"},
        {"max_memory": "much"},
        {"max_cpus": "many"},
        {"max_gpus": "some"},
    ],
    ids=str,
)
def test_an_odd_bound_allows_nothing_and_is_named(options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, **options)
    with pytest.raises(SpecError, match=rf"\[mlops\] docker_{next(iter(options))}"):
        configured()


def test_what_is_not_allowed_is_the_pipeline_files_mistake_before_it_runs(tmp_path: Path) -> None:
    raw = pipeline(
        "small", tmp_path / "rows.csv", runtime=DOCKER, tasks={"train": {"runtime": {**DOCKER, "user": "0:0"}}}
    )
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(raw), encoding="utf-8")
    [problem] = file_problems(file)
    assert "small: tasks.train.runtime" in problem
    assert "user '0:0' is " in problem
    assert "[mlops] docker_users: none" in problem
    with pytest.raises(SpecError, match="docker_users"):
        check_pipelines(tmp_path)
    assert parse_pipeline({**raw, "tasks": {}}, where="small.yaml").runtime.kind == "docker"
