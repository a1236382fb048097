"""The datasets of a task's event, before they are OpenLineage's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from airflow_mlops_provider.lineage.places import Place


class LineageColumn(NamedTuple):
    """One column of a table: its type, and its role as the pipeline file has it."""

    name: str
    type: str | None
    role: str


@dataclass(frozen=True)
class Assertion:
    """The verdict of a check of data, or of a gate.

    :param blocks: whether it stops the pipeline when it does not hold.
    """

    kind: str
    name: str
    holds: bool
    blocks: bool
    expected: str
    actual: str | None
    column: str | None = None


@dataclass(frozen=True)
class Node:
    """A dataset in one state.

    :param version: which state it is; None when nothing tells.
    :param locations: URIs of the files that are this state.
    :param is_model: whether it is a model.
    :param rows: rows that were written.
    :param size: bytes that were written.
    """

    place: Place
    version: str | None = None
    locations: tuple[str, ...] = ()
    is_model: bool = False
    columns: tuple[LineageColumn, ...] = ()
    rows: int | None = None
    size: int | None = None
    assertions: tuple[Assertion, ...] = ()


@dataclass
class Edges:
    """What a task read, and what it made; of each dataset the last state."""

    inputs: dict[Place, Node] = field(default_factory=dict)
    outputs: dict[Place, Node] = field(default_factory=dict)

    def read(self, *nodes: Node) -> None:
        """Add what was read."""
        self.inputs |= {node.place: node for node in nodes}

    def made(self, *nodes: Node) -> None:
        """Add what was made."""
        self.outputs |= {node.place: node for node in nodes}
