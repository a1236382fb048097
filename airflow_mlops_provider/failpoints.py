"""Named points at which a fault test kills this process.

`MLOPS_FAILPOINT=<name>:<marker file>` kills the process with SIGKILL the first time that the point
is reached, and leaves the marker so that the retry passes. Unset, as in every real run, a point
costs one look-up in the environment.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

VARIABLE = "MLOPS_FAILPOINT"


def failpoint(name: str) -> None:
    """Die here, once, when the environment asks for it."""
    wanted, _, marker = os.environ.get(VARIABLE, "").partition(":")
    if wanted != name:
        return
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
