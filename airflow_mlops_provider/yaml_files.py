"""Reads YAML as people mean it, within bounds: plain data, of which nothing can take other files down.

What is no plain data is a mistake: a key that is there twice, a type of Python's, a number that is none. So is what
costs more than a pipeline file may: bytes, values and depth are counted while the file is read, and what an alias
names as often as it is named.
"""

from __future__ import annotations

import math
import os
import re
import stat
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.resolver import Resolver

from airflow_mlops_provider.exceptions import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Bytes of a file, and characters and values of what stands in it once its aliases are filled in. The largest pipeline
#: that ships has 4,000.
MAX_SIZE = 1_000_000
#: Keys and values of a file, and keys that are merged in: so many take a second to read.
MAX_NODES = 100_000
#: Lists and mappings in each other. Python's own limit is reached by a thousand, and the C parser has none.
MAX_DEPTH = 50
#: What databases and the messages between Airflow's processes take.
_INT64 = range(-(2**63), 2**63)

#: The C parser is ten times as fast, and parsing is what the DAG processor does all day.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEXT, _LIST, _MAPPING = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))
_MERGED = "tag:yaml.org,2002:merge"
#: What else is plain data.
_PLAIN = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "timestamp"))
#: What no database and no file takes as text.
_UNUSABLE = re.compile("[\0\ud800-\udfff]")
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode), "a device"),
)


_RESOLVER = Resolver()


@lru_cache(maxsize=4096)
def _tag(kind: Any, value: str | None, implicit: Any) -> Any:
    """Return what a value is by its looks. The same words stand in every pipeline file."""
    return _RESOLVER.resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # PyYAML's stubs leave it out


class _Loader(_SafeLoader):  # type: ignore[misc]  # as the base class is the one that PyYAML was built with
    """PyYAML's safe loader, but for three things.

    It refuses a key that a mapping has twice, of which PyYAML takes the last in silence. It makes text, lists and
    mappings, which are nearly all of a pipeline file, at once: PyYAML's way through generators takes three times as
    long to do that, for objects that refer to themselves. And it stops at its bounds, before anything is made.
    """

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        #: What an alias may name once more, by its node; None while it is made.
        self._made: dict[Node, Any] = {}
        self._depth = self._nodes = 0
        #: Without an anchor nothing is named twice, and without a backslash no text has a character that YAML refuses.
        self._measured: dict[int, tuple[int, int]] | None = {} if b"&" in stream or b"\\" in stream else None

    def resolve(self, kind: Any, value: str | None, implicit: Any) -> Any:
        """Return the tag of a node that has none."""
        return _tag(kind, value, implicit)

    def descend_resolver(self, current_node: Node | None, current_index: Any) -> None:
        """Count a node before it is read; of Python's methods, the parser calls this one there."""
        self._depth += 1
        self._nodes += 1
        if self._depth > MAX_DEPTH or self._nodes > MAX_NODES:
            self._stop(current_node)

    def ascend_resolver(self) -> None:
        """Count a node as read."""
        self._depth -= 1

    def _stop(self, node: Node | None) -> NoReturn:
        if self._depth > MAX_DEPTH:
            _refuse(node, f"found more than {MAX_DEPTH} lists and mappings in each other")
        _refuse(node, f"found more than {MAX_NODES:,} keys and values")

    def construct_document(self, node: Node) -> Any:
        """Return what stands in a document."""
        kind = type(node)
        if kind is ScalarNode and node.tag == _TEXT:
            return node.value if self._measured is None else self._text(node)
        if not (kind is MappingNode and node.tag == _MAPPING) and not (kind is SequenceNode and node.tag == _LIST):
            return self._special(node)
        if node in self._made:
            if self._made[node] is None:
                _refuse(node, "found a value that contains itself")
            return self._made[node]
        self._made[node] = None
        plain = self.construct_document
        made: Any = [plain(item) for item in node.value] if kind is SequenceNode else self._mapping(node)
        self._made[node] = made
        if self._measured is not None:
            self._measured[id(made)] = self._measure(node, made)
        return made

    def _mapping(self, node: Node) -> dict[Any, Any]:
        """Return a mapping. PyYAML's own merging doubles it with each `<<: [*a, *a]`."""
        plain, merges = self.construct_document, self._check_keys(node)
        if not merges:
            made = {plain(key): plain(value) for key, value in node.value}
            if len(made) < len(node.value):
                _refuse(node, "found a key a second time, in another spelling")
            return made
        made = {}
        for source in merges:
            made.update(merged := plain(source))
            self._nodes += len(merged)
            if self._nodes > MAX_NODES:
                self._stop(node)
        made.update((plain(key), plain(value)) for key, value in node.value if key.tag != _MERGED)
        return made

    def _text(self, node: Node) -> str:
        text: str = node.value
        if (found := _UNUSABLE.search(text)) is not None:
            _refuse(node, f"found text with {found.group()!r}, a character that is not allowed")
        return text

    def _special(self, node: Node) -> Any:
        """Return a number, a date or another value that is not text; PyYAML lets Python's own errors pass."""
        kind = node.tag.rpartition(":")[2]
        if node.tag not in (*_PLAIN, _TEXT, _LIST, _MAPPING):
            _refuse(node, f"found a value of type {kind}, which is not plain data")
        if node.tag not in _PLAIN or not isinstance(node, ScalarNode):
            _refuse(node, f"found an invalid value of type {kind}")
        try:
            value = super().construct_document(node)
        except Exception as error:
            raise ConstructorError(None, None, f"found an invalid value of type {kind}", node.start_mark) from error
        if type(value) is int and value not in _INT64:
            _refuse(node, "found a whole number of more than 64 bits")
        if type(value) is float and not math.isfinite(value):
            _refuse(node, "found a number that is not finite")
        return value

    def _check_keys(self, node: Node) -> list[Node]:
        """Refuse a mapping with a key that is there twice, or that is no plain value; return what it merges in."""
        known: dict[str, Node] = {}
        merges: list[Node] = []
        for key, value in node.value:
            if type(key) is not ScalarNode:
                _refuse(key, "found a key that is not a plain value")
            if key.tag == _MERGED:
                merges += _merged(value)
            elif key.value in known:
                line = known[key.value].start_mark.line + 1
                _refuse(key, f"found the key {key.value!r} a second time; line {line} has it already")
            known[key.value] = key
        return merges

    def _measure(self, node: Node, made: Any) -> tuple[int, int]:
        """Return how many characters and values stand in a list or mapping, aliases filled in, and how deep it is."""
        size = depth = 0
        for part in made if isinstance(made, list) else (*made, *made.values()):
            if isinstance(part, list | dict):
                inner = self._measured[id(part)]  # type: ignore[index]  # whoever measures has what it is made of
                size, depth = size + inner[0] + 1, max(depth, inner[1])
            else:
                size += len(part) + 1 if isinstance(part, str) else 1
        if size > MAX_SIZE:
            _refuse(node, f"found more than {MAX_SIZE:,} characters and values, once its aliases are filled in")
        if depth >= MAX_DEPTH:
            _refuse(node, f"found more than {MAX_DEPTH} lists and mappings in each other, by aliases")
        return size, depth + 1


def _merged(value: Node) -> Iterator[Node]:
    """Yield the mappings that `<<` merges in, the one that counts least first."""
    sources = reversed(value.value) if type(value) is SequenceNode else (value,)
    for source in sources:
        if type(source) is not MappingNode:
            _refuse(source, "found << with something that is not a mapping or a list of mappings")
        yield source


def _refuse(node: Node | None, problem: str) -> NoReturn:
    raise ConstructorError(None, None, problem, None if node is None else node.start_mark)


def read_yaml(file: Path) -> Any:
    """Return what a YAML file says, in plain values.

    :raises SpecError: names the file and the line that is wrong.
    """
    content = _content(file)
    try:
        return yaml.load(content, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise _located(file, content, error) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"pipeline file {file} is not YAML", got=str(error)) from error


def _content(file: Path) -> bytes:
    """Return a file's bytes.

    :raises SpecError: it is gone, cannot be read, is too large, or is something else than a file.
    """
    try:
        # Not to wait for whoever writes into a pipe.
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            content, mode = b"", os.fstat(handle).st_mode
            if stat.S_ISREG(mode):
                with open(handle, "rb", closefd=False) as stream:
                    content = stream.read(MAX_SIZE + 1)
        finally:
            os.close(handle)
    except OSError as error:
        raise unreadable(file, error) from error
    if not stat.S_ISREG(mode):
        kind = next((words for test, words in _KINDS if test(mode)), "something else")
        raise SpecError(f"pipeline file {file} is not a file", got=kind, hint="Move it to another folder.")
    if len(content) > MAX_SIZE:
        raise SpecError(f"pipeline file {file} is too large", expected=f"at most {MAX_SIZE:,} bytes")
    return content


def unreadable(file: Path, error: OSError) -> SpecError:
    """Return why a file cannot be opened, as a mistake that a person can mend."""
    if isinstance(error, FileNotFoundError):
        return SpecError(f"pipeline file {file} is {'a broken link' if file.is_symlink() else 'missing'}")
    hint = "Give the user that Airflow runs as read access." if isinstance(error, PermissionError) else None
    return SpecError(f"pipeline file {file} cannot be read", got=error.strerror, hint=hint)


def _located(file: Path, content: bytes, error: yaml.MarkedYAMLError) -> SpecError:
    """Return what the parser says in one line, with the line of the file that it stumbled over."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return SpecError(f"pipeline file {file} is not YAML", got=error.problem)
    line = content.decode(errors="replace").splitlines()[mark.line : mark.line + 1]
    text = line[0] if line else "the end of the file"
    hint = None
    if "\t" in text:
        hint = "Indent with spaces: YAML does not allow tabs."
    elif "{{" in text:
        hint = 'Put a value that begins with {{ in quotes: "{{ as_of }}".'
    return SpecError(
        f"pipeline file {file}, line {mark.line + 1}, is not YAML: {error.problem}", got=text.strip(), hint=hint
    )
