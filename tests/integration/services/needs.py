"""What a test needs of its machine: asked in one place, so that CI may refuse what a laptop may skip."""

from __future__ import annotations

import os
import shutil

import pytest

_INSTALL = "tests/integration/services/install.sh"
#: Where Debian keeps programs that are not on everyone's PATH.
_PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def needs(*programs: str, root: bool = False) -> None:
    """Skip the test, or fail it where `MLOPS_REQUIRE_SERVICES` is set, unless every program is installed.

    Call it first in the fixture that starts them.

    :param programs: names as on the command line, such as `radosgw`; or the path of one.
    :param root: they only start as root.
    """
    missing = [program for program in programs if shutil.which(program, path=_PLACES) is None]
    reasons = [f"not installed: {', '.join(missing)}; as root on Debian: {_INSTALL}"] if missing else []
    if root and os.geteuid() != 0:
        reasons.append("only root may start it")
    if not reasons:
        return
    reason = "; ".join(reasons)
    if os.environ.get("MLOPS_REQUIRE_SERVICES"):
        pytest.fail(f"MLOPS_REQUIRE_SERVICES is set, but {reason}", pytrace=False)
    # On a developer's machine only: CI sets the variable above, and fails.
    pytest.skip(reason)
