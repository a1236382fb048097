"""Reads YAML as people mean it: a key that is there twice is a mistake, and so is what cannot be plain data."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.resolver import Resolver

from airflow_mlops_provider.exceptions import SpecError

if TYPE_CHECKING:
    from pathlib import Path

#: The C parser is ten times as fast, and parsing is what the DAG processor does all day.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEXT, _LIST, _MAPPING = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))
_MERGED = "tag:yaml.org,2002:merge"


_RESOLVER = Resolver()


@lru_cache(maxsize=4096)
def _tag(kind: Any, value: str | None, implicit: Any) -> Any:
    """Return what a value is by its looks. The same words stand in every pipeline file."""
    return _RESOLVER.resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # PyYAML's stubs leave it out


class _Loader(_SafeLoader):  # type: ignore[misc]  # as the base class is the one that PyYAML was built with
    """PyYAML's safe loader, but for two things.

    It refuses a key that a mapping has twice, of which PyYAML takes the last in silence. And it makes text, lists and
    mappings, which are nearly all of a pipeline file, at once: PyYAML's way through generators takes three times as
    long to do that, for objects that refer to themselves.
    """

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        #: What an alias may name once more, by its node; None while it is made.
        self._made: dict[Node, Any] = {}

    def resolve(self, kind: Any, value: str | None, implicit: Any) -> Any:
        """Return the tag of a node that has none."""
        return _tag(kind, value, implicit)

    def construct_document(self, node: Node) -> Any:
        """Return what stands in a document."""
        kind = type(node)
        if kind is ScalarNode and node.tag == _TEXT:
            return node.value
        if not (kind is MappingNode and node.tag == _MAPPING) and not (kind is SequenceNode and node.tag == _LIST):
            return self._special(node)
        if node in self._made:
            if self._made[node] is None:
                raise ConstructorError(None, None, "found what contains itself", node.start_mark)
            return self._made[node]
        self._made[node] = None
        plain = self.construct_document
        if kind is SequenceNode:
            made: Any = [plain(item) for item in node.value]
        else:
            self._check_keys(node)
            self.flatten_mapping(node)
            made = {plain(key): plain(value) for key, value in node.value}
        self._made[node] = made
        return made

    def _special(self, node: Node) -> Any:
        """Return a number, a date or another value that is not text; PyYAML lets Python's own errors pass."""
        try:
            return super().construct_document(node)
        except (ValueError, TypeError, AttributeError) as error:
            told = f"found what cannot be a value of type {node.tag.rpartition(':')[2]}"
            raise ConstructorError(None, None, told, node.start_mark) from error

    def _check_keys(self, node: Node) -> None:
        """Refuse a mapping with a key that is there twice, or that is no plain value."""
        known: dict[str, Node] = {}
        for key, _ in node.value:
            if type(key) is not ScalarNode:
                raise ConstructorError(None, None, "found a key that is no plain value", key.start_mark)
            if key.value in known and key.tag != _MERGED:
                line = known[key.value].start_mark.line + 1
                told = f"found the key {key.value!r} a second time; line {line} has it already"
                raise ConstructorError(None, None, told, key.start_mark)
            known[key.value] = key


def read_yaml(file: Path) -> Any:
    """Return what a YAML file says, in plain values.

    :raises SpecError: names the file and the line that is wrong.
    """
    content = file.read_bytes()
    try:
        return yaml.load(content, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise _located(file, content, error) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"pipeline file {file} is not YAML", got=str(error)) from error
    except RecursionError as error:
        raise SpecError(f"pipeline file {file} is nested too deeply to be read") from error


def _located(file: Path, content: bytes, error: yaml.MarkedYAMLError) -> SpecError:
    """Return what the parser says in one line, with the line of the file that it stumbled over."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return SpecError(f"pipeline file {file} is not YAML", got=error.problem)
    line = content.decode(errors="replace").splitlines()[mark.line : mark.line + 1]
    text = line[0] if line else "the end of the file"
    hint = None
    if "\t" in text:
        hint = "Indent by spaces: YAML takes no tabs."
    elif "{{" in text:
        hint = 'Put a value that begins with {{ in quotes: "{{ as_of }}".'
    return SpecError(
        f"pipeline file {file}, line {mark.line + 1}, is not YAML: {error.problem}", got=text.strip(), hint=hint
    )
