"""The face that ours and every peer wear in the benchmark, and how the installed ones are found."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from bench.peers.scenario import Frame, Scenario

Side = dict[Decimal, Decimal]
"""Price to quantity of every level of one side."""


class Sides(NamedTuple):
    """Every level of one instrument's book."""

    bids: Side
    asks: Side


class Absent(Exception):
    """This peer cannot take part; the message says why."""


class Contender(Protocol):
    """One way from a frame to a book; ``receive`` alone is timed."""

    name: str
    does: str
    """What one ``receive`` does, for the reader of the table."""

    def inputs(self, frames: Sequence[Frame]) -> list[Any]:
        """Return what ``receive`` takes of each frame, made before the timer runs."""

    def start(self, scenario: Scenario) -> None:
        """Make new books, brought to just before the first measured message."""

    def receive(self, one: Any) -> object:
        """Take one message: decode it, change the book, read what the row says."""

    def books(self) -> dict[str, Sides]:
        """Return every level of every book by instrument name."""


PEERS = ("sortedcontainers", "cryptofeed", "ccxt", "nautilus", "hftbacktest")
_DISTRIBUTIONS = {"nautilus": "nautilus_trader"}


def find_peers(scenario: Scenario, names: Sequence[str]) -> tuple[list[Contender], list[str]]:
    """Return the peers that can read this scenario, and a line for each that cannot."""
    found: list[Contender] = []
    absent: list[str] = []
    for name in names:
        try:
            module = importlib.import_module(f"bench.peers.{name}")
            found += module.contenders(scenario)
        except ImportError as error:
            absent.append(f"{name}: not installed here ({error})")
        except Absent as error:
            absent.append(f"{name}: {error}")
    return found, absent


def version(name: str) -> str:
    """Return the installed version of a peer, or an empty text."""
    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(name, name))
    except importlib.metadata.PackageNotFoundError:
        return ""
