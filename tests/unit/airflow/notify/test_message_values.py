"""What a template in a pipeline file can reach, which is not what Airflow's own templates can."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.execution_time.context import ConnectionAccessor, VariableAccessor

from airflow_mlops_provider.dag_templates.notify import notifiers
from airflow_mlops_provider.effects.events import Event
from airflow_mlops_provider.exceptions import MLOpsError, SpecError
from airflow_mlops_provider.operators.notifiers import send
from airflow_mlops_provider.pipelines import parse_pipeline
from airflow_mlops_provider.spec import EventNotifier

if TYPE_CHECKING:
    from conftest import Mailbox

SMTP = "airflow.providers.smtp.notifications.smtp.SmtpNotifier"
SENTINEL = "sentinel-of-the-bank"
EVENT = Event(
    key="promoted-1",
    kinds=("promoted",),
    pipeline="churn",
    model="churn",
    version=1,
    as_of=datetime(2024, 1, 1, tzinfo=UTC),
    at=datetime(2024, 1, 2, tzinfo=UTC),
    title="churn: version 1",
    details={"Why": "better"},
)
#: Reads a file, when it is unpickled.
PICKLE = f"cbuiltins\\nexec\\n(S'raise SystemExit({SENTINEL!r})'\\ntR."


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BANK", f'{{"conn_type": "http", "password": "{SENTINEL}"}}')
    monkeypatch.setenv("AIRFLOW_VAR_BANK", f'{{"key": "{SENTINEL}"}}')


def context() -> dict[str, Any]:
    """Return what Airflow gives a task, as far as secrets hang on it."""
    operator = SimpleNamespace(dag_id="churn_training", task_id="notify", password=SENTINEL)
    run = SimpleNamespace(
        dag_id="churn_training", run_id="manual", run_type="manual", conf={"key": SENTINEL}, logical_date=None
    )
    ti = SimpleNamespace(task_id="notify", try_number=1, task=operator, xcom_pull=lambda *_, **__: SENTINEL)
    return {
        "conn": ConnectionAccessor(),
        "var": {"value": VariableAccessor(deserialize_json=False), "json": VariableAccessor(deserialize_json=True)},
        "params": {"key": SENTINEL},
        "dag_run": run,
        "task_instance": ti,
        "ti": ti,
        "task": operator,
        "run_id": "manual",
        "macros": SimpleNamespace(secret=SENTINEL),
    }


def sent(mails: Mailbox, text: str, **named: Any) -> str:
    """Return what a template comes to, as it is mailed."""
    params = {"to": "ml@example.org", "subject": "one", "html_content": text}
    send("churn", EventNotifier(notifier=SMTP, params=params, **named), EVENT, context())
    return mails.text(mails.mails[-1])


@pytest.mark.parametrize(
    "template",
    [
        "{{ conn.bank.password }}",
        "{{ conn.get('bank').password }}",
        "{{ var.value.bank }}",
        "{{ var.json.bank.key }}",
        "{{ var.value.get('bank') }}",
        "{{ params.key }}",
        "{{ dag_run.conf.key }}",
        "{{ ti.xcom_pull('secret') }}",
        "{{ task_instance.task.password }}",
        "{{ ti.task.password }}",
        "{{ task.password }}",
        "{{ macros.secret }}",
        "{{ dag.default_args }}{{ dag.dag_id.x.y }}",
        f'{{{{ event.parse_raw("{PICKLE}".encode(), proto="pickle", allow_pickle=True) }}}}',
        "{{ event.parse_file('/etc/hostname', proto='pickle', allow_pickle=True) }}",
        "{{ event.model_fields['key'].annotation }}",
        "{{ event.model_json_schema() }}",
        "{{ event.__class__.__init__.__globals__ }}",
        "{{ event['__class__'] }}",
        "{{ event|attr('__class__') }}",
        "{{ event.details.__class__.__base__.__subclasses__() }}",
        "{{ event.at.__class__.__module__ }}",
        "{{ lipsum.__globals__ }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ '{0.__class__.__init__.__globals__}'.format(event) }}",
        "{{ self._TemplateReference__context }}",
        "{% include '/etc/hostname' %}",
        "{% import 'os' as os %}{{ os.environ }}",
        "{% for name in event.details %}{{ conn[name].password }}{% endfor %}",
    ],
)
def test_a_template_reaches_no_secret(template: str, mails: Mailbox) -> None:
    try:
        text = sent(mails, template)
    except MLOpsError as error:
        text = str(error)
        assert "template" in text or "did not accept" in text
    assert SENTINEL not in text
    assert not any(word in text for word in ("AIRFLOW_CONN", "module 'os'", "subprocess", "root:"))


def test_the_search_would_find_what_a_template_reaches(mails: Mailbox) -> None:
    text = sent(mails, "{{ conn.bank.password }}", airflow_context=True)
    assert text.strip() == SENTINEL, "a pipeline that asks for Airflow's own context gets it"


def test_a_template_may_say_what_happened_and_where(mails: Mailbox) -> None:
    template = (
        "{{ event.title }}, {{ event.details['Why'] }}, {{ dag_id }}, {{ run_id }}, {{ task_id }}, {{ try_number }}"
    )
    assert sent(mails, template).strip() == "churn: version 1, better, churn_training, manual, notify, 1"


@pytest.mark.parametrize("requested", [False, True])
def test_what_is_called_when_a_run_fails_sees_no_more(mails: Mailbox, requested: bool) -> None:
    named = {
        "notifier": SMTP,
        "params": {
            "to": "ml@example.org",
            "subject": "{{ dag_id }} failed",
            "html_content": "{{ var.value.bank or 'x' }}",
        },
        "airflow_context": requested,
    }
    [notifier] = notifiers(pipeline(on_failure=[named]))
    seen = {**context(), "dag": None}
    if requested:
        notifier({**seen, "dag_id": "churn_training"})
        assert SENTINEL in mails.text(mails.mails[-1])
    else:
        with pytest.raises(Exception, match="'var' is undefined"):
            notifier(seen)
        assert mails.mails == []


@pytest.mark.parametrize("where", ["on_failure", "on_event"])
def test_no_notifier_is_given_files_of_the_worker(where: str) -> None:
    named = {"notifier": SMTP, "params": {"to": "eve@example.org", "subject": "x", "files": ["/etc/passwd"]}}
    with pytest.raises(SpecError, match="files would send files of the worker"):
        pipeline(**{where: [named]})


def pipeline(**notifications: Any) -> Any:
    raw = {
        "name": "churn",
        "task": "binary",
        "data": {"source": {"uri": "/rows.csv"}, "columns": {"target": "left", "numeric": ["age"]}},
        "preparation": {"split": {"by": "random"}},
        "training": {"candidates": {"logistic": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
        "notifications": notifications,
    }
    return parse_pipeline(raw, where="churn.yaml")
