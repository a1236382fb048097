"""Where messages arrive: a mail server and Slack's two ways in, on loopback, which remember what they were sent."""

from __future__ import annotations

import json
import socketserver
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage


@dataclass
class Mailbox:
    """The mails that were taken.

    :param refuse: how many of the next ones are not.
    """

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    refuse: int = 0

    @property
    def connection(self) -> dict[str, Any]:
        """An Airflow connection to it."""
        extra = {"from_email": "airflow@example.org", "disable_ssl": True, "disable_tls": True, "timeout": 5}
        return {"conn_type": "smtp", "host": "127.0.0.1", "port": self.port, "extra": extra}

    @property
    def subjects(self) -> list[str]:
        """The subjects of the mails."""
        return [str(mail["Subject"]) for mail in self.mails]

    @staticmethod
    def text(mail: EmailMessage) -> str:
        """Return what a mail says."""
        body = mail.get_body()
        assert body is not None, "a mail without a body"
        return str(body.get_content())


class _Smtp(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as a client needs that sends a mail."""

    mailbox: Mailbox

    def handle(self) -> None:
        self._say("220 ready")
        while line := self.rfile.readline():
            word = line[:4].upper().strip()
            if word == b"QUIT":
                return self._say("221 bye")
            if word == b"DATA":
                self._say("354 go on")
                self._take()
            else:
                self._say("250 fine")
        return None

    def _take(self) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        if self.mailbox.refuse:
            self.mailbox.refuse -= 1
            return self._say("451 not now")
        mail: Any = message_from_bytes(b"".join(lines), policy=policy.default)
        self.mailbox.mails.append(mail)
        return self._say("250 taken")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@dataclass
class Slack:
    """What was posted: path and JSON body.

    :param answer: status, and what the body of the answer says.
    """

    url: str = ""
    posts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answer: tuple[int, str] = (200, "")

    @property
    def texts(self) -> list[str]:
        """The messages."""
        return [body["text"] for _, body in self.posts]


class _Posts(BaseHTTPRequestHandler):
    slack: Slack

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, error = self.slack.answer
        if not error:
            self.slack.posts.append((self.path, json.loads(body)))
        # The API answers in JSON, a webhook with a word.
        api = {"ok": not error, "error": error}
        answer = json.dumps(api) if self.path.endswith("chat.postMessage") else error or "ok"
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if answer[0] == "{" else "text/plain")
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """Start a mail server."""
    found = Mailbox()
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), type("Smtp", (_Smtp,), {"mailbox": found}))
    found.port = server.server_address[1]
    with _serving(server):
        yield found


@contextmanager
def slack() -> Iterator[Slack]:
    """Start Slack's API and webhooks."""
    found = Slack()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Posts", (_Posts,), {"slack": found}))
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    with _serving(server):
        yield found


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.05))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
