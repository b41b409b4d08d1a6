"""Trading halts: what the status codes of the two tape plans say of trading.

Source: Alpaca "Real-time Stock Data", status and reason codes (copy of 2026-01-26, read
2026-11-23). The venue's own words (``sm``, ``rm``) are what is shown; the table of reasons stands
in where the venue sends a code alone.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from core.feeds.times import printable


class Trading(Enum):
    """What a status says of trading."""

    STOPPED = "stopped"
    GOES_ON = "goes on"
    UNTOUCHED = "untouched"
    """An indication, an imbalance, a restriction: trading is as it was."""


_CTA = {
    "2": ("Trading Halt", Trading.STOPPED),
    "3": ("Resume", Trading.GOES_ON),
    "5": ("Price Indication", Trading.UNTOUCHED),
    "6": ("Trading Range Indication", Trading.UNTOUCHED),
    "7": ("Market Imbalance Buy", Trading.UNTOUCHED),
    "8": ("Market Imbalance Sell", Trading.UNTOUCHED),
    "9": ("Market On Close Imbalance Buy", Trading.UNTOUCHED),
    "A": ("Market On Close Imbalance Sell", Trading.UNTOUCHED),
    "C": ("No Market Imbalance", Trading.UNTOUCHED),
    "D": ("No Market On Close Imbalance", Trading.UNTOUCHED),
    "E": ("Short Sale Restriction", Trading.UNTOUCHED),
    "F": ("Limit Up-Limit Down", Trading.UNTOUCHED),
}
"""Tapes A and B. F brings price bands; a pause for them is 2 with reason M."""

_UTP = {
    "H": ("Trading Halt", Trading.STOPPED),
    "P": ("Volatility Trading Pause", Trading.STOPPED),
    # Quotes come back minutes before trades do: still nothing can be traded.
    "Q": ("Quotation Resumption", Trading.STOPPED),
    "T": ("Trading Resumption", Trading.GOES_ON),
}
"""Tapes C and O."""

_REASONS = {
    "A": {
        "D": "News Released",
        "I": "Order Imbalance",
        "M": "Limit Up-Limit Down (LULD) Trading Pause",
        "P": "News Pending",
        "X": "Operational",
        "Y": "Sub-Penny Trading",
        "1": "Market-Wide Circuit Breaker Level 1",
        "2": "Market-Wide Circuit Breaker Level 2",
        "3": "Market-Wide Circuit Breaker Level 3",
    },
    "C": {
        "T1": "Halt News Pending",
        "T2": "Halt News Dissemination",
        "T3": "News and Resumption Times",
        "T5": "Single Stock Trading Pause In Effect",
        "T6": "Regulatory Halt Extraordinary Market Activity",
        "T7": "Single Stock Trading Pause/Quotation-Only Period",
        "T8": "Halt ETF",
        "T12": "Trading Halted; For information requested by NASDAQ",
        "H4": "Halt Non Compliance",
        "H9": "Halt Filings Not Current",
        "H10": "Halt SEC Trading Suspension",
        "H11": "Halt Regulatory Concern",
        "01": "Operations Halt, Contact Market Operations",
        "IPO1": "IPO Issue not yet Trading",
        "IPOQ": "IPO security released for quotation",
        "IPOE": "IPO security, positioning window extension",
        "M1": "Corporate Action",
        "M2": "Quotation Not Available",
        "LUDP": "Volatility Trading Pause",
        "LUDS": "Volatility Trading Pause, Straddle Condition",
        "MWC1": "Market Wide Circuit Breaker Halt, Level 1",
        "MWC2": "Market Wide Circuit Breaker Halt, Level 2",
        "MWC3": "Market Wide Circuit Breaker Halt, Level 3",
        "MWC0": "Market Wide Circuit Breaker Halt, from the previous day",
        "MWCQ": "Market Wide Circuit Breaker Resumption",
        "R1": "New Issue Available",
        "R": "Issue Available",
        "R4": "Qualifications Issues Reviewed/Resolved",
        "R9": "Filing Requirements Satisfied/Resolved",
        "C3": "Issuer News Not Forthcoming",
        "C4": "Qualifications Halt ended",
        "C9": "Qualifications Halt Concluded",
        "C11": "Trade Halt Concluded By Other Regulatory Authority",
    },
}
_PLAN = {"A": (_CTA, "A"), "B": (_CTA, "A"), "C": (_UTP, "C"), "O": (_UTP, "C")}


class StatusMessage(msgspec.Struct, gc=False):
    """``T: s``, the fields used."""

    sc: str
    sm: str = ""
    rc: str = ""
    rm: str = ""
    z: str = ""


def trading_of(status: StatusMessage) -> Trading | None:
    """Return what the status says of trading; None for a code that is not known."""
    if status.z in _PLAN:
        return _PLAN[status.z][0].get(status.sc, ("", None))[1]
    # Without a tape the code itself tells the plan: the tables share none.
    return (_CTA | _UTP).get(status.sc, ("", None))[1]


def words_of(status: StatusMessage) -> str:
    """Return the venue's words, as ``Trading Halt: News Pending (P)``, safe to show."""
    codes, reasons = _PLAN.get(status.z, (_CTA | _UTP, ""))
    said = status.sm or codes.get(status.sc, ("status " + status.sc,))[0]
    why = status.rm or _REASONS.get(reasons, {}).get(status.rc, "")
    code = f" ({status.rc})" if status.rc else ""
    return printable(f"{said}: {why}{code}" if why else f"{said}{code}")
