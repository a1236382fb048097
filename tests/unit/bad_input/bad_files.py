"""Bad input of files: what is written, and what the one error must name of it."""

from __future__ import annotations

import gzip
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from airflow_mlops_provider.exceptions import DataError, MLOpsError

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS = {"target": "late", "timestamp": "at", "keys": ["id"], "numeric": ["x", "y"], "categorical": ["c"]}
START = datetime(2013, 2, 1, tzinfo=UTC)


def good(count: int = 40) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"r{index:03}" for index in range(count)],
            "at": [(START + timedelta(hours=index)).isoformat() for index in range(count)],
            "x": [float(index) for index in range(count)],
            "y": [index % 5 for index in range(count)],
            "c": ["abc"[index % 3] for index in range(count)],
            "late": [index % 2 for index in range(count)],
        }
    )


def replaced(column: str, row: int, value: object) -> pd.DataFrame:
    frame = good().astype({column: object})
    frame.loc[row, column] = value
    return frame


@dataclass
class Case:
    """What is written, and what the one error must name."""

    name: str
    write: Callable[[Path], object]
    file: str
    says: tuple[str, ...]
    error: type[MLOpsError] = DataError
    data: dict[str, Any] = field(default_factory=dict)
    validation: dict[str, Any] = field(default_factory=dict)
    task: str = "binary"


def csv(frame: pd.DataFrame, **options: Any) -> Callable[[Path], object]:
    return lambda path: frame.to_csv(path, index=False, **options)


def parquet(frame: pd.DataFrame) -> Callable[[Path], object]:
    return lambda path: frame.to_parquet(path, index=False)


def text(content: str, encoding: str = "utf-8") -> Callable[[Path], object]:
    return lambda path: path.write_text(content, encoding=encoding)


def truncated(write: Callable[[Path], object], keep: float = 0.5) -> Callable[[Path], object]:
    def cut(path: Path) -> None:
        write(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])

    return cut


def beheaded(write: Callable[[Path], object]) -> Callable[[Path], object]:
    def cut(path: Path) -> None:
        write(path)
        path.write_bytes(path.read_bytes()[10:])

    return cut


def corrupted(write: Callable[[Path], object]) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        write(path)
        data = bytearray(path.read_bytes())
        data[20:120] = bytes(100)
        path.write_bytes(bytes(data))

    return damage


def zipped(members: dict[str, str]) -> Callable[[Path], object]:
    def pack(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return pack


def gzipped(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(gzip.compress(content.encode()))


PAGE = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in</body></html>"


def left_behind(store: Any, step: str) -> list[str]:
    root = Path(store.objects.root)
    if not root.exists():
        return []
    files = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    return [name for name in files if name.startswith(".tmp") or name.startswith(f"receipts/tested/{step}/")]
