from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any


class StatsD:
    """A StatsD server: what Airflow's metrics of this process send."""

    def __init__(self) -> None:
        self._clients: list[Any] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]

    def gauges(self) -> dict[str, float]:
        """Return the last value of each gauge of ours that came since, without the prefix of Airflow's metrics."""
        found = {}
        with suppress(BlockingIOError):
            while True:
                for line in self._socket.recv(65536).decode().splitlines():
                    name, _, rest = line.rpartition(":")
                    value, kind = rest.split("|")[:2]
                    if kind == "g" and name.startswith("airflow.mlops."):
                        found[name.removeprefix("airflow.mlops.")] = float(value)
        return found

    def listen(self, *, legacy_names: bool = True) -> None:
        """Let Airflow's metrics go here, as their settings say now."""
        from airflow.sdk.observability import stats
        from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

        def connect() -> Any:
            self._clients.append(client := get_stats_factory()())
            return client

        stats.initialize(factory=connect, export_legacy_names=legacy_names)

    def close(self) -> None:
        from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
        from airflow.sdk.observability import stats

        stats.initialize(factory=NoStatsLogger, export_legacy_names=True)
        for client in self._clients:
            client.statsd.close()
        self._socket.close()
