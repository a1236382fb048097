"""One concept, one name; one name, one concept; and no word that only this project would understand."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[2]
FOLDERS = ("airflow_mlops_provider", "benchmarks", "dags", "plugins", "tests", "tools")

#: What they meant, and what is written instead.
GONE = {
    "said": "predictions, message",
    "told": "notified, reported",
    "asked": "requested",
    "asker": "current_user",
    "kept": "stored",
    "born": "ensure_run",
    "barred_as": "quarantined_version",
    "announced": "emit_champion_event",
    "reign": "tenure, champion pair",
    "Reign": "Tenure, ChampionPair",
    "rival": "comparable champion",
    "rivals": "comparable champions",
    "Rivals": "ComparableChampions",
    "strangers": "unknown categories",
    "obstacles": "suppressions",
    "Unasked": "NoQuestion",
}
#: Each step's own settings, which the runner finds by this name.
EVERY_STEP = {"Section"}


@cache
def trees() -> dict[Path, ast.Module]:
    files = (file for folder in FOLDERS for file in (PROJECT / folder).rglob("*.py"))
    return {file: ast.parse(file.read_text(encoding="utf-8")) for file in files}


def names(tree: ast.AST) -> set[str]:
    return set(_names(tree))


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name) | ast.alias(asname=str(name)):
                yield name
            case ast.keyword(arg=str(name)):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name


def test_no_private_word_names_anything() -> None:
    found = []
    for file, tree in trees().items():
        bare = {name.strip("_") for name in names(tree)}
        found += [f"{file.relative_to(PROJECT)}: {word}" for word in GONE.keys() & bare]
    assert found == []


def test_no_two_classes_have_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for file, tree in trees().items():
        if file.is_relative_to(PROJECT / FOLDERS[0]):
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(str(file.relative_to(PROJECT)))
    assert {name: files for name, files in places.items() if len(files) > 1 and name not in EVERY_STEP} == {}
