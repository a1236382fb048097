from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops_provider import gauges

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).resolve().parents[3] / "docs" / "observability.md"
DRIFT = {"judged": True, "weighted_share": 0.25, "drifted_columns": 2}
LIVE = {"judged": True, "metric": "log_loss", "champion": 0.41, "holdout": 0.38}
ESTIMATE = {"judged": True, "metric": "log_loss", "estimate": 0.4}
GATES = [
    {"name": "floor", "metric": "roc_auc", "margin": 0.07},
    {"name": "floor", "metric": "roc_auc", "margin": -0.02},
    {"name": "latency", "metric": None, "margin": 93.5},
    {"name": "predictions", "metric": None, "margin": None},
    {"name": "of an older release"},
]


def send_everything() -> None:
    gauges.send_drift("churn", DRIFT)
    gauges.send_live("churn", LIVE)
    gauges.send_estimate("churn", ESTIMATE)
    gauges.send_champion("churn", 3, timedelta(days=2))
    gauges.send_gates("churn", GATES)


def test_plain_statsd_knows_pipelines_by_the_name(statsd: Any) -> None:
    send_everything()
    named = {name: value for name, value in statsd.gauges().items() if "." in name}
    assert named == {
        "drift_share.churn": 0.25,
        "drifted_columns.churn": 2,
        "live_metric.churn.log_loss": 0.41,
        "holdout_metric.churn.log_loss": 0.38,
        "estimated_metric.churn.log_loss": 0.4,
        "champion_version.churn": 3,
        "champion_age_seconds.churn": 172800,
        # StatsD takes a negative value for a step down from the last one, unless a zero comes before it.
        "gate_margin.churn.floor.roc_auc": -0.02,
        "gate_margin.churn.latency": 93.5,
    }


def test_where_there_are_tags_the_name_can_do_without_them(statsd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED", "True")
    monkeypatch.setenv("AIRFLOW__METRICS__LEGACY_NAMES_ON", "False")
    statsd.listen(legacy_names=False)
    send_everything()
    assert set(statsd.gauges()) == {
        "drift_share,pipeline=churn",
        "drifted_columns,pipeline=churn",
        "live_metric,pipeline=churn,metric=log_loss",
        "holdout_metric,pipeline=churn,metric=log_loss",
        "estimated_metric,pipeline=churn,metric=log_loss",
        "champion_version,pipeline=churn",
        "champion_age_seconds,pipeline=churn",
        "gate_margin,pipeline=churn,gate=floor,metric=roc_auc",
        "gate_margin,pipeline=churn,gate=latency",
    }


def test_every_gauge_is_documented(statsd: Any) -> None:
    send_everything()
    sent = {name for name in statsd.gauges() if "." not in name}
    assert set(re.findall(r"^\| `mlops\.(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.M)) == sent


def test_a_window_that_was_not_judged_sets_no_gauge(statsd: Any) -> None:
    silent: dict[str, Any] = {"judged": False, "metric": "log_loss", "champion": 0.4}
    gauges.send_drift("churn", {**DRIFT, "judged": False})
    gauges.send_live("churn", silent)
    gauges.send_live("churn", {**silent, "judged": True, "champion": None})
    gauges.send_estimate("churn", {})
    assert statsd.gauges() == {}


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """What takes OpenTelemetry's metrics over HTTP, and the bodies that came."""
    bodies: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()
        thread.join()


def test_opentelemetry_gets_them_with_their_tags_when_the_process_ends(collector: tuple[str, list[bytes]]) -> None:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    url, bodies = collector
    code = (
        "from airflow.sdk.observability import stats\n"
        "from airflow.sdk.observability.metrics.stats_utils import get_stats_factory\n"
        "from airflow_mlops_provider import gauges\n"
        "stats.initialize(factory=get_stats_factory(), export_legacy_names=False)\n"
        f"gauges.send_live('churn', {LIVE!r})\n"
    )
    settings = {
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "AIRFLOW__METRICS__LEGACY_NAMES_ON": "False",
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
    }
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **settings}, check=True, capture_output=True)
    found = {}
    for body in bodies:
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                (point,) = metric.gauge.data_points
                tags = {tag.key: tag.value.string_value for tag in point.attributes}
                found[metric.name] = (point.as_double, tags)
    tags = {"pipeline": "churn", "metric": "log_loss"}
    assert found == {"airflow.mlops.live_metric": (0.41, tags), "airflow.mlops.holdout_metric": (0.38, tags)}


def test_nothing_is_imported_or_sent_while_metrics_are_off() -> None:
    code = (
        "import sys\n"
        "from airflow_mlops_provider import gauges\n"
        f"gauges.send_live('churn', {LIVE!r})\n"
        "print('airflow.sdk.observability.stats' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False"
