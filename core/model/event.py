"""Ledger events: what happened and why, one Struct a type, written once and never changed.

Fields hold text, integers and bools only where they matter for hashing: the ledger turns floats
into fixed decimal text (``ledger.canonical``). Wall-clock facts of a run stand outside.
"""

from __future__ import annotations

from typing import Any

import msgspec

from core.model.decision import LimitCheck, Mode, Proposal, Verdict
from core.model.market import FeedState
from core.model.order import Fill, Order


class LedgerEvent(msgspec.Struct, frozen=True, tag_field="type"):
    """Root of all ledger events; the class name is the type tag."""


class RunStarted(LedgerEvent, frozen=True, tag="RUN_STARTED"):
    """A process began to trade; everything that fixes its behaviour."""

    run_id: str
    program_version: str
    code_digest: str
    config_digest: str
    limits_digest: str
    venue: str
    instruments: tuple[dict[str, str], ...]
    """Name, base, quote, tick size, lot size of each, as text; of several venues its venue too."""
    mode: Mode
    broker: str
    seed: int
    source: str
    """``live``, ``sim`` or the sha256 of the capture replayed."""
    agent: dict[str, str]
    """Agent id and digests; empty without an agent."""
    settings: dict[str, Any]
    """The whole configuration in force."""


class RunEnded(LedgerEvent, frozen=True, tag="RUN_ENDED"):
    run_id: str
    reason: str
    counters: dict[str, int]


class Recovered(LedgerEvent, frozen=True, tag="RECOVERED"):
    """What a start found left over from before and what it did about it."""

    orders_closed: tuple[str, ...]
    """Client ids of orders that were open when the last process died."""
    positions: dict[str, int]
    """Lots by instrument, rebuilt from fills."""
    note: str


class FeedChanged(LedgerEvent, frozen=True, tag="FEED_CHANGED"):
    instrument: str
    state: FeedState
    reason: str


class Decided(LedgerEvent, frozen=True, tag="DECISION"):
    """A proposal with its whole rationale, before anybody answered it."""

    proposal: Proposal
    mode: Mode
    alternatives: tuple[str, ...] = ()


class NotDecided(LedgerEvent, frozen=True, tag="NO_TRADE"):
    """The signal asked for a trade and a rule said no; written when the reason changes."""

    instrument: str
    reason: str
    p_up: float
    horizon_s: int
    edge_bps: float
    cost_bps: float


class Answered(LedgerEvent, frozen=True, tag="APPROVAL"):
    """How a proposal ended, who said so, after how long and at what drift."""

    decision_id: str
    verdict: Verdict
    actor: str
    """``human:trader``, ``mode:auto``, ``system``."""
    waited_ns: int
    drift_ticks: float
    """Mid now minus mid at the decision, signed by the side: positive is against us."""
    note: str = ""


class RiskChecked(LedgerEvent, frozen=True, tag="RISK_CHECK"):
    client_order_id: str
    decision_id: str
    allowed: bool
    code: str
    """Denial code, empty when allowed."""
    checks: tuple[LimitCheck, ...]


class OrderIntended(LedgerEvent, frozen=True, tag="ORDER_INTENT"):
    """Durable before the order leaves."""

    order: Order


class OrderChanged(LedgerEvent, frozen=True, tag="ORDER_STATUS"):
    """The venue (or we, for a denial) moved an order to ``status``."""

    client_order_id: str
    status: str
    reason: str
    filled_lots: int


class CancelIntended(LedgerEvent, frozen=True, tag="CANCEL_INTENT"):
    client_order_id: str
    actor: str
    reason: str


class Filled(LedgerEvent, frozen=True, tag="FILL"):
    """Our execution with its cost and what it realized."""

    fill: Fill
    decision_id: str
    price: str
    quantity: str
    notional: str
    realized_pnl: str
    """Realized by this fill, fees of both legs included, in quote currency."""
    position_lots: int
    """Position after it."""
    rationale: str


class KillTripped(LedgerEvent, frozen=True, tag="KILL"):
    scope: str
    """``all`` or an instrument."""
    actor: str
    reason: str


class Rearmed(LedgerEvent, frozen=True, tag="RE_ENABLED"):
    actor: str
    reason: str


class ModeChanged(LedgerEvent, frozen=True, tag="MODE_CHANGED"):
    mode: Mode
    actor: str


class CommandRefused(LedgerEvent, frozen=True, tag="COMMAND_REFUSED"):
    """A human command that could not be carried out, and why."""

    command: str
    actor: str
    reason: str


class FilesRemoved(LedgerEvent, frozen=True, tag="FILES_REMOVED"):
    """Recordings that went to keep a folder within its bound: they can prove nothing any more."""

    kind: str
    """``tape`` or ``capture``."""
    names: tuple[str, ...]
    """Oldest first."""
    size_bytes: int
    bound_bytes: int
    """``[storage]``, of all runs together."""


AnyEvent = (
    RunStarted | RunEnded | Recovered | FeedChanged | Decided | NotDecided | Answered | RiskChecked
    | OrderIntended | OrderChanged | CancelIntended | Filled | KillTripped | Rearmed | ModeChanged
    | CommandRefused | FilesRemoved
)  # fmt: skip
