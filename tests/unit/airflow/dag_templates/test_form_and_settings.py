from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import AssetAlias, RetryAction
from airflow.sdk.exceptions import ParamValidationError
from minimal_pipeline import MINIMAL, dag_of

from airflow_mlops_provider.assets import champion_asset, retrain_asset
from airflow_mlops_provider.dag_templates import scoring_dag, training_dag
from airflow_mlops_provider.dag_templates.schedule import AS_OF
from airflow_mlops_provider.exceptions import NotAllowedError, SpecError, TransientServiceError
from airflow_mlops_provider.pipelines import parse_pipeline

# ------------------------------------------------------------------------------------------------ the form


def test_every_field_of_the_form_has_a_type_a_title_and_a_description() -> None:
    params = dag_of().params
    fields = {name: params.get_param(name) for name in params}

    assert {name: field.schema["type"] for name, field in fields.items()} == {
        "as_of": ["null", "string"],
        "reason": ["null", "string"],
        "candidates": "array",
        "recompute": "boolean",
        "allow_older": "boolean",
        "lift_quarantine": "boolean",
    }
    assert all(field.schema["title"] and field.description for field in fields.values())
    assert fields["as_of"].schema["format"] == "date-time"
    assert fields["candidates"].schema["items"]["enum"] == ["logistic"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("candidates", ["forest"]), ("candidates", []), ("candidates", "logistic"), ("recompute", "yes"), ("as_of", 3)],
)
def test_the_form_refuses_what_a_run_cannot_use(name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        dag_of().params[name] = value


# ------------------------------------------------------------------------------------------------ settings


def test_assets_tags_owner_and_politeness() -> None:
    dag = dag_of(owner="ml", tags=["crm"], promotion={"model": "retention"})

    assert dag.tags == {"mlops", "training", "crm"}
    assert {task.owner for task in dag.tasks} == {"ml"}
    assert dag.max_active_runs == 1
    (dataset,) = dag.task_dict["ingest"].outlets
    assert (dataset.name, dataset.uri) == ("churn.dataset", "mlops://churn/dataset")
    (champion,) = dag.task_dict["promote"].outlets
    assert isinstance(champion, AssetAlias)
    assert champion.name == "retention.champion"
    served, requested = champion_asset("retention"), retrain_asset("churn")
    inlets = {name: task.inlets for name, task in dag.task_dict.items() if task.inlets}
    assert inlets == {"ingest": [requested], "publish": [requested], "promote": [served, requested]}


def test_every_task_after_ingest_takes_its_as_of() -> None:
    for build in (training_dag, scoring_dag):
        first, *others = build(parse_pipeline({**MINIMAL, "scoring": {}}, where="churn.yaml")).tasks
        assert (first.task_id, first.as_of) == ("ingest", None)
        given = [task.partial_kwargs["as_of"] if task.is_mapped else task.as_of for task in others]
        assert given == [AS_OF] * len(others)


def test_only_a_service_that_is_away_is_tried_again_in_every_task() -> None:
    for task in dag_of().tasks:
        policy = task.retry_policy

        assert task.retries == 3, task.task_id
        assert policy.evaluate(TransientServiceError("away"), 1, 3).action == RetryAction.RETRY
        assert policy.evaluate(ConnectionRefusedError(), 1, 3).action == RetryAction.RETRY
        assert policy.evaluate(KeyError("bug"), 1, 3).action == RetryAction.FAIL


def test_a_tasks_own_settings_reach_it_mapped_or_not() -> None:
    settings = {
        "pool": "trainers",
        "queue": "large",
        "executor": "LocalExecutor",
        "executor_config": {"pod": "big"},
        "retries": 1,
        "retry_delay": "PT5S",
        "max_retry_delay": "PT1M",
        "execution_timeout": "PT2H",
    }
    dag = dag_of(tasks={"train": settings, "gate": settings})

    for name in ("train", "gate"):
        task = dag.task_dict[name]
        assert (task.pool, task.queue, task.executor) == ("trainers", "large", "LocalExecutor")
        assert task.executor_config == {"pod": "big"}
        assert (task.retries, task.retry_delay) == (1, timedelta(seconds=5))
        assert task.max_retry_delay == timedelta(minutes=1)
        assert task.execution_timeout == timedelta(hours=2)
    assert dag.task_dict["evaluate"].pool == "default_pool"
    assert dag.task_dict["evaluate"].retries == 3


def test_a_notifier_of_a_provider_is_called_when_the_run_fails() -> None:
    named = {
        "notifier": "airflow.providers.smtp.notifications.smtp.SmtpNotifier",
        "params": {"to": "ml@example.org", "subject": "{{ dag_id }} failed"},
    }
    (notifier,) = dag_of(notifications={"on_failure": [named]}).on_failure_callback

    assert isinstance(notifier.notifier, SmtpNotifier)
    assert notifier.notifier.to == "ml@example.org"
    assert notifier.notifier.subject == "{{ dag_id }} failed"


@pytest.mark.parametrize(
    ("named", "kind", "words"),
    [
        ({"notifier": "airflow.sdk.DAG"}, SpecError, "names 'airflow.sdk.DAG': expected a class of BaseNotifier"),
        ({"notifier": "airflow.nowhere.Notifier"}, NotAllowedError, "'airflow.nowhere.Notifier' cannot be imported"),
        ({"notifier": "airflow.sdk.Nothing"}, NotAllowedError, "module 'airflow.sdk' has no 'Nothing'"),
        ({"notifier": "subprocess.Popen"}, NotAllowedError, "'subprocess.Popen' is outside the allow-list"),
        (
            {"notifier": "airflow.providers.smtp.notifications.smtp.SmtpNotifier"},
            SpecError,
            "churn: the params of notifier 'airflow.providers.smtp.notifications.smtp.SmtpNotifier' do not fit",
        ),
    ],
    ids=["no notifier", "no module", "no name", "not allowed", "params"],
)
def test_a_wrong_notifier_is_an_error_at_once(named: dict[str, str], kind: type[SpecError], words: str) -> None:
    with pytest.raises(kind) as raised:
        dag_of(notifications={"on_failure": [named]})

    assert words in str(raised.value)
