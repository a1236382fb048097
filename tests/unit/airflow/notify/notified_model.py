"""A model, what happens to it, and the task that tells of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, conf

from airflow_mlops_provider.monitoring.governor import Decision
from airflow_mlops_provider.operators.notify import NotifyOperator
from airflow_mlops_provider.registry import PromotionRequest, Registry
from airflow_mlops_provider.results import Failure, StepResult
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from pathlib import Path


SHA, DAY = "a" * 64, timedelta(days=1)
MARCH = datetime(2013, 3, 1, tzinfo=UTC)
SMTP = "airflow.providers.smtp.notifications.smtp.SmtpNotifier"
API = "airflow.providers.slack.notifications.slack.SlackNotifier"
WEBHOOK = "airflow.providers.slack.notifications.slack_webhook.SlackWebhookNotifier"
MAIL = {"notifier": SMTP, "params": {"to": "ml@example.org"}}
LEAST: dict[str, Any] = {
    "name": "churn",
    "task": "binary",
    "data": {"source": {"uri": "/data/customers.csv"}, "columns": {"target": "left", "numeric": ["age"]}},
    "preparation": {"split": {"by": "random"}},
    "training": {"candidates": {"logistic": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
}
#: What came from data, and would be markup, or call everybody.
NASTY = "<!channel> <script>alert(1)</script> & more"


class World:
    """A model, what happens to it, and the task that tells of it."""

    def __init__(self, registry: Registry, worker: Any, folder: Path) -> None:
        from mlflow import MlflowClient

        self.registry, self.worker, self._folder = registry, worker, folder
        self._client = MlflowClient(registry.address)
        self._client.create_registered_model("churn")

    def promote(self, reason: str = "better") -> None:
        """Promote a new version."""
        run = self._client.create_run("0", tags={"airflow.dag_id": "churn_training", "airflow.run_id": "on+monday"})
        made = self._client.create_model_version("churn", str(self._folder), run.info.run_id, await_creation_for=None)
        version, history = int(made.version), self.registry.history("churn")
        model = ArtifactStore(conf.get("mlops", "artifacts_uri")).add_bytes(b"model %d" % version, ".skops")
        requested = PromotionRequest(
            model="churn",
            idem=f"task-{version}",
            version=version,
            digest=f"digest-{version}",
            sha256=model.sha256,
            artifact=model,
            lineage=f"lineage-{version}",
            order_key=MARCH + version * DAY,
            compared_with=history[-1].seq if history else None,
            metrics={"roc_auc": 0.71234},
            reason=reason,
            approver="anna",
        )
        assert self.registry.promote(requested).status == "promoted"

    def move_alias(self, version: int) -> None:
        """Set the alias by hand, past the ledger."""
        self._client.set_registered_model_alias("churn", "champion", str(version))

    def roll_back(self) -> None:
        self.registry.rollback("churn", to="previous", reason="it misses plan B", idem="by-hand")

    def decide(self, day: int, **changes: Any) -> None:
        """Keep the decision of a window."""
        fields = {"action": "retrain", "rule": "drift", "reasons": ["age drifted"], "champion": 1, "drifted": True}
        decision = Decision(as_of=MARCH + day * DAY, **{**fields, **changes})
        self.registry.write_decision("churn", decision.as_of, decision.model_dump(mode="json"))

    def tell(
        self,
        *notifiers: dict[str, Any],
        results: Any = (),
        task_id: str = "notify",
        pipeline: str = "churn",
        **run: Any,
    ) -> Any:
        """Run the task, as if the run had begun long before."""
        with DAG(f"{pipeline}_training", schedule=None):
            task = NotifyOperator(
                task_id=task_id,
                pipeline=pipeline,
                model="churn",
                notifiers=list(notifiers),
                results=[result.xcom() for result in results],
            )
        return self.worker.run(task, **run)

    def tries(self) -> int:
        """Return how many tries to send something are kept for good."""
        run = self._client.get_experiment_by_name("notices/churn").tags["run"]
        return sum(name.startswith("try-") for name in self._client.get_run(run).data.params)


def gate_result(*, red: bool) -> StepResult:
    return StepResult(
        step="gate",
        pipeline="churn",
        key=SHA,
        as_of=MARCH,
        facts={"passed": False, "decision": "fail" if red else "skip", "reason": "roc_auc: 0.4, expected 0.7"},
        failure=Failure(what="the challenger fails roc_auc") if red else None,
    )


def evaluated(version: int) -> StepResult:
    return StepResult(step="evaluate", pipeline="churn", key=SHA, as_of=MARCH, facts={"version": version})
