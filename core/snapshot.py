"""The snapshot: a frozen picture of the engine for the screen and ``status``.

Built on request, never kept. Everything is already text or plain numbers: the screen does not
know ticks. ``None`` means not known, and a pane must say so.
"""

from __future__ import annotations

import msgspec

from core.model.decision import Forecast
from core.model.market import FeedState


class BookLevel(msgspec.Struct, frozen=True):
    price: str
    qty: str
    ticks: int
    lots: int
    own_lots: int = 0
    """Our own working lots at this price."""


class Bar(msgspec.Struct, frozen=True):
    """One-second bar of the mid, stamped at its end; prices as floats, for drawing only."""

    end_s: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class FeedView(msgspec.Struct, frozen=True):
    state: FeedState
    reason: str
    age_ms: int | None
    """Since the last frame of this instrument; None before the first."""
    frames: int
    gaps: int
    resyncs: int
    refused: int
    latency_ms: float | None
    """Receive time minus venue time of the last message; clocks are not assumed in step."""
    since_ms: int | None = None
    """How long the feed has been in its state; None before the first change."""
    causes: dict[str, int] = {}
    """How often each cause changed the state or its reason; ``FeedCause``."""
    crossed: int = 0
    """Times the book was found crossed or locked after a message."""
    trades: int = 0
    bids_known_to: str | None = None
    """Lowest bid down to which every level is known; None for a side known to its end."""
    asks_known_to: str | None = None
    floored: int = 0
    """Quantities off the lot grid that were taken down to whole lots."""
    unseen_s: int | None = None
    """How long a lost book message can stay unseen, because the venue numbers none; None: it
    cannot."""


class AgentPane(msgspec.Struct, frozen=True):
    agent_id: str
    short: float
    flat: float
    long: float
    entropy: float
    """Over ln 3, in [0, 1]."""
    entropy_history: tuple[float, ...]
    note: str
    """Where it was trained and how it did there."""


class ExitsView(msgspec.Struct, frozen=True):
    """The exits attached to a position. None of a level or of the time: it is off."""

    stop: str | None
    target: str | None
    left_s: float | None
    """Until the time stop; below zero it is overdue."""
    stop_bps: float | None
    """From the price that would touch it; None while off or without a book to believe."""
    target_bps: float | None
    by_hand: tuple[str, ...] = ()
    """Kinds that the trader has set."""
    blind: str = ""
    """Why none of them can act now; empty while they can."""


class PositionView(msgspec.Struct, frozen=True):
    instrument: str
    lots: int
    qty: str
    average_price: str
    mark: str | None
    unrealized: str | None
    realized: str
    held_s: int
    exits: ExitsView | None = None
    """None while flat."""
    doing: str = ""
    """``closing`` or ``reversing`` while that goes on."""


class OrderView(msgspec.Struct, frozen=True):
    client_order_id: str
    instrument: str
    side: str
    qty: str
    filled: str
    limit: str
    status: str
    age_ms: int


class FillCostView(msgspec.Struct, frozen=True):
    """What the order of a fill cost against the mid it found, and where the mid went after it."""

    expected_bps: float | None
    realized_bps: float | None
    """Of the whole order; None until it has ended. Above zero is worse for us."""
    cost: str | None
    """The same in quote currency."""
    is_bad: bool
    markout_1s_bps: float | None
    """Of this fill; None: not due yet, or there was no book to believe. Above zero is our way."""
    markout_10s_bps: float | None


class CostsView(msgspec.Struct, frozen=True):
    """Means over the newest orders (at most 500) that have ended with a fill, and their fills."""

    orders: int = 0
    expected_bps: float | None = None
    realized_bps: float | None = None
    markout_1s_bps: float | None = None
    markout_10s_bps: float | None = None
    bad_in_a_row: int = 0
    """Of the worst instrument."""
    bad_count: int = 0
    """As many in a row pause an instrument."""


class FillView(msgspec.Struct, frozen=True):
    seq: int
    time: str
    instrument: str
    side: str
    price: str
    qty: str
    fee: str
    realized: str
    rationale: str
    cost: FillCostView | None = None
    """None if its order is not remembered, as after a restart."""


class SignalView(msgspec.Struct, frozen=True):
    name: str
    value: float
    """About [-1, 1]; positive leans up."""
    share: float
    """Share in the log-odds at the main horizon."""


class ProposalView(msgspec.Struct, frozen=True):
    decision_id: str
    instrument: str
    action: str
    side: str
    qty: str
    notional: str
    limit: str
    p_up: float
    horizon_s: int
    edge_bps: float
    cost_bps: float
    drift_ticks: float
    """Mid now against mid at the decision; positive is against us."""
    left_ms: int
    life_ms: int
    rationale: str
    shares: tuple[SignalView, ...]
    exits: ExitsView | None = None
    """What the entry will carry, as a fill at its limit would set it; distances from there."""
    exits_note: str = ""
    """Said in place of them, of an entry that adds to a position."""


class InstrumentView(msgspec.Struct, frozen=True):
    name: str
    base: str
    quote: str
    tick_size: str
    feed: FeedView
    bids: tuple[BookLevel, ...]
    """Best first."""
    asks: tuple[BookLevel, ...]
    last_trade: str | None
    last_trade_side: int
    spread: str | None
    mid: float | None
    volatility_bps: float | None
    volatility_bucket: str | None
    """``calm``, ``normal``, ``lively``, ``wild``; None until there is a history."""
    signals: tuple[SignalView, ...]
    forecasts: tuple[Forecast, ...]
    agent: AgentPane | None
    agent_note: str
    """Why there is no agent view, when there is none."""
    bars: tuple[Bar, ...]
    waiting_for: str
    """Why there is no proposal now, in words; empty when one is open."""


class DifferenceView(msgspec.Struct, frozen=True):
    """Where the broker says other than we; nothing new is traded while there is one."""

    key: str
    text: str
    remedies: tuple[str, ...]
    """What the trader may say about it."""


class PnlView(msgspec.Struct, frozen=True):
    currency: str
    realized: str
    unrealized: str | None
    """None while a held instrument has no mark."""
    fees: str
    total: str | None
    exposure: str | None
    daily_loss_limit: str
    curve: tuple[float, ...]
    """Total P&L once a second, oldest first, for drawing."""
    today: str | None = None
    """Realized since 00:00 UTC plus unrealized: what the daily loss limit looks at."""


class RiskView(msgspec.Struct, frozen=True):
    is_halted: bool
    halt_reason: str
    halt_since: str
    blocked: str
    """Why no new order may leave now, though not halted; empty when one may."""
    last_denial: str
    differences: tuple[DifferenceView, ...] = ()
    halts: dict[str, str] = {}
    """Why single scopes are halted (``core.scopes``), besides all of it."""


class HealthView(msgspec.Struct, frozen=True):
    queue_depth: int
    queue_bound: int
    decision_us_p50: float | None
    decision_us_p99: float | None
    feed_us_p99: float | None
    """Frame received to features, engine side."""
    ledger_seq: int
    ledger_hash: str
    """First 12 hex digits of the newest event's hash; empty while the writer has none."""
    rss_mib: float
    queue_waiting_ms: int = 0
    """How long the oldest order in the queue waits."""
    queue_longest_ms: int = 0
    """Longest time from an order's decision to its leaving, since the start."""
    queue_deepest: int = 0
    queue_refused: int = 0
    """Orders denied because the queue was full."""
    queue_overtaken: int = 0
    """Cancels that went before an order that waited."""
    fills_repeated: int = 0
    """Fills told again; each counted once."""
    orders_in_doubt: int = 0
    """Orders the venue is being asked about."""


class ConnectionView(msgspec.Struct, frozen=True):
    """One venue's feed: what its protocol and its socket count, since the start."""

    venue: str
    frames: int
    refused: int
    ignored: int
    gaps: int
    resyncs: int
    checks: int
    checks_failed: int
    trades_lost: int
    heartbeats_lost: int
    has_socket: bool = False
    """False in a replay and on the simulated market: what follows means nothing then."""
    is_connected: bool = False
    connects: int = 0
    attempts: int = 0
    """In a row, without a connection that lasted."""
    next_attempt_ms: int | None = None
    last_error: str = ""
    fetches: int = 0
    fetch_failures: int = 0
    handovers: int = 0
    handovers_failed: int = 0


class RecordingView(msgspec.Struct, frozen=True):
    """Tape and capture of this run, and what the folders of all runs hold."""

    tape_rows: int
    tape_rows_lost: int
    tape_bytes: int
    """Written by this run."""
    tapes_bytes: int
    """Of all runs, as last measured."""
    tapes_bound: int
    is_recording: bool
    records: int
    records_dropped: int
    captures_bytes: int
    captures_bound: int
    files_removed: int
    """By this run, to keep the bounds."""
    trouble: str
    """Why tape or recording has ended, or a bound is not kept; empty when all is well."""


class ClientsView(msgspec.Struct, frozen=True):
    """Screens and commands at the control socket, since the start."""

    bad_frames: int = 0
    slow: int = 0
    """Cut off because they did not read."""
    displaced: int = 0
    """Cut off to let another one in."""


class Notice(msgspec.Struct, frozen=True):
    """Something the trader should read once."""

    number: int
    time: str
    severity: str
    """``info``, ``warning``, ``error``."""
    text: str


class Snapshot(msgspec.Struct, frozen=True):
    number: int
    ts_ns: int
    """Engine time."""
    made_ns: int
    """Wall clock of the engine process; the screen shows its age."""
    started_ns: int
    account: str
    """``SIM``, ``PAPER`` or ``LIVE``."""
    venue: str
    source: str
    """``live``, ``sim``, ``replay FILE``."""
    mode: str
    run_id: str
    version: str
    instruments: tuple[InstrumentView, ...]
    proposals: tuple[ProposalView, ...]
    positions: tuple[PositionView, ...]
    orders: tuple[OrderView, ...]
    fills: tuple[FillView, ...]
    """Newest first, at most 50."""
    pnl: PnlView
    risk: RiskView
    health: HealthView
    notices: tuple[Notice, ...]
    connections: tuple[ConnectionView, ...] = ()
    """One a venue."""
    recording: RecordingView | None = None
    """None where nothing is kept: a replay."""
    clients: ClientsView = ClientsView()
    frames_per_s: float | None = None
    """Over the last seconds; None before there were two looks."""
    costs: CostsView = CostsView()
    finished: str = ""
    """Why the feed ended for good (end of capture, fatal error); empty while it runs."""
