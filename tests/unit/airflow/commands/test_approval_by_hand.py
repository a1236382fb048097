"""Promotion on the command line of a pipeline that asks a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from data_files import write_data

from airflow_mlops_provider.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

ALLOWED = "AIRFLOW__MLOPS__APPROVE_ON_COMMAND_LINE"


def test_the_command_line_passes_by_no_approval_unless_the_owner_and_an_approver_say_so(
    run: Callable[..., Any],
    train: Callable[..., Any],
    mlflow: str,
    pipelines: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, target = write_data("iris", tmp_path)
    assert run("init", str(data), "--target", target)[0] == 0
    file = pipelines / "iris.yaml"
    train(file)
    file.write_text(file.read_text() + "\npromotion:\n  approval: human\n  approvers: [anna, ben]\n")
    registry = Registry.connect(mlflow)

    def promote(*more: str) -> tuple[int, str]:
        code, out, err = run(
            "promote", "iris", "1", "--reason", "to see", "--lift-quarantine", "--despite-gates", *more
        )
        return code, " ".join((out + err).split())

    refused = {
        (): "which this platform accepts only in Airflow",
        ("--approve-as", "anna"): "which this platform accepts only in Airflow",
    }
    refused_though_allowed = {
        (): "--approve-as NAME",
        ("--approve-as", " "): "--approve-as NAME",
        ("--approve-as", "a\nb"): "--approve-as NAME",
        ("--approve-as", "anna" * 100): "--approve-as NAME",
        ("--approve-as", "eve"): "one of promotion.approvers: anna, ben",
    }
    for more, words in refused.items():
        code, message = promote(*more)
        assert (code, words in message) == (1, True), message
    monkeypatch.setenv(ALLOWED, "True")
    for more, words in refused_though_allowed.items():
        code, message = promote(*more)
        assert (code, words in message) == (1, True), message
    assert registry.approvals("iris") == []
    assert len(registry.history("iris")) == 1

    # The other version is the champion: the first may come back, with a word for it.
    file.write_text(file.read_text().replace("max_iter: 1000", "max_iter: 30"))
    text = file.read_text()
    file.write_text(text[: text.index("\npromotion:")])
    train(file)
    assert run("promote", "iris", "2", "--reason", "other", "--despite-gates")[0] == 0
    assert run("promote", "iris", "1", "--reason", "x", "--approve-as", "anna")[0] == 1, "nobody is asked there"
    file.write_text(text)
    code, message = promote("--approve-as", "anna")
    assert code == 0, message
    head, [answered] = registry.head("iris"), registry.approvals("iris")
    assert head is not None
    assert (head.version, head.approver) == (1, "anna")
    assert "approved by anna: on the command line, as the system's user" in head.reason
    assert (answered.version, answered.by, answered.answer) == (1, "anna", "approved")
