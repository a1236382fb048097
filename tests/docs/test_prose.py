"""The house style of what users read is checked by `make lint`; here, that the check can fail."""

from __future__ import annotations

import ast

import pytest

import prose


@pytest.mark.parametrize("text", ["A window without rows says nothing.", "Nobody was told.", "Just run it."])
def test_text_that_reads_as_if_translated_is_found(text: str) -> None:
    assert prose.breaches(text)


def test_a_sentence_that_is_too_long_is_found_and_code_is_no_sentence() -> None:
    words = "word " * 60
    assert prose.too_long(f"Short. {words}end.")
    assert not prose.too_long(f"```\n{words}\n```\n\n| {words} | {words} |\n")


def test_messages_are_looked_at_and_docstrings_are_not() -> None:
    tree = ast.parse(
        'def f():\n    """It says nothing of this."""\n    raise ValueError(f"column {name} says nothing of it")\n'
    )
    assert [text for _, text in prose._texts(tree)] == ["column x says nothing of it"]
