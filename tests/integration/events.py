"""OpenLineage events as a graph, for the tests that walk along it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Namespace, name and version; None when nothing tells it.
Node = tuple[str, str, "str | None"]


class Graph:
    """What came of what, by state: the version of every dataset counts.

    :param events: each with `inputs` and `outputs`, as JSON.
    """

    def __init__(self, events: Iterable[dict[str, Any]]) -> None:
        self._edges = [
            ({_node(one) for one in event["inputs"]}, {_node(one) for one in event["outputs"]}) for event in events
        ]

    @property
    def made(self) -> set[Node]:
        """Everything that a task made."""
        return {node for _, outputs in self._edges for node in outputs}

    def behind(self, node: Node) -> set[Node]:
        """Everything that a dataset came of."""
        found: set[Node] = set()
        ahead = {node}
        while ahead:
            come = {one for inputs, outputs in self._edges if outputs & ahead for one in inputs}
            ahead = come - found
            found |= come
        return found


def _node(dataset: dict[str, Any]) -> Node:
    version = dataset.get("facets", {}).get("version", {}).get("datasetVersion")
    return dataset["namespace"], dataset["name"], version
