from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

from services import needs as module
from services.needs import needs


def test_what_is_installed_is_not_asked_for() -> None:
    needs("sh", "/bin/sh")


def test_a_test_is_skipped_where_its_service_is_missing_and_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLOPS_REQUIRE_SERVICES", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"not installed: no-such-program; .*install\.sh"):
        needs("sh", "no-such-program")


def test_ci_may_not_skip_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_REQUIRE_SERVICES", "1")
    with pytest.raises(pytest.fail.Exception, match="MLOPS_REQUIRE_SERVICES is set, but not installed"):
        needs("no-such-program")


def test_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLOPS_REQUIRE_SERVICES", raising=False)
    monkeypatch.setattr(module.os, "geteuid", lambda: 1000)
    with pytest.raises(pytest.skip.Exception, match="only root"):
        needs("sh", root=True)


def test_ci_installs_the_services_and_demands_them() -> None:
    script = (Path(__file__).resolve().parents[2] / ".ci" / "run").read_text(encoding="utf-8")
    assert "services" in script
    assert "export MLOPS_REQUIRE_SERVICES=1" in script
