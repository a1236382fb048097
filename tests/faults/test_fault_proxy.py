from __future__ import annotations

import threading
import time
from http.client import HTTPConnection, IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from fault_proxy import DROP_AFTER, DROP_BEFORE, ERROR_500, SLOW_DOWN, TRUNCATE, Fault, FaultProxy, delay

if TYPE_CHECKING:
    from collections.abc import Iterator


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, self.headers["Host"], body))
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def seen() -> list[tuple[str, str, bytes]]:
    return []


@pytest.fixture
def proxy(seen: list[tuple[str, str, bytes]]) -> Iterator[FaultProxy]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Seen", (Echo,), {"seen": seen}))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    with FaultProxy(f"http://127.0.0.1:{server.server_address[1]}") as proxy:
        yield proxy
    server.shutdown()
    server.server_close()


def post(proxy: FaultProxy, **options: Any) -> tuple[int, bytes]:
    connection = HTTPConnection(proxy.url.removeprefix("http://"), timeout=5)
    try:
        connection.request("POST", "/a%20b?c=d", headers={"Host": "signed"}, **{"body": b"12345678", **options})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def test_a_request_passes_as_it_came_and_is_recorded(proxy: FaultProxy, seen: list[tuple[str, str, bytes]]) -> None:
    assert post(proxy) == (201, b"12345678")
    assert post(proxy, body=iter([b"in ", b"chunks"]), encode_chunked=True) == (201, b"in chunks")
    assert seen == [("/a%20b?c=d", "signed", b"12345678"), ("/a%20b?c=d", "signed", b"in chunks")]
    first = proxy.calls[0]
    assert (first.line, first.path, first.query) == ("POST /a%20b?c=d", "/a%20b", {"c": "d"})
    assert (first.size, first.status, first.fault) == (8, 201, None)


@pytest.mark.parametrize(("fault", "status"), [(ERROR_500, 500), (SLOW_DOWN, 503)])
def test_an_answer_comes_in_the_servers_place(
    proxy: FaultProxy, seen: list[tuple[str, str, bytes]], fault: Fault, status: int
) -> None:
    proxy.fail(fault, times=2)
    assert [post(proxy)[0] for _ in range(3)] == [status, status, 201]
    assert len(seen) == 1
    assert [call.status for call in proxy.calls] == [None, None, 201]


@pytest.mark.parametrize(("fault", "carried_out"), [(DROP_BEFORE, 0), (DROP_AFTER, 1)])
def test_a_reply_is_dropped_before_or_after_the_request_was_carried_out(
    proxy: FaultProxy, seen: list[tuple[str, str, bytes]], fault: Fault, carried_out: int
) -> None:
    proxy.fail(fault)
    with pytest.raises(ConnectionError):
        post(proxy)
    assert len(seen) == carried_out
    assert proxy.waiting == 0


def test_a_reply_is_cut_in_half(proxy: FaultProxy) -> None:
    proxy.fail(TRUNCATE)
    with pytest.raises(IncompleteRead) as caught:
        post(proxy)
    assert caught.value.partial == b"1234"


def test_a_reply_is_held_back(proxy: FaultProxy) -> None:
    proxy.fail(delay(0.3))
    started = time.monotonic()
    assert post(proxy) == (201, b"12345678")
    assert time.monotonic() - started >= 0.3


def test_only_chosen_requests_fail(proxy: FaultProxy) -> None:
    proxy.fail(ERROR_500, lambda call: call.size > 8)
    assert post(proxy)[0] == 201
    assert post(proxy, body=b"123456789")[0] == 500
    assert proxy.calls[1].fault is ERROR_500
    proxy.clear()
    assert proxy.calls == []
