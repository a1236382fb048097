"""A small HTTP proxy in front of a real endpoint: it records every request, and applies faults to chosen ones.

    with FaultProxy("http://127.0.0.1:7480") as proxy:
        proxy.fail(DROP_AFTER, lambda call: call.method == "PUT")   # the next PUT is done, its reply lost
        ...                                                         # a client at work on proxy.url
        [call.line for call in proxy.calls]

Headers pass as they came, `Host` among them: it is part of what S3 clients sign.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request. `delay` and `truncate` happen to the reply: the request was carried out."""

    name: str
    kind: Literal["answer", "drop_before", "drop_after", "truncate", "delay", "damage"]
    status: int = 0
    body: bytes = b""
    content_type: str = "application/xml"
    seconds: float = 0.0


def answer(status: int, body: bytes = b"", content_type: str = "application/xml") -> Fault:
    """Return a fault that answers in the server's place: the request never reaches it."""
    return Fault(f"answer {status}", "answer", status=status, body=body, content_type=content_type)


def delay(seconds: float) -> Fault:
    """Return a fault that holds the reply back."""
    return Fault(f"delay {seconds:g} s", "delay", seconds=seconds)


def _s3_error(code: str) -> bytes:
    return f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()


ERROR_500 = answer(500, _s3_error("InternalError"))
SLOW_DOWN = answer(503, _s3_error("SlowDown"))
DROP_BEFORE = Fault("reply dropped before the request was forwarded", "drop_before")
DROP_AFTER = Fault("reply dropped after the request was carried out", "drop_after")
TRUNCATE = Fault("reply cut in half", "truncate")
DAMAGE = Fault("request with one bit turned over", "damage")


@dataclass(frozen=True)
class Call:
    """A request that came: what was asked, what the server said (None when it was not asked), what went wrong."""

    method: str
    target: str
    headers: dict[str, str]
    size: int
    status: int | None = None
    fault: Fault | None = None

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def line(self) -> str:
        return f"{self.method} {self.target}"


@dataclass
class _Plan:
    fault: Fault
    chosen: Callable[[Call], bool]
    times: int


class FaultProxy:
    """A proxy on a free loopback port, at `url`, from entering to leaving."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self.upstream = (str(parts.hostname), parts.port or 80)
        self.calls: list[Call] = []
        self.stopped = threading.Event()
        self._plans: list[_Plan] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        # A handler that waits out a delay must not hold up the end of a test.
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FaultProxy:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def fail(self, fault: Fault, chosen: Callable[[Call], bool] = lambda call: True, times: int = 1) -> None:
        """Apply a fault to the next `times` requests that are chosen."""
        with self._lock:
            self._plans.append(_Plan(fault, chosen, times))

    def clear(self) -> None:
        """Forget the calls so far, and the faults that are still waiting."""
        with self._lock:
            self.calls.clear()
            self._plans.clear()

    @property
    def waiting(self) -> int:
        """How many faults have found no request yet."""
        return sum(plan.times for plan in self._plans)

    def fault_for(self, call: Call) -> Fault | None:
        with self._lock:
            for plan in self._plans:
                if plan.times > 0 and plan.chosen(call):
                    plan.times -= 1
                    return plan.fault
        return None

    def record(self, call: Call) -> None:
        with self._lock:
            self.calls.append(call)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body go out as two packets: the second would wait 40 ms for the client to acknowledge the first.
    disable_nagle_algorithm = True
    proxy: FaultProxy

    def log_message(self, *arguments: Any) -> None:
        pass

    def handle(self) -> None:
        # The client may have given up on us: that is what faults are for.
        with contextlib.suppress(ConnectionError):
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().finish()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        proxy, body = self.proxy, self._body()
        call = Call(self.command, self.path, {key.lower(): value for key, value in self.headers.items()}, len(body))
        fault = proxy.fault_for(call)
        call = replace(call, fault=fault)
        if fault is not None and fault.kind in ("answer", "drop_before"):
            proxy.record(call)
            if fault.kind == "answer":
                headers = [("Content-Type", fault.content_type), ("Connection", "close")]
                self._reply(fault.status, headers, b"" if self.command == "HEAD" else fault.body)
            self.close_connection = True
            return
        if fault is not None and fault.kind == "damage":
            body = bytes([body[0] ^ 1]) + body[1:]
        try:
            status, headers, content = self._forward(body)
        except OSError:
            # The endpoint itself is down: the client sees that as it would without us.
            proxy.record(call)
            self.close_connection = True
            return
        proxy.record(replace(call, status=status))
        if fault is not None and fault.kind == "delay":
            proxy.stopped.wait(fault.seconds)
        if fault is not None and fault.kind == "drop_after":
            self.close_connection = True
            return
        self._reply(status, headers, content, cut=fault is not None and fault.kind == "truncate")

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """Ask the server, on a connection of its own, and return its whole answer."""
        connection = http.client.HTTPConnection(*self.proxy.upstream, timeout=120)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                # What concerns this hop alone; S3 signs none of it.
                if name.lower() not in ("expect", "connection", "transfer-encoding", "content-length"):
                    connection.putheader(name, value)
            if body or "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
                connection.putheader("Content-Length", str(len(body)))
            connection.putheader("Connection", "close")
            connection.endheaders(body)
            response = connection.getresponse()
            hop = ("connection", "keep-alive", "transfer-encoding")
            headers = [(name, value) for name, value in response.getheaders() if name.lower() not in hop]
            return response.status, headers, response.read()
        finally:
            connection.close()

    def _reply(self, status: int, headers: list[tuple[str, str]], content: bytes, *, cut: bool = False) -> None:
        """Send an answer; `cut` ends it in the middle, or where it has no body, amid its headers."""
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD" and status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        if cut and not content:
            # There is no body to cut: what http.server has collected of the head is, in the middle of a line.
            self._headers_buffer[1:] = [b"X-Cut: in the mid"]
            self.flush_headers()
        else:
            self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True
