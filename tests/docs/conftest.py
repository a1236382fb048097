from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "tools"))
sys.path += [str(PROJECT / "tests" / "docs"), str(PROJECT / "tests" / "integration")]

if TYPE_CHECKING:
    from collections.abc import Callable

_BLOCK = re.compile(r"(?:<!-- example: (?P<name>\S+) -->\n)?```(?P<language>\w*)\n(?P<body>.*?)^```$", re.DOTALL | re.M)


class Block(NamedTuple):
    """One fenced block of a document."""

    document: str
    name: str | None
    language: str
    body: str


@pytest.fixture(scope="session")
def documents() -> dict[str, str]:
    """Every Markdown file of the project, by its path."""
    from write_docs import documents

    return {file.relative_to(PROJECT).as_posix(): file.read_text(encoding="utf-8") for file in documents()}


@pytest.fixture(scope="session")
def blocks(documents: dict[str, str]) -> list[Block]:
    return [
        Block(document, match["name"], match["language"], match["body"])
        for document, text in documents.items()
        for match in _BLOCK.finditer(text)
    ]


@pytest.fixture
def parse_dags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, list[str]]]:
    """Parse a DAG file as Airflow does; return the task ids of each DAG."""

    def parse(name: str, source: str, pipelines: Path = PROJECT / "config" / "pipelines") -> dict[str, list[str]]:
        from airflow.dag_processing.dagbag import DagBag

        folder = tmp_path / "dags"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(source, encoding="utf-8")
        monkeypatch.setenv("AIRFLOW__MLOPS__PIPELINES_FOLDER", str(pipelines))
        bag = DagBag(folder / name)
        assert bag.import_errors == {}
        return {dag_id: sorted(dag.task_ids) for dag_id, dag in bag.dags.items()}

    return parse
