"""What only people know of a model: the words on its card (Mitchell et al., Model Cards for Model Reporting, 2019)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from airflow_mlops_provider.spec.frozen import Frozen

_Text = Annotated[str, Field(max_length=2000)]


class Card(Frozen):
    """Text for the model card of each version, beside the measured figures."""

    intended_use: _Text = Field(
        "", description="What the model is for and who uses it. Defaults to the pipeline's `description`."
    )
    out_of_scope: _Text = Field("", description="What the model must not be used for.")
    limits: list[_Text] = Field(
        default_factory=list, max_length=20, description="Known weaknesses of the model, one sentence each."
    )
    ethics: _Text = Field("", description="Whom the model may harm, and what is done about it.")
    contact: _Text = Field("", description="Who answers questions about the model.")
