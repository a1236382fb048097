from __future__ import annotations

import http.client
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from airflow_mlops_provider.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_mlops_provider.registry import PromotionRequest, Publication


class Lossy(BaseHTTPRequestHandler):
    """Passes every request on, and loses the reply to the first one whose path ends in `lose`."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # Head and body in one packet.
    server: Any

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(self.server.upstream, timeout=30)
        connection.request(self.command, self.path, body, {**self.headers, "Connection": "close"})
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        if self.command == "POST" and self.path.endswith(self.server.lose) and not self.server.lost:
            self.server.lost.append(self.path)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.getheader("Content-Type") or "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def lossy(mlflow_server: str) -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Lossy)
    server.upstream, server.lose, server.lost = urlsplit(mlflow_server).netloc, "-", []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "call",
    [
        "experiments/create",
        "runs/create",
        "runs/log-batch",
        "logged-models",
        "runs/outputs",
        "registered-models/create",
        "model-versions/create",
        "registered-models/alias",
        "runs/log-parameter",
        "runs/update",
    ],
)
def test_a_lost_reply_is_read_back_and_nothing_is_made_twice(
    lossy: Any,
    mlflow_server: str,
    publication: Callable[..., Publication],
    request_for: Callable[..., PromotionRequest],
    call: str,
) -> None:
    from mlflow import MlflowClient

    name = call.replace("/", "-")
    training = publication(model=name, experiment=name)
    lossy.lose = call
    registry = Registry.connect(f"http://127.0.0.1:{lossy.server_port}")

    version = registry.publish(training).version
    assert registry.promote(request_for(version, 1, model=name, idem=name)).status == "promoted"
    assert len(lossy.lost) == 1
    client = MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name(name).experiment_id
    runs = client.search_runs([experiment])
    assert len(runs) == 3
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(client.search_logged_models([experiment])) == 1
    (version,) = client.search_model_versions(f"name = '{name}'")
    assert len(client.get_run(version.run_id).outputs.model_outputs) == 1
    assert {alias: int(found) for alias, found in client.get_registered_model(name).aliases.items()} == {
        "challenger": 1,
        "champion": 1,
    }
    assert [entry.idem for entry in registry.history(name)] == [name]
