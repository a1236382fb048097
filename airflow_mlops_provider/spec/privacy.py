"""The section `data.privacy`: what of people must not be stored as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from airflow_mlops_provider.spec.frozen import Frozen, Share

if TYPE_CHECKING:
    from airflow_mlops_provider.spec.data import Columns

Kind = Literal["email", "phone", "card", "national_id"]
Action = Literal["drop", "hash", "forbid"]

#: By python-stdnum's names. Each has a checksum or a form that a number seldom has by chance.
NATIONAL_IDS = (
    "at.vnr", "be.nn", "ch.ssn", "de.idnr", "dk.cpr", "es.dni", "es.nie", "fi.hetu", "fr.nir", "ie.pps",
    "it.codicefiscale", "nl.bsn", "no.fodselsnummer", "pl.pesel", "se.personnummer", "us.ssn",
)  # fmt: skip


class Privacy(Frozen):
    """Which columns that identify people are dropped, hashed or refused before anything is stored."""

    drop: list[str] = Field(
        default_factory=list,
        description="Columns that are not read, whatever their role. The target and the timestamp cannot be dropped.",
    )
    hash: list[str] = Field(
        default_factory=list,
        description="Keys, categories and groups whose values are stored as HMAC-SHA256 hashes. Hashing needs "
        "`conn_id`.",
    )
    forbid: list[str] = Field(
        default_factory=list, description="Columns that the source must not contain. One that it contains is an error."
    )
    recognise: dict[Kind, Action] = Field(
        default_factory=dict,
        description="What happens to columns whose values look like `email`, `phone`, `card` or `national_id`: `drop`, "
        "`hash` or `forbid`, by kind.",
    )
    min_share: Share | None = Field(
        None,
        description="Share of a column's values that must match a kind for it to be recognised. By default, one value "
        "is enough for `email` and `phone`, and a fifth is needed for `card` and `national_id`.",
    )
    national_ids: list[str] = Field(
        list(NATIONAL_IDS),
        description="Kinds of `national_id` to recognise, as module names of python-stdnum such as `us.ssn`.",
    )
    conn_id: str | None = Field(
        None, description="Airflow connection whose password is the secret key of the hashes. Needed for hashing."
    )

    @property
    def hashes(self) -> bool:
        """Whether a column may be hashed, which takes a secret."""
        return bool(self.hash) or "hash" in self.recognise.values()

    @model_validator(mode="after")
    def _lists_agree(self) -> Privacy:
        named = [*self.drop, *self.hash, *self.forbid]
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(f"columns named twice: {twice}")
        if self.hashes and self.conn_id is None:
            raise ValueError("hash needs conn_id, the Airflow connection whose password is the secret")
        for name in self.national_ids:
            if not all(part.rstrip("_").isidentifier() for part in name.split(".")):
                raise ValueError(f"national_ids names {name!r}; expected a name such as us.ssn")
        return self


def privacy_problem(privacy: Privacy, columns: Columns) -> str | None:
    """Return why a policy cannot be kept with these roles; None when it can."""
    needed = [columns.target, *([columns.timestamp] if columns.timestamp else [])]
    if protected := [name for name in (*privacy.drop, *privacy.hash) if name in needed]:
        return f"privacy names {protected[0]!r}, the target or timestamp, which cannot be dropped or hashed"
    if wanted := [name for name in privacy.forbid if name in columns.all]:
        return f"privacy.forbid names {wanted[0]!r}, which has a role in data.columns: remove it from one of them"
    if unfit := [name for name in privacy.hash if name not in (*columns.keys, *columns.categorical, *columns.groups)]:
        return f"privacy.hash names {unfit[0]!r}, not among the keys, categories and groups: a hash is text"
    if not set(columns.features) - set(privacy.drop):
        return "privacy.drop leaves no feature"
    return None
