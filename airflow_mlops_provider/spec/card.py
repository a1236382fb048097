"""What only people know of a model: the words on its card (Mitchell et al., Model Cards for Model Reporting, 2019)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from airflow_mlops_provider.spec.frozen import Frozen

_Text = Annotated[str, Field(max_length=2000)]


class Card(Frozen):
    """What the card of each version says besides what was measured."""

    intended_use: _Text = Field(
        "", description="What the model is for, and who uses it; the description when left out."
    )
    out_of_scope: _Text = Field("", description="What it must not be used for.")
    limits: list[_Text] = Field(
        default_factory=list, max_length=20, description="What is known not to work, one sentence each."
    )
    ethics: _Text = Field("", description="Whom it may harm, and what is done about that.")
    contact: _Text = Field("", description="Who answers questions.")
