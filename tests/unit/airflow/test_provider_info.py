from __future__ import annotations

import json
from importlib import import_module, metadata, resources
from typing import TYPE_CHECKING, Any

import airflow
import jsonschema
import pytest
from airflow.sdk import BaseHook, BaseOperator, BaseOperatorLink, conf
from airflow.triggers.base import BaseTrigger

from airflow_mlops_provider.get_provider_info import get_provider_info
from airflow_mlops_provider.operators.promotion import PromoteModelOperator
from airflow_mlops_provider.operators.publishing import PublishModelOperator
from airflow_mlops_provider.sensors.waiting import WaitingSensor

if TYPE_CHECKING:
    from collections.abc import Iterator

INFO = get_provider_info()


def load(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    return getattr(import_module(module), name)


def modules(kind: str) -> list[str]:
    return [module for entry in INFO[kind] for module in entry["python-modules"]]


def own_classes(module: str, parent: type) -> Iterator[type]:
    for value in vars(import_module(module)).values():
        if isinstance(value, type) and issubclass(value, parent) and value.__module__ == module:
            yield value


def test_it_fits_airflows_own_schema() -> None:
    schema = json.loads((resources.files(airflow) / "provider_info.schema.json").read_text())

    jsonschema.validate(INFO, schema)


def test_it_has_the_name_without_which_dags_cannot_be_serialised() -> None:
    assert INFO["name"]
    assert INFO["package-name"] == metadata.distribution("airflow-mlops-provider").metadata["Name"]


@pytest.mark.parametrize(
    ("kind", "parent"),
    [("operators", BaseOperator), ("sensors", WaitingSensor), ("triggers", BaseTrigger), ("hooks", BaseHook)],
)
def test_every_module_imports_and_every_integration_is_declared(kind: str, parent: type) -> None:
    integrations = {entry["integration-name"] for entry in INFO["integrations"]}

    assert {entry["integration-name"] for entry in INFO[kind]} <= integrations
    for module in modules(kind):
        assert import_module(module)
    assert [found for module in modules(kind) for found in own_classes(module, parent)]


def test_every_class_path_imports() -> None:
    for connection in INFO["connection-types"]:
        hook = load(connection["hook-class-name"])
        assert issubclass(hook, BaseHook)
        assert hook.conn_type == connection["connection-type"]
        assert hook.hook_name == connection["hook-name"]
    for link in INFO["extra-links"]:
        assert issubclass(load(link), BaseOperatorLink)


def test_every_link_of_an_operator_is_declared() -> None:
    used = {
        f"{type(link).__module__}.{type(link).__name__}"
        for operator in (PublishModelOperator, PromoteModelOperator)
        for link in operator.operator_extra_links
    }

    assert used == set(INFO["extra-links"])


def test_the_form_has_a_field_for_each_extra_that_the_hook_takes() -> None:
    from airflow_mlops_provider.hooks.mlflow import _EXTRAS

    (connection,) = INFO["connection-types"]

    assert set(connection["conn-fields"]) == set(_EXTRAS)


def test_airflow_lists_the_provider_its_connection_type_and_its_options() -> None:
    from airflow.providers_manager import ProvidersManager
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

    assert "airflow-mlops-provider" in ProvidersManager().providers
    found = ProvidersManagerTaskRuntime().hooks["mlflow"]
    assert found is not None
    assert found.hook_name == "MLflow"
    for option, declared in INFO["config"]["mlops"]["options"].items():
        assert str(conf.get("mlops", option)) == declared["default"], option


def test_the_package_itself_imports_nothing() -> None:
    # Airflow imports it at discovery, in each of its processes.
    source = resources.files("airflow_mlops_provider").joinpath("__init__.py").read_text()

    assert "import" not in source.replace('"""', "")
