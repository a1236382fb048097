"""Ports of this machine, and processes with all that they started."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from pathlib import Path


def free_port() -> int:
    """Return a port of loopback that is free now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return so many ports of loopback that are free now, each another one."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def end(pids: list[int], patience: float = 5) -> None:
    """End processes and all their descendants: politely, then not."""
    family: dict[int, psutil.Process] = {}
    for pid in pids:
        try:
            parent = psutil.Process(pid)
            family |= {process.pid: process for process in (parent, *parent.children(recursive=True))}
        except psutil.NoSuchProcess:
            continue
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for process in family.values():
            try:
                process.send_signal(sign)
            except psutil.NoSuchProcess:
                continue
        _, alive = psutil.wait_procs(family.values(), timeout=patience)
        family = {process.pid: process for process in alive}


def end_leftovers(home: Path) -> None:
    """End what an earlier Airflow of this folder left running."""
    place = str(home.resolve())
    left = []
    for process in psutil.process_iter(["pid"]):
        try:
            if process.pid != os.getpid() and process.environ().get("AIRFLOW_HOME") == place:
                left.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    end(left)
