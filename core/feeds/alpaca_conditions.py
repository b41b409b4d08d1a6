"""Which stock prints move the last price and which count volume: sale conditions by tape.

The tables name what is known to be an ordinary print. A print with any other code (late, out of
sequence, odd lot, average or derived price, special settlement, a code not known here) counts its
volume and leaves the last price alone. Sources, read 2026-11-23: Alpaca "Stock Minute Bars", which
follows page 64 of the CTS and page 43 of the UTP specification; the sale condition tables of
Polygon (consolidated rules) and dxFeed (CTS, UTDF, TDDS). ``docs/venues/alpaca.md`` has the rules.
"""

from __future__ import annotations

from collections.abc import Iterable

_BOTH = frozenset(
    {
        "@",  # regular
        "", " ",  # no condition in that place
        "E",  # automatic execution
        "F",  # intermarket sweep
        "K",  # rule 127 or 155
        "O",  # opening
        "T",  # extended hours, in sequence: outside the session every print has it
        "X",  # cross
        "5",  # reopening
        "6",  # closing
        "9",  # corrected consolidated close
    }
)  # fmt: skip
_UTP = _BOTH | {
    "A",  # acquisition
    "B",  # bunched; on CTA tapes B is an average price
    "D",  # distribution
    "S",  # split
    "Y",  # yellow flag
    "1",  # stopped stock
}
_LAST = {"A": _BOTH, "B": _BOTH, "C": _UTP, "O": _UTP}
"""Conditions that move the last price, by tape: A and B are CTA's, C is UTP's, O is OTC's. A
print without a tape is held to what both allow."""

_NO_VOLUME = frozenset({"M", "Q", "9"})
"""Official close, official open, corrected close: they repeat volume that was printed before."""


def makes_last(tape: str, conditions: Iterable[str]) -> bool:
    """Return whether a print with these conditions moves the last price."""
    return _LAST.get(tape, _BOTH).issuperset(conditions)


def counts_volume(conditions: Iterable[str]) -> bool:
    """Return whether a print with these conditions is volume that no other print has."""
    return _NO_VOLUME.isdisjoint(conditions)
