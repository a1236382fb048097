"""Named points at which a fault test kills this process.

`MLOPS_FAILPOINTS=<folder>:<name>,<name>…` kills the process with SIGKILL the first time that each point is reached,
and leaves a marker of its name in the folder, so that the retry passes. Unset, as in every real run, a point costs
one look-up in the environment.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

VARIABLE = "MLOPS_FAILPOINTS"


def failpoint(name: str) -> None:
    """Die here, once, when the environment asks for it."""
    folder, _, names = os.environ.get(VARIABLE, "").partition(":")
    if name not in names.split(","):
        return
    try:
        (Path(folder) / name).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
