"""How a file of events is to be read, where its name and its content do not tell."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, TypedDict

from htcgrid_core.domain.errors import InvalidInput

DECIMALS = ("text", "number")
_WORDS = {"tab": "\t", r"\t": "\t"}


class ReadOptions(TypedDict, total=False):
    """Options of ``events_in`` and ``events_from``."""

    separator: str | None
    decimal: Literal[".", ","]
    quote: str
    encoding: str
    decimals: Literal["text", "number"]


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """How a CSV file is written.

    Attributes:
        separator: between columns; "tab" is one too. None: a comma, or what the file's first line says (``sep=;``).
        decimal: the mark in numbers. With a comma, numbers such as 1.234,56 are read as 1234.56.
        quote: around texts that hold a separator; empty if nothing is quoted.
        encoding: of the text.
    """

    separator: str | None = None
    decimal: Literal[".", ","] = "."
    quote: str = '"'
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        separator = _WORDS.get(self.separator or "", self.separator)
        object.__setattr__(self, "separator", separator)
        if separator is not None and (len(separator) != 1 or separator in '\r\n"' or separator == self.quote):
            raise InvalidInput(f"separator={separator!r}: one character between columns is needed, or tab")
        if self.decimal not in (".", ","):
            raise InvalidInput(f"decimal={self.decimal!r}: the mark in numbers is . or ,")
        if len(self.quote) > 1 or self.quote in ("\r", "\n"):
            raise InvalidInput(f"quote={self.quote!r}: one character around texts is needed, or none")
        try:
            "".encode(self.encoding)
        except (LookupError, ValueError) as error:
            raise InvalidInput(f"encoding={self.encoding!r}: {error}") from error


@dataclass(frozen=True, slots=True)
class ParquetOptions:
    """How what JSON has no type for is written for a named handler.

    Attributes:
        decimals: "text", with all digits; or "number", where none are lost.
    """

    decimals: Literal["text", "number"] = "text"

    def __post_init__(self) -> None:
        if self.decimals not in DECIMALS:
            raise InvalidInput(f"decimals={self.decimals!r}: {' or '.join(DECIMALS)}")


@dataclass(frozen=True, slots=True)
class NoOptions:
    """JSON says all by itself."""


def options_of(kind: str, given: Any) -> Any:
    """The options of a format.

    Raises:
        InvalidInput: one of those given is not of this format, or has no such value.
    """
    known = {"csv": CsvOptions, "parquet": ParquetOptions}.get(kind, NoOptions)
    unknown = sorted(set(given) - {field.name for field in fields(known)})
    if unknown:
        raise InvalidInput(f"a {kind} file is read without {', '.join(unknown)}")
    return known(**given)
