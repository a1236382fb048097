"""A StatsD server that reads what comes at once: in a socket that nobody reads, the latest would be lost."""

from __future__ import annotations

import socket
from threading import Thread
from typing import Self


class Gauges:
    """The latest value of each gauge that was sent; a context manager."""

    def __init__(self) -> None:
        self.latest: dict[str, str] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._reading = Thread(target=self._read)

    def __enter__(self) -> Self:
        self._reading.start()
        return self

    def __exit__(self, *_: object) -> None:
        # An empty message ends the reading.
        self._socket.sendto(b"", self._socket.getsockname())
        self._reading.join()
        self._socket.close()

    def _read(self) -> None:
        while message := self._socket.recv(65536):
            for line in message.decode().splitlines():
                name, _, value = line.rpartition(":")
                self.latest[name] = value
