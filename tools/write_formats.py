"""Write the table of what steps and documents store, and refuse where a number was not raised that had to be.

A step's key holds its FORMAT, and none of its settings' defaults: a default that changes asks for another FORMAT. A
stored document says its SCHEMA: another shape asks for another SCHEMA. `tests/unit/stored/test_formats.py` compares.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
import sys
from pathlib import Path
from typing import Any

import airflow_mlops_provider
from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.runner import STEPS

TABLE = Path(__file__).parents[1] / "tests" / "unit" / "stored" / "formats.json"
_PACKAGE = "airflow_mlops_provider"
#: Packages in which documents are defined, beside the modules at the top.
_ROOMS = ("data", "effects", "evaluation", "modeling", "monitoring", "registry", "search", "steps", "validation")
#: Of a JSON schema, what decides whether a value can be read.
_SHAPE = ("type", "enum", "const", "anyOf", "items", "prefixItems", "properties", "additionalProperties", "required")

Table = dict[str, dict[str, Any]]


def formats() -> Table:
    """Return the table as the code has it."""
    return {
        "steps": {name: _step(name) for name in STEPS},
        "documents": {f"{kind.__module__}.{kind.__name__}": _document(kind) for kind in _documents()},
    }


def stored() -> Table:
    """Return the table as it was written last."""
    table: Table = json.loads(TABLE.read_text(encoding="utf-8"))
    return table


def not_raised(before: Table, now: Table) -> list[str]:
    """Return in sentences which numbers have to be raised."""
    wrong = []
    for name, step in now["steps"].items():
        old = before["steps"].get(name)
        changed = old and [key for key, value in old["defaults"].items() if step["defaults"].get(key, value) != value]
        if old and changed and step["format"] <= old["format"]:
            wrong.append(f"raise FORMAT of step {name}: another default of {', '.join(changed)}")
    for name, document in now["documents"].items():
        old = before["documents"].get(name)
        if old is None or document["schema"] > old["schema"]:
            continue
        fields = set(old["fields"]) if document["open"] else {*old["fields"], *document["fields"]}
        changed = sorted(key for key in fields if old["fields"].get(key) != document["fields"].get(key))
        if changed:
            wrong.append(f"raise SCHEMA of {name}, and FORMAT of the step that stores it: {', '.join(changed)}")
    return wrong


def _step(name: str) -> dict[str, Any]:
    step = importlib.import_module(f"{_PACKAGE}.steps.{name}")
    schema = step.Section.model_json_schema()
    kinds = {step.Section.__name__: schema, **schema.get("$defs", {})}
    defaults = {
        f"{kind}.{field}": about["default"]
        for kind, each in sorted(kinds.items())
        for field, about in each.get("properties", {}).items()
        if "default" in about
    }
    return {"format": step.FORMAT, "defaults": defaults}


def _documents() -> list[type[Document]]:
    for room in ("", *_ROOMS):
        place = importlib.import_module(f"{_PACKAGE}.{room}".rstrip("."))
        for module in pkgutil.iter_modules(place.__path__):
            if room or module.name == "runner":
                importlib.import_module(f"{place.__name__}.{module.name}")
    found, todo = set(), [Document]
    while todo:
        kinds = [kind for kind in todo.pop().__subclasses__() if kind.__module__.startswith(f"{_PACKAGE}.")]
        found.update(kinds)
        todo += kinds
    return sorted(found, key=lambda kind: (kind.__module__, kind.__name__))


def _document(kind: type[Document]) -> dict[str, Any]:
    schema = kind.model_json_schema()
    fields = {name: _inlined(about, schema.get("$defs", {})) for name, about in schema.get("properties", {}).items()}
    digests = {name: hashlib.sha256(json.dumps(about).encode()).hexdigest()[:12] for name, about in fields.items()}
    # One that passes over what it does not know reads what a later release adds.
    return {"schema": kind.SCHEMA, "open": kind.model_config.get("extra") == "ignore", "fields": digests}


def _inlined(about: Any, defs: dict[str, Any], inside: tuple[str, ...] = ()) -> Any:
    if isinstance(about, list):
        return [_inlined(each, defs, inside) for each in about]
    if not isinstance(about, dict):
        return about
    if (name := str(about.get("$ref", "")).rpartition("/")[2]) and name not in inside:
        return _inlined(defs[name], defs, (*inside, name))
    return {
        key: {name: _inlined(each, defs, inside) for name, each in sorted(value.items())}
        if key == "properties"
        else _inlined(value, defs, inside)
        for key, value in sorted(about.items())
        if key in _SHAPE
    }


def main() -> None:
    """Write the table, or say what has to be raised first."""
    now = formats()
    if TABLE.exists() and (wrong := not_raised(stored(), now)):
        sys.exit("\n".join(wrong))
    TABLE.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"wrote {TABLE.relative_to(Path.cwd())} for release {airflow_mlops_provider.__version__}")


if __name__ == "__main__":
    main()
