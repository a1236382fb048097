"""Pipeline files that are odd, broken or meant to do harm, by the name of the pipeline that each pretends to be."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import yaml
from minimal_pipeline import MINIMAL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: A module of the plugins folder, whose notifiers do what they must not.
NOTIFIERS = """
import sys
from airflow.sdk import BaseNotifier

class Raising(BaseNotifier):
    def __init__(self, **kwargs):
        raise KeyError("no such channel")

class Ending(BaseNotifier):
    def __init__(self, **kwargs):
        sys.exit(3)

class Deep(BaseNotifier):
    def __init__(self, **kwargs):
        self.__init__(**kwargs)

class Greedy(BaseNotifier):
    def __init__(self, **kwargs):
        self.much = bytearray(2**46)
"""


def _socket(place: Path) -> None:
    # A socket's address may be short only.
    os.chdir(place.parent)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(place.name)


#: What is no file, or cannot be read, and what is said of it.
KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder": (lambda place: place.mkdir(), "is not a file: got a folder"),
    "pipe": (os.mkfifo, "is not a file: got a pipe"),
    "socket": (_socket, "cannot be read: got No such device or address"),
    "dangling": (lambda place: place.symlink_to("nowhere.yaml"), "is a broken link"),
    "looping": (lambda place: place.symlink_to(place.name), "Too many levels of symbolic links"),
    "zeros": (lambda place: place.symlink_to("/dev/zero"), "is not a file: got a device"),
    "terminal": (lambda place: place.symlink_to("/dev/ptmx"), "is not a file: got a device"),
    "memory": (lambda place: place.symlink_to("/proc/self/mem"), "cannot be read: got Input/output error"),
    "through_a_file": (lambda place: place.symlink_to("good.yaml/x"), "cannot be read: got Not a directory"),
}

_BOMB = "a: &a [" + "x," * 9 + "x]\n"
for _one, _next in zip("abcdefghij", "bcdefghijk", strict=True):
    _BOMB += f"{_next}: &{_next} [" + f"*{_one}," * 9 + f"*{_one}]\n"
_MERGES = "a0: &a0 {x0: 1, y0: 2}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}], x{n}: 1}}\n" for n in range(1, 40)
)
_LADDER = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 5000))
_WIDE = "a: &a {" + ", ".join(f"k{n}: 1" for n in range(40_000)) + "}\n"
_DEEP = "found more than 50 lists and mappings in each other"
_LARGE = "found more than 1,000,000 characters and values, once its aliases are filled in"

#: What stands in a file, and what is said of it.
CONTENTS: dict[str, tuple[bytes | str, str]] = {
    "empty": ("", "is not a mapping: got NoneType"),
    "bool_of_text": ("name: !!bool x\n", "line 1, is not YAML: found an invalid value of type bool"),
    "int_of_nothing": ("name: !!int ''\n", "found an invalid value of type int"),
    "set_of_python": ("name: !!set {a, b}\n", "found a value of type set, which is not plain data"),
    "bytes_of_text": ("name: !!binary aGFsbG8=\n", "found a value of type binary, which is not plain data"),
    "pairs": ("name: !!pairs [a: 1, a: 2]\n", "found a value of type pairs, which is not plain data"),
    "python_object": ("name: !!python/object/apply:os.system ['exit 1']\n", "which is not plain data"),
    "python_name": ("name: !!python/name:os.system ''\n", "which is not plain data"),
    "own_tag": ("name: !run {a: 1}\n", "which is not plain data"),
    "nested_lists": ("name: " + "[" * 100_000, _DEEP),
    "nested_mappings": ("{a: " * 50_000, _DEEP),
    "nested_dashes": ("- " * 50_000, _DEEP),
    "nested_blocks": ("".join(" " * n + "a:\n" for n in range(1000)), _DEEP),
    "alias_bomb": (_BOMB, _LARGE),
    "text_bomb": ("a: &a " + "x" * 20_000 + "\nb: [" + "*a, " * 500 + "]\n", _LARGE),
    "merge_bomb": (_MERGES, "44 wrong settings"),
    "wide_merges": (_WIDE + "b: {<<: [" + "*a, " * 9_000 + "*a]}\n", "found more than 100,000 keys and values"),
    "many_merges": (_WIDE + "b:\n" + "".join(f"  c{n}: {{<<: *a}}\n" for n in range(9_000)), "found more than 100,000"),
    "alias_ladder": (_LADDER, _DEEP),
    "alias_of_itself": ("a: &a {b: *a}\n", "found a value that contains itself"),
    "alias_of_nothing": ("a: *b\n", "found undefined alias"),
    "merge_of_text": ("a: {<<: text}\n", "found << with something that is not a mapping or a list of mappings"),
    "merge_of_texts": ("a: {<<: [text, 1]}\n", "found << with something that is not a mapping or a list of mappings"),
    "huge": (b"# " + b"x" * 2_000_000, "is too large: expected at most 1,000,000 bytes"),
    "many_values": ("a: [" + "1," * 200_000 + "]", "found more than 100,000 keys and values"),
    "many_keys": ("".join(f"k{n}: 1\n" for n in range(20_000)), "wrong settings"),
    "many_templates": ("name: '" + "{{" * 300_000 + "'", "uses template variables that do not exist"),
    "not_utf8": (b"name: \xff\xfe\xfa\n", "is not YAML"),
    "utf16_cut": ("name: churn".encode("utf-16")[:-1], "is not YAML"),
    "nul_bytes": (b"name: a\0b\n", "is not YAML"),
    "nul_written": ('description: "a\\0b"\n', "found text with '\\x00', a character that is not allowed"),
    "surrogate": ('description: "\\ud800"\n', "is not YAML"),
    "control": (b"name: \x1b[2J\n", "is not YAML"),
    "giant_number": ("seed: 1" + "0" * 5000, "found an invalid value of type int"),
    "giant_hex": ("seed: 0x" + "f" * 5000, "found a whole number of more than 64 bits"),
    "giant_sexagesimal": ("seed: 1" + ":59" * 2000, "found a whole number of more than 64 bits"),
    "large_number": ("seed: 18446744073709551616", "found a whole number of more than 64 bits"),
    "not_a_number": ("name: .nan\n", "found a number that is not finite"),
    "infinite": ("seed: -.inf\n", "found a number that is not finite"),
    "year_zero": ("start: 0000-01-01\n", "found an invalid value of type timestamp"),
    "before_year_one": ("start: 0001-01-01 00:00:00 +23:00\n", "wrong settings"),
    "day_30": ("start: 2026-02-30\n", "found an invalid value of type timestamp"),
    "two_documents": ("a: 1\n---\nb: 2\n", "but found another document"),
    "key_twice": ("a: 1\na: 2\n", "found the key 'a' a second time; line 1 has it already"),
    "key_twice_otherwise": ("{1: a, 0x1: b}", "found a key a second time, in another spelling"),
    "key_of_list": ("{[a]: 1}", "found a key that is not a plain value"),
    "anchors_twice": ("a: &a 1\nb: &a 2\nc: *a\n", "is not YAML: second occurrence"),
    "list_of_it": ("- name: list_of_it\n", "is not a mapping: got list"),
    "json_lines": ('{"name": 1}\n{"name": 2}\n', "is not YAML"),
    "zip_archive": (b"PK\x03\x04" + bytes(range(256)), "is not YAML"),
    "CASE": (yaml.safe_dump({**MINIMAL, "name": "case"}), "does not have its pipeline's name"),
    "another": (yaml.safe_dump({**MINIMAL, "name": "good"}), "does not have its pipeline's name"),
    "with space": (yaml.safe_dump({**MINIMAL, "name": "with space"}), "expected lowercase letters, digits and _"),
    "with\nline": (yaml.safe_dump({**MINIMAL, "name": "with\nline"}), "expected lowercase letters, digits and _"),
    "..": (yaml.safe_dump({**MINIMAL, "name": ".."}), "expected lowercase letters, digits and _"),
    "x" * 250: (yaml.safe_dump({**MINIMAL, "name": "x" * 250}), "expected lowercase letters, digits and _"),
    "not\udcffutf8": (yaml.safe_dump({**MINIMAL, "name": "x"}), "does not have its pipeline's name"),
}


def _notifier(name: str) -> dict[str, Any]:
    return {"notifications": {"on_failure": [{"notifier": f"hostile_notifiers.{name}"}]}}


#: Settings of a file that is well-formed, and what is said of them.
SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "zone_folder": ({"schedule": {"timezone": "America"}}, "schedule.timezone is not a time zone: got America"),
    "zone_nothing": ({"schedule": {"timezone": ""}}, "schedule.timezone is not a time zone"),
    "zone_long": ({"schedule": {"timezone": "x" * 5000}}, "schedule.timezone is not a time zone"),
    "zone_file": ({"schedule": {"timezone": "tzdata.zi"}}, "schedule.timezone is not a time zone"),
    "cron_never": ({"schedule": {"cron": "0 0 30 2 *"}}, "schedule.cron has no next date: got 0 0 30 2 *"),
    "cron_never_either": ({"schedule": {"cron": "0 0 31 4,6 *"}}, "schedule.cron has no next date"),
    "cron_of_a_year": ({"schedule": {"cron": "0 0 1 1 * 0 2050"}}, "schedule.cron has no next date"),
    "cron_hashed": ({"schedule": {"cron": "H H * * *"}}, "schedule.cron is not a cron expression"),
    "cron_empty": ({"schedule": {"cron": ""}}, "schedule.cron is not a cron expression"),
    "cron_long": ({"schedule": {"cron": "1," * 300 + "1 * * * *"}}, "schedule.cron: String should have at most 150"),
    "start_year_one": ({"schedule": {"start": "0001-01-01"}}, "expected a moment from 1900 to 2149, got 0001-01-01"),
    "end_year_9999": ({"schedule": {"end": "9999-12-31T23:59:59-12:00"}}, "expected a moment from 1900 to 2149"),
    "end_before_start": (
        {"schedule": {"start": "2026-01-02", "end": "2026-01-01"}},
        "schedule.end is before its start",
    ),
    "long_model": ({"promotion": {"model": "m" * 1600}}, "promotion.model: String should have at most 200"),
    "model_of_paths": ({"promotion": {"model": "../other"}}, "promotion.model: expected a name without / : ? # %"),
    "model_of_blanks": ({"promotion": {"model": " "}}, "promotion.model: expected a name without"),
    "long_owner": ({"owner": "o" * 3000}, "owner: String should have at most 250"),
    "no_owner": ({"owner": ""}, "owner: String should have at least 1"),
    "long_tag": ({"tags": ["t" * 101]}, "tags.0: String should have at most 100"),
    "long_text": ({"description": "d" * 70_000}, "description: String should have at most 5000"),
    "tags_of_a_kind": ({"tags": {"a": 1}}, "tags: Input should be a valid list"),
    "pool_of_a_kind": ({"tasks": {"gate": {"pool": 3}}}, "tasks.gate.pool: Input should be a valid string"),
    "long_pool": ({"tasks": {"gate": {"pool": "p" * 300}}}, "tasks.gate.pool: String should have at most 256"),
    "long_queue": ({"tasks": {"gate": {"queue": "q" * 300}}}, "tasks.gate.queue: String should have at most 256"),
    "no_executor": ({"tasks": {"gate": {"executor": "Nowhere"}}}, "tasks.gate.executor is not configured: got Nowhere"),
    "pod_of_text": ({"tasks": {"gate": {"executor_config": {"pod_override": "x"}}}}, "pod_override is not a mapping"),
    "many_retries": ({"tasks": {"gate": {"retries": 10**18}}}, "tasks.gate.retries: Input should be less than"),
    "long_delay": ({"tasks": {"gate": {"retry_delay": "P999999999D"}}}, "tasks.gate.retry_delay: Input should be less"),
    "delay_back": ({"tasks": {"gate": {"retry_delay": "-P1D"}}}, "tasks.gate.retry_delay: Input should be greater"),
    "no_time": ({"tasks": {"gate": {"execution_timeout": 0}}}, "tasks.gate.execution_timeout: Input should be greater"),
    "no_such_task": ({"tasks": {"train" * 100: {}}}, "wrong setting"),
    "long_age": ({"scoring": {}, "monitoring": {"max_age": 10**15}}, "monitoring.max_age"),
    "notifier_raising": (_notifier("Raising"), "cannot be created: got KeyError: 'no such channel'"),
    "notifier_ending": (_notifier("Ending"), "cannot be created: got SystemExit: 3"),
    "notifier_deep": (_notifier("Deep"), "cannot be created: got RecursionError"),
    "notifier_greedy": (_notifier("Greedy"), "cannot be created: got MemoryError"),
    "notifier_nowhere": ({"notifications": {"on_event": [{"notifier": "hostile_notifiers.No"}]}}, "has no 'No'"),
    "module_ending": (
        {"notifications": {"on_event": [{"notifier": "ending.A"}]}},
        "whose module exits the process on import",
    ),
    "slow_answer": (
        {"schedule": {}, "promotion": {"approval": "human", "response_timeout": "P9D"}},
        "promotion.response_timeout would hold up the next run",
    ),
}

#: Settings that are odd and right: their DAGs are built, and Airflow takes them.
ODD: dict[str, dict[str, Any]] = {
    "many_columns": {
        "data": {**MINIMAL["data"], "columns": {"target": "y", "numeric": [f"c{n}" for n in range(3000)]}}
    },
    "keys_of_numbers": {
        "training": {
            "candidates": {
                "one": {
                    "estimator": "sklearn.linear_model.LogisticRegression",
                    "params": {"class_weight": {0: 1, 1: 5}, "a": {1: {2: [None, True, 2**62, 1.5]}}},
                }
            }
        }
    },
    "model_of_another_tongue": {"promotion": {"model": "Kündigung 2.0"}, "scoring": {}, "monitoring": {}},
    "cron_of_leap_days": {"schedule": {"cron": "0 0 29 2 *", "timezone": "Pacific/Apia"}, "scoring": {}},
    "cron_of_words": {"schedule": {"cron": ",".join(map(str, range(24))) + " 4,5 * jan,sep mon,wed"}, "scoring": {}},
    "executor_told_much": {"tasks": {"gate": {"executor_config": {"a": {1: [2**63 - 1, None, "2026-01-01"]}}}}},
    "all_at_the_bounds": {
        "owner": "o" * 250,
        "tags": ["t" * 100],
        "description": "d" * 5000,
        "promotion": {"model": "m" * 200},
        "tasks": {"gate": {"pool": "p" * 256, "queue": "q" * 256, "retries": 1000, "retry_delay": "P36525D"}},
        "schedule": {"start": "1900-01-01T00:00:00+14:00", "end": "2149-12-31T23:59:59-12:00"},
        "scoring": {"window": "P36525D"},
        "monitoring": {"max_age": "P36525D"},
    },
}


def expected() -> dict[str, str]:
    """What is said of each file, by the file's name."""
    says = {name: text for table in (KINDS, CONTENTS, SETTINGS) for name, (_, text) in table.items()}
    return {f"{name}.yaml": text for name, text in says.items() if not name.startswith(".")}


def write(folder: Path) -> None:
    """Write all of them beside a good one."""
    for name, settings in [("good", {"scoring": {}, "monitoring": {}, "schedule": {}}), *ODD.items()]:
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({**MINIMAL, "name": name, **settings}))
    for name, (make, _) in KINDS.items():
        make(folder / f"{name}.yaml")
    for name, (content, _) in CONTENTS.items():
        file = folder / f"{name}.yaml"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    for name, (settings, _) in SETTINGS.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({**MINIMAL, "name": name, **settings}))
