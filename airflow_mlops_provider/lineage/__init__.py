"""What a task read and made, as OpenLineage events tell it.

Only OpenLineage's own listener calls `openlineage_facets`, after the task: nothing here is imported otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_mlops_provider.lineage.work import Work
    from airflow_mlops_provider.storage import ArtifactStore


def openlineage_facets(work: Work, store: Callable[[], ArtifactStore]) -> OperatorLineage[Any, Any]:
    """Return the datasets of a task's event; of a task that failed, what it was given.

    :param store: gives the artifact store, where the single checks of data and gates lie.
    """
    from airflow_mlops_provider.lineage.events import operator_lineage
    from airflow_mlops_provider.lineage.steps import edges_of

    return operator_lineage(edges_of(work, store))
