"""The house style of what users read: `python tools/prose.py` lists where text departs from it.

Looks at the documentation, at the texts of the package (messages, descriptions, labels) and at the pages' templates. A
rule is here because readers stumbled over what it finds. Words that are misspelled are codespell's.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
#: What reads as if translated, and what to write instead.
RULES = {
    r"\bsays nothing\b": "name what is missing",
    r"\b(is|are|was|were) (told|asked for)\b": "reported, notified; requested, required",
    r"\bmended?\b": "fixed, repaired",
    r"\bsay(s|ing)? so\b": "reports it, or say what is reported",
    r"\b(the|that|this) one (of|that|which)\b": "repeat the noun",
    r"\bof its own accord\b": "by itself, automatically",
    r"\bnowadays\b|\bhence\b|\bthereby\b|\bwherein\b": "the common word",
    r"\butili[sz]e\b": "use",
    r"\bplease\b": "leave it out",
    r"\bsimply\b|\bjust\b": "leave it out",
}
#: Words in a sentence of the documentation, at most.
LONGEST = 45
#: A literal with fewer words is a key or a name.
_LEAST_WORDS = 4
_CODE = re.compile(r"```.*?```|<!--.*?-->|`[^`]*`|\]\([^)]*\)", re.DOTALL)
_GENERATED = re.compile(r"<!-- generated.*?<!-- end -->", re.DOTALL)
_SENTENCE = re.compile(r"(?<=[.!?:])\s")
_BLOCK = re.compile(r"\n\s*\n|\n\s*(?:[-*#]|\d+\.) |\n\|| · ")


def main() -> None:
    """Print each departure with its file and line; exit with 1 when there is one."""
    found = [*_of_documents(), *_of_package(), *_of_templates()]
    for line in found:
        print(line)
    sys.exit(1 if found else 0)


def breaches(text: str) -> list[str]:
    """Return which rules a text breaks, with what was found and what to write instead.

    >>> breaches("A window without rows says nothing.")
    ["'says nothing': name what is missing"]
    """
    matches = ((re.search(rule, text, re.IGNORECASE), advice) for rule, advice in RULES.items())
    return [f"{match[0]!r}: {advice}" for match, advice in matches if match is not None]


def too_long(text: str) -> list[str]:
    """Return the sentences of a document with more than `LONGEST` words, code and tables left out."""
    prose = _CODE.sub("x", _GENERATED.sub("", text))
    blocks = [block for block in _BLOCK.split(prose) if not block.lstrip().startswith("|") and " | " not in block]
    sentences = [sentence for block in blocks for sentence in _SENTENCE.split(block.replace("\n", " "))]
    return [f"{len(words)} words: {' '.join(words[:8])} …" for one in sentences if len(words := one.split()) > LONGEST]


def _of_documents() -> Iterator[str]:
    for file in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]):
        name, text = file.relative_to(ROOT), file.read_text(encoding="utf-8")
        yield from (f"{name}: {sentence}" for sentence in too_long(text))
        for number, line in enumerate(text.splitlines(), 1):
            yield from (f"{name}:{number}: {breach}" for breach in breaches(re.sub(r"`[^`]*`", "x", line)))


def _of_package() -> Iterator[str]:
    for file in sorted((ROOT / "airflow_mlops_provider").rglob("*.py")):
        for number, text in _texts(ast.parse(file.read_text(encoding="utf-8"))):
            yield from (f"{file.relative_to(ROOT)}:{number}: {breach}" for breach in breaches(text))


def _of_templates() -> Iterator[str]:
    for file in sorted((ROOT / "airflow_mlops_provider" / "ui").rglob("*.html")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            shown = re.sub(r"\{[{%#].*?[}%#]\}|<[^>]*>", " ", line)
            yield from (f"{file.relative_to(ROOT)}:{number}: {breach}" for breach in breaches(shown))


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the literals that are sentences, without docstrings: those are for whoever reads the code."""
    left_out: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            left_out.update(id(value) for value in node.values)
        if isinstance(node, ast.Expr):
            left_out.add(id(node.value))
    for node in ast.walk(tree):
        text = _text(node)
        if id(node) not in left_out and text is not None and len(text.split()) >= _LEAST_WORDS:
            yield node.lineno, text  # type: ignore[attr-defined]  # a literal has a line


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(one.value) if isinstance(one, ast.Constant) else "x" for one in node.values)
    return None


if __name__ == "__main__":
    main()
