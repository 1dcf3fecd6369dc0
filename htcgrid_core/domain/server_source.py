"""Server sources: what the server of a grid is to read a session's events from, in the words of a request."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

NAME = r"^[a-z0-9][a-z0-9-]{0,63}$"


def _listed(value: Any) -> Any:
    """One name is a list of one."""
    return [value] if isinstance(value, str) else value


Name = Annotated[str, Field(min_length=1, max_length=256)]
Names = Annotated[list[Name], Field(max_length=1000), BeforeValidator(_listed)]
Condition = (
    Annotated[str, Field(min_length=1, max_length=4096)] | Annotated[list[JsonValue], Field(min_length=3, max_length=3)]
)
Scalar = str | int | float | bool | None
READING = ("separator", "decimal", "quote", "encoding", "decimals")


def _absent(*names: str) -> dict[str, Any]:
    """Of a JSON Schema: nothing is said in these."""
    empty = {"parameters": "maxProperties", "partitions": "maxProperties", "order_by": "maxItems", "where": "maxItems"}
    return {name: {empty[name]: 0} if name in empty else {"type": "null"} for name in names}


# What ``_is_one`` checks, as the schema says it to those who write clients in other languages.
_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {
            "required": ["place"],
            "properties": {
                "place": {"type": "string"},
                **_absent("connection", "table", "query", "parameters", "order_by"),
            },
        },
        {
            "required": ["connection", "table", "order_by"],
            "properties": {
                "connection": {"type": "string"},
                "table": {"type": "string"},
                "order_by": {"minItems": 1},
                **_absent("place", "query", "parameters", "kind", "partitions", *READING),
            },
        },
        {
            "required": ["connection", "query", "order_by"],
            "properties": {
                "connection": {"type": "string"},
                "query": {"type": "string"},
                "order_by": {"minItems": 1},
                **_absent("place", "table", "columns", "where", "kind", "partitions", *READING),
            },
        },
    ]
}


class ServerSource(BaseModel):
    """Where the server reads events: a place below a prefix, or a connection, that its operator registered.

    Attributes:
        place: a folder, a file or a pattern of files: ``s3://BUCKET/...`` or ``file:///...``.
        kind: of the files, if their names do not tell.
        connection: the name of a database.
        table, query: of that, one of them; a query only where the operator permits it.
        parameters: of the query, by name: ``:name`` stands for one.
        order_by: of a database: columns that together are unique.
        columns: only these.
        where: only rows that satisfy all of these: ``day>=2026-01-02``, or (column, operator, value).
        partitions: types of values in the names of folders.
        separator, decimal, quote, encoding: of CSV.
        decimals: of Parquet, "text" or "number".
        once: a name of this use, such as ``price``: the session's id is made of it and of what the input is now, so
            that the same input is the same session, and another one another.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_SCHEMA)

    place: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    kind: Literal["parquet", "arrow", "jsonl", "csv"] | None = None
    connection: Annotated[str, Field(pattern=NAME)] | None = None
    table: Name | None = None
    query: Annotated[str, Field(min_length=1, max_length=100_000)] | None = None
    parameters: dict[str, Scalar] = Field(default_factory=dict, max_length=100)
    order_by: Names = Field(default_factory=list)
    columns: Names | None = None
    where: Annotated[list[Condition], Field(max_length=100), BeforeValidator(_listed)] = Field(default_factory=list)
    partitions: dict[str, str] = Field(default_factory=dict, max_length=100)
    separator: Annotated[str, Field(max_length=1)] | None = None
    decimal: Literal[".", ","] | None = None
    quote: Annotated[str, Field(max_length=1)] | None = None
    encoding: Name | None = None
    decimals: Literal["text", "number"] | None = None
    once: Name | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.place is None) == (self.connection is None):
            raise ValueError("a source is a place or a connection, and one of them")
        if self.place is not None:
            wrong = [name for name in ("table", "query", "parameters", "order_by") if getattr(self, name)]
            if wrong:
                raise ValueError(f"{wrong[0]} is of a connection, not of a place")
            return self
        if (self.table is None) == (self.query is None):
            raise ValueError("of a connection a table or a query is read, and one of them")
        if not self.order_by:
            raise ValueError("rows of a database are read in an order: name unique columns in order_by")
        wrong = [name for name in ("kind", "partitions", *READING) if getattr(self, name)]
        if self.query is not None:
            wrong += [name for name in ("columns", "where") if getattr(self, name)]
        elif self.parameters:
            wrong.append("parameters")
        if wrong:
            raise ValueError(f"{wrong[0]} is not of a {'table' if self.query is None else 'query'}")
        return self

    @property
    def reading(self) -> dict[str, str]:
        """How each file is read, as far as that is said."""
        return {name: value for name in READING if (value := getattr(self, name)) is not None}

    def __str__(self) -> str:
        return self.place or f"connection {self.connection!r}"
