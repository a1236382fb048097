"""From our datasets to OpenLineage's, with its standard facets alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.generated import (
    base_subset_dataset,
    data_quality_assertions_dataset,
    dataset_type_dataset,
    dataset_version_dataset,
    output_statistics_output_dataset,
    schema_dataset,
)

if TYPE_CHECKING:
    from openlineage.client.generated.base import DatasetFacet, InputDatasetFacet, OutputDatasetFacet

    from airflow_mlops_provider.lineage.nodes import Assertion, Edges, Node


def operator_lineage(edges: Edges) -> OperatorLineage[Any, Any]:
    """Return what OpenLineage's listener takes."""
    return OperatorLineage(
        inputs=[_input(node) for node in edges.inputs.values()],
        outputs=[_output(node) for node in edges.outputs.values()],
    )


def _input(node: Node) -> InputDataset:
    found: dict[str, InputDatasetFacet] = {}
    if node.assertions:
        found["dataQualityAssertions"] = data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
            assertions=[_assertion(one) for one in node.assertions]
        )
    if node.locations:
        found["subset"] = base_subset_dataset.InputSubsetInputDatasetFacet(inputCondition=_at(node))
    return InputDataset(
        namespace=node.place.namespace,
        name=node.place.name,
        facets=_facets(node),
        inputFacets=found,
    )


def _output(node: Node) -> OutputDataset:
    written: dict[str, OutputDatasetFacet] = {}
    if node.size is not None:
        written["outputStatistics"] = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=node.rows, size=node.size
        )
    if node.locations:
        written["subset"] = base_subset_dataset.OutputSubsetOutputDatasetFacet(outputCondition=_at(node))
    return OutputDataset(
        namespace=node.place.namespace,
        name=node.place.name,
        facets=_facets(node),
        outputFacets=written,
    )


def _facets(node: Node) -> dict[str, DatasetFacet]:
    facets: dict[str, DatasetFacet] = {}
    if node.version is not None:
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=node.version)
    if node.is_model:
        facets["datasetType"] = dataset_type_dataset.DatasetTypeDatasetFacet(datasetType="MODEL")
    if node.columns:
        facets["schema"] = schema_dataset.SchemaDatasetFacet(
            fields=[
                schema_dataset.SchemaDatasetFacetFields(name=column.name, type=column.type, description=column.role)
                for column in node.columns
            ]
        )
    return facets


def _at(node: Node) -> base_subset_dataset.LocationSubsetCondition:
    return base_subset_dataset.LocationSubsetCondition(locations=list(node.locations))


def _assertion(found: Assertion) -> data_quality_assertions_dataset.Assertion:
    return data_quality_assertions_dataset.Assertion(
        assertion=found.kind,
        name=found.name,
        success=found.holds,
        column=found.column,
        severity="error" if found.blocks else "warn",
        expected=found.expected,
        actual=found.actual,
    )
