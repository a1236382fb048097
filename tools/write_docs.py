"""Write the parts of the documentation that the code knows: keys, gates, operators, options, decisions.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`; all else is written by hand. The tests check
that every part is up to date.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

from airflow_mlops_provider.get_provider_info import get_provider_info
from airflow_mlops_provider.spec import Pipeline

ROOT = Path(__file__).resolve().parent.parent
_PART = re.compile(r"(<!-- generated: (?P<name>[^\n]+?) -->\n).*?(<!-- end -->)", re.DOTALL)
_PARAM = re.compile(r":param (?P<name>\w+): (?P<text>.*?)(?=\n\s*:\w+|\Z)", re.DOTALL)
_CODE = re.compile(r"\.\. code-block:: python\n\n(?P<code>(?:[ ]{4,}[^\n]*\n|\n)+)")
_SCHEMA = Pipeline.model_json_schema()
#: What a pattern or a format of the schema means to the person who writes the file.
_TEXT_KINDS = {"duration": "duration", "date-time": "date or time"}
#: What types of arguments mean to the person who writes a DAG.
_ARGUMENT_KINDS = {"Result": "an operator's output", "Task": "`str`"}


def documents() -> list[Path]:
    """Return every Markdown file of the project, sorted."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def parts_in(text: str) -> list[str]:
    """Return the names of the generated parts of a document."""
    return [match["name"] for match in _PART.finditer(text)]


def rendered(text: str) -> str:
    """Return a document with its generated parts filled in.

    :raises KeyError: for a part of a name that nothing writes.
    """
    return _PART.sub(lambda match: f"{match[1]}\n{_part(match['name'])}\n\n{match[3]}", text)


def _part(name: str) -> str:
    kind, _, subject = name.partition(" ")
    return {
        "keys": _keys,
        "gates": _gates,
        "operator": _operator,
        "arguments": _shared_arguments,
        "sensor": _sensor,
        "sensor_arguments": _shared_sensor_arguments,
        "options": _options,
        "connection": _connection_fields,
        "bad_inputs": _bad_inputs,
        "rates": _rates,
        "decisions": _decisions,
    }[kind](subject)


# ---------------------------------------------------------------- decisions and their rates


def _decisions(_: str) -> str:
    """Return the decision records, by their titles."""
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    titles = [page.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# ") for page in pages]
    return "\n".join(f"- [{title}](decisions/{page.name})" for title, page in zip(titles, pages, strict=True))


def _rates(decision: str) -> str:
    """Return how often a decision is wrong, as `benchmarks/judgement.py` last measured it."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from judging.rates import Rate, table

    stored = json.loads((ROOT / "docs" / "judgement.json").read_text(encoding="utf-8"))
    return table([Rate.read(one) for one in stored if one["decision"] == decision])


# ---------------------------------------------------------------- the pipeline file


def definition(name: str) -> dict[str, Any]:
    """Return the JSON schema of one section of the pipeline file."""
    found: dict[str, Any] = _SCHEMA if name == "Pipeline" else _SCHEMA["$defs"][name]
    return found


def gate_names() -> dict[str, str]:
    """Return the section of each kind of gate, in the order of the specification."""
    mapping = _SCHEMA["properties"]["gates"]["items"]["discriminator"]["mapping"]
    order = [option["$ref"] for option in _SCHEMA["properties"]["gates"]["items"]["oneOf"]]
    kinds = sorted(mapping, key=lambda kind: order.index(mapping[kind]))
    return {kind: mapping[kind].rsplit("/", 1)[-1] for kind in kinds}


def _keys(name: str, leave_out: tuple[str, ...] = ()) -> str:
    section = definition(name)
    required = section.get("required", [])
    rows = [
        [f"`{key}`", _kind(value), "**required**" if key in required else _default(value), _meaning(value)]
        for key, value in section["properties"].items()
        if key not in leave_out
    ]
    return _table(["Key", "Value", "Default", "Meaning"], rows)


def _gates(_: str) -> str:
    blocks = []
    for kind, name in gate_names().items():
        about = " ".join(inspect.cleandoc(definition(name)["description"]).split())
        blocks.append(f"### `{kind}`\n\n{about}\n\n{_keys(name, ('kind', 'name'))}")
    return "\n\n".join(blocks)


def _meaning(value: dict[str, Any]) -> str:
    if "description" in value:
        return " ".join(str(value["description"]).split())
    return str(definition(value["$ref"].rsplit("/", 1)[-1])["description"]).split("\n", 1)[0]


def _default(value: dict[str, Any]) -> str:
    default = value.get("default")
    if default is None or default in ([], {}, ""):
        return ""
    if isinstance(default, dict):
        return "see below"
    if default == "PT0S":
        return "`0`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _kind(value: dict[str, Any]) -> str:
    options = [option for option in value.get("anyOf", [value]) if option.get("type") != "null"]
    return " or ".join(_one_kind(option) for option in options)


def _one_kind(value: dict[str, Any]) -> str:
    if "enum" in value:
        return ", ".join(f"`{name}`" for name in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    kind = value.get("type", "mapping" if "$ref" in value or "oneOf" in value else "any")
    if "oneOf" in value and any(option.get("type") == "string" for option in value["oneOf"]):
        return "name or mapping"
    if kind == "array" and _one_kind(value.get("items", {})) == "name or mapping":
        return "list of names or mappings"
    if kind == "array":
        return "list of mappings" if "type" not in value.get("items", {}) else "list of names"
    if kind == "object":
        return "mapping"
    if kind in ("number", "integer"):
        return " ".join(["whole number" if kind == "integer" else "number", ", ".join(_bounds(value))]).strip()
    if kind == "boolean":
        return "`true`, `false`"
    if "(\\.[A-Za-z_]" in value.get("pattern", ""):
        return "dotted name"
    return _TEXT_KINDS.get(value.get("format", ""), "text" if kind == "string" else str(kind))


def _bounds(value: dict[str, Any]) -> list[str]:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return [f"{sign} {value[key]:,}" for key, sign in signs.items() if key in value]


# ---------------------------------------------------------------- operators


def operators() -> dict[str, type]:
    """Return the public operators, by name, in the order of a training."""
    from airflow_mlops_provider.operators.step import StepOperator

    return _public("operators", StepOperator)


def sensors() -> dict[str, type]:
    """Return the public sensors, by name."""
    from airflow_mlops_provider.sensors.waiting import WaitingSensor

    return _public("sensors", WaitingSensor)


def _public(kind: str, parent: type) -> dict[str, type]:
    import importlib

    found: dict[str, type] = {}
    for entry in get_provider_info()[kind]:
        for name in entry["python-modules"]:
            for value in vars(importlib.import_module(name)).values():
                public = isinstance(value, type) and issubclass(value, parent) and value.__module__ == name
                if public and value is not parent:
                    found[value.__name__] = value
    return found


def code_of(operator: type) -> str:
    """Return the example in an operator's docstring."""
    match = _CODE.search(inspect.cleandoc(operator.__doc__ or "") + "\n")
    if match is None:
        raise ValueError(f"{operator.__name__} shows no example")
    return textwrap.dedent(match["code"]).strip()


def _operator(name: str) -> str:
    return _described(name, operators()[name])


def _sensor(name: str) -> str:
    return _described(name, sensors()[name])


def _described(name: str, operator: Any) -> str:
    about = inspect.cleandoc(operator.__doc__).partition(".. code-block")[0].strip()
    lines = [
        f"`from {operator.__module__.rpartition('.')[0]} import {name}`",
        "",
        about,
        "",
        f"```python\n{code_of(operator)}\n```",
        "",
        _arguments(operator),
        "",
        "Template fields: " + ", ".join(f"`{field}`" for field in operator.template_fields) + ".",
    ]
    if operator.operator_extra_links:
        lines[-1] += " Extra links: " + ", ".join(link.name for link in operator.operator_extra_links) + "."
    return "\n".join(lines)


def _shared_arguments(_: str) -> str:
    from airflow_mlops_provider.operators.step import StepOperator

    return _arguments(StepOperator)


def _shared_sensor_arguments(_: str) -> str:
    from airflow_mlops_provider.sensors.waiting import WaitingSensor

    return _arguments(WaitingSensor)


def _arguments(operator: type) -> str:
    rows = [row for kind in _explained_with(operator) for row in _own_arguments(kind)]
    return _table(["Argument", "Type", "Default", "Meaning"], rows)


def _explained_with(operator: type) -> list[type]:
    """Return the operator, and what it is made of that no page of its own explains."""
    from airflow_mlops_provider.operators.step import StepOperator
    from airflow_mlops_provider.sensors.waiting import WaitingSensor

    line = operator.__mro__
    shared = next(number for number, kind in enumerate(line) if kind in (StepOperator, WaitingSensor))
    above = [kind for kind in line[1:shared] if not _CODE.search(inspect.cleandoc(kind.__doc__ or "") + "\n")]
    return [operator, *above]


def _own_arguments(operator: type) -> list[list[str]]:
    described = {match["name"]: " ".join(match["text"].split()) for match in _PARAM.finditer(operator.__doc__ or "")}
    rows = []
    signature, inherited = (inspect.signature(kind.__init__) for kind in operator.__mro__[:2])  # type: ignore[misc]  # of a class, no instance
    for name, parameter in signature.parameters.items() if signature != inherited else ():
        if name == "self" or parameter.kind is parameter.VAR_KEYWORD:
            continue
        required = parameter.default is parameter.empty
        default = "**required**" if required else "" if parameter.default is None else f"`{parameter.default!r}`"
        kind = str(parameter.annotation).replace(" | None", "")
        meaning = described[name][0].upper() + described[name][1:]
        rows.append([f"`{name}`", _ARGUMENT_KINDS.get(kind, f"`{kind}`"), default, meaning])
    return rows


# ---------------------------------------------------------------- configuration, errors


def _options(section: str) -> str:
    rows = []
    for name, option in get_provider_info()["config"][section]["options"].items():
        default = f"`{option['default']}`" if option["default"] else ""
        variable = f"`AIRFLOW__{section.upper()}__{name.upper()}`"
        rows.append([f"`{name}`", default, variable, f"{option['description']} Example: `{option['example']}`."])
    return _table(["Option", "Default", "Environment variable", "Meaning"], rows)


def _connection_fields(kind: str) -> str:
    [connection] = [c for c in get_provider_info()["connection-types"] if c["connection-type"] == kind]
    fields = connection["conn-fields"]
    rows = [[f"`{name}`", field["label"], field["description"]] for name, field in fields.items()]
    return _table(["Extra", "In the form", "Meaning"], rows)


def _bad_inputs(_: str) -> str:
    from bad_inputs import messages

    rows = [[what, f"`{step}`", f"`` {text} ``"] for what, step, text in messages()]
    return _table(["Input", "Task", "What it says"], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    cells = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


if __name__ == "__main__":
    for document in documents():
        before = document.read_text(encoding="utf-8")
        if (after := rendered(before)) != before:
            document.write_text(after, encoding="utf-8")
            print(f"wrote {document.relative_to(ROOT)}")
