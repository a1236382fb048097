"""JSON that is stored, and read by later releases: the one place that knows how.

A stored document says its `schema`, a number that its class raises when its shape changes. What says none was stored
before there were any, which is schema 1. A later class reads what an earlier one has stored, by `upgraded`; an earlier
one says of what a later one has stored that it is too old for it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import ValidationError, model_validator

from airflow_mlops_provider import __version__
from airflow_mlops_provider.bounds import parse_json
from airflow_mlops_provider.exceptions import ArtifactError, NewerDocumentError
from airflow_mlops_provider.spec.frozen import Frozen

_SCHEMA, _RELEASE = "schema", "release"


class Document(Frozen):
    """A value that is stored as JSON.

    `SCHEMA` is raised when a field comes, goes or means something else, so that an earlier release says that it is too
    old instead of misreading what a later one has stored. `upgraded` brings what earlier ones have stored into today's
    shape.

    >>> class Note(Document):
    ...     SCHEMA = 2
    ...     text: str
    ...
    ...     @classmethod
    ...     def upgraded(cls, raw, schema):
    ...         return {"text": raw["words"]} if schema == 1 else raw
    >>> Note.read({"words": "of an earlier release"}), Note.read(Note(text="of this one").stored())
    (Note(text='of an earlier release'), Note(text='of this one'))
    """

    SCHEMA: ClassVar[int] = 1

    @classmethod
    def upgraded(cls, raw: Any, schema: int) -> Any:
        """Return what was stored under an earlier schema as it is stored today."""
        return raw

    @classmethod
    def read(cls, raw: object, what: str | None = None) -> Self:
        """Return what was stored.

        :param raw: JSON, as text, bytes or the value in it.
        :param what: what errors call it.
        :raises NewerDocumentError: a later release has stored it.
        :raises ArtifactError: it is no such document.
        """
        what = what or f"a stored {cls.__name__}"
        try:
            value = parse_json(raw) if isinstance(raw, str | bytes) else raw
            found = {**value} if isinstance(value, dict) else {_SCHEMA: 1, "": value}
            return cls.model_validate({_SCHEMA: 1, **found})
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ArtifactError(
                f"{what} cannot be read",
                got=_first(error),
                expected=f"a {cls.__name__} of schema {cls.SCHEMA} or earlier",
                hint="Clear the task that made it with the Param `recompute` set.",
            ) from error

    def stored(self, *, release: bool = False, **options: Any) -> dict[str, Any]:
        """Return what is to be stored.

        :param release: say also which release has stored it: not of what is named by its digest, which would change.
        :param options: of pydantic's `model_dump`.
        """
        by = {_RELEASE: __version__} if release else {}
        return {_SCHEMA: self.SCHEMA, **by, **self.model_dump(mode="json", **options)}

    @model_validator(mode="before")
    @classmethod
    def _of_its_schema(cls, raw: Any) -> Any:
        if not isinstance(raw, dict) or _SCHEMA not in raw:
            return raw
        value = dict(raw)
        schema, release = value.pop(_SCHEMA), value.pop(_RELEASE, None)
        if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
            raise ValueError(f"its schema is not a number: {schema!r}")
        if schema > cls.SCHEMA:
            raise NewerDocumentError(
                f"a {cls.__name__} was stored by a later release of airflow-mlops-provider"
                + (f", {release}," if release else "")
                + " which this one cannot read",
                got=f"schema {schema}",
                expected=f"schema {cls.SCHEMA} or earlier; this is release {__version__}",
                hint="Install that release here too, or clear the task that made it with the Param `recompute` set.",
            )
        # What was no mapping, such as a list, was stored as it is.
        return cls.upgraded(value.get("", value), schema) if schema < cls.SCHEMA else value


def _first(error: Exception) -> str:
    """Return what is wrong first, without the values that pydantic shows."""
    if isinstance(error, ValidationError):
        problem = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}".removeprefix(": ")
    return f"{type(error).__name__}: {error}"
