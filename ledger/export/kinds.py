"""What a column holds and what time is asked for: the words that all exports share."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What a column holds, which decides how each format writes it."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    """Exact: money, price, quantity; plain decimal text in all text formats."""
    FLOAT = "float"
    """A measurement of 9 significant digits."""
    JSON = "json"


class Table(NamedTuple):
    """One table that can be exported."""

    columns: dict[str, Kind]
    sql: str
    """Gives the columns in order; takes the fields of ``Period`` as parameters."""


class Period(NamedTuple):
    """From ``since`` up to, not including, ``until``; ISO text with nanoseconds, UTC."""

    since: str = ""
    until: str = "~"
    """``~`` sorts after every time."""
    instrument: str = ""
    """Only of this instrument; empty for all."""
    run: str = ""
    """Only of the run whose id begins so; empty for all."""
