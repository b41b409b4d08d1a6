"""A snapshot to test with: one live instrument, a position, an order, a fill, a proposal."""

from __future__ import annotations

from core.model.decision import Forecast
from core.model.market import FeedState
from core.snapshot import (
    AgentPane,
    BookLevel,
    ClientsView,
    ConnectionView,
    FeedView,
    FillView,
    HealthView,
    InstrumentView,
    OrderView,
    PnlView,
    PositionView,
    ProposalView,
    RecordingView,
    RiskView,
    Snapshot,
)

S = 1_000_000_000
NOON_NS = 1_767_268_800 * S
"""2026-01-01T12:00:00Z."""

FORECAST = Forecast(
    horizon_s=5,
    p_up=0.58,
    base_rate=0.5,
    skill=0.012,
    n_resolved=900,
    moved_share=0.4,
    mean_move_ticks=1.5,
    bias_share=0.0,
    shares=(),
)

FEED = FeedView(
    state=FeedState.LIVE,
    reason="",
    age_ms=40,
    frames=1000,
    gaps=3,
    resyncs=3,
    refused=0,
    latency_ms=12.5,
    since_ms=61_000,
    causes={"opened": 1, "snapshot": 4, "gap": 3},
    crossed=2,
    trades=400,
    bids_known_to="90.00",
)

AGENT = AgentPane(
    agent_id="ppo-sim",
    short=0.2,
    flat=0.5,
    long=0.3,
    entropy=0.93,
    entropy_history=(0.9, 0.93),
    note="",
)

INSTRUMENT = InstrumentView(
    name="SIM-USD",
    base="SIM",
    quote="USD",
    tick_size="0.01",
    feed=FEED,
    bids=(BookLevel(price="99.99", qty="2", ticks=9999, lots=200),),
    asks=(BookLevel(price="100.01", qty="1", ticks=10001, lots=100),),
    last_trade="100.01",
    last_trade_side=1,
    spread="0.02",
    mid=100.0,
    volatility_bps=1.75,
    volatility_bucket="calm",
    signals=(),
    forecasts=(FORECAST,),
    agent=AGENT,
    agent_note="",
    bars=(),
    waiting_for="",
)

UNKNOWN_INSTRUMENT = InstrumentView(
    name="NEW-USD",
    base="NEW",
    quote="USD",
    tick_size="0.01",
    feed=FeedView(
        state=FeedState.CONNECTING,
        reason="first connection",
        age_ms=None,
        frames=0,
        gaps=0,
        resyncs=0,
        refused=0,
        latency_ms=None,
    ),
    bids=(),
    asks=(),
    last_trade=None,
    last_trade_side=0,
    spread=None,
    mid=None,
    volatility_bps=None,
    volatility_bucket=None,
    signals=(),
    forecasts=(),
    agent=None,
    agent_note="no history yet",
    bars=(),
    waiting_for="no book",
)

PROPOSAL = ProposalView(
    decision_id="d-1",
    instrument="SIM-USD",
    action="ENTER_LONG",
    side="BUY",
    qty="10",
    notional="1000.10",
    limit="100.03",
    p_up=0.58,
    horizon_s=5,
    edge_bps=1.2,
    cost_bps=0.4,
    drift_ticks=0.5,
    left_ms=8500,
    life_ms=10_000,
    rationale="pressure leans up",
    shares=(),
)

SNAPSHOT = Snapshot(
    number=7,
    ts_ns=NOON_NS + 60 * S,
    made_ns=NOON_NS + 60 * S,
    started_ns=NOON_NS,
    account="SIM",
    venue="sim",
    source="sim",
    mode="confirm",
    run_id="r-1",
    version="0.1.0",
    instruments=(INSTRUMENT, UNKNOWN_INSTRUMENT),
    proposals=(PROPOSAL,),
    positions=(
        PositionView(
            instrument="SIM-USD",
            lots=500,
            qty="5",
            average_price="99.90",
            mark="100.00",
            unrealized="0.50",
            realized="-1.25",
            held_s=12,
        ),
    ),
    orders=(
        OrderView(
            client_order_id="o-1",
            instrument="SIM-USD",
            side="SELL",
            qty="5",
            filled="0",
            limit="99.97",
            status="ACCEPTED",
            age_ms=15,
        ),
    ),
    fills=(
        FillView(
            seq=41,
            time="12:00:48",
            instrument="SIM-USD",
            side="BUY",
            price="99.90",
            qty="5",
            fee="0.01",
            realized="0",
            rationale="",
        ),
    ),
    pnl=PnlView(
        currency="USD",
        realized="-1.25",
        unrealized="0.50",
        fees="0.03",
        total="-0.75",
        exposure="500.00",
        daily_loss_limit="200",
        curve=(0.0, -0.75),
    ),
    risk=RiskView(is_halted=False, halt_reason="", halt_since="", blocked="", last_denial=""),
    health=HealthView(
        queue_depth=2,
        queue_bound=4096,
        decision_us_p50=55.0,
        decision_us_p99=210.0,
        feed_us_p99=90.0,
        ledger_seq=42,
        ledger_hash="0123456789ab",
        rss_mib=180.0,
    ),
    notices=(),
    connections=(
        ConnectionView(
            venue="sim", frames=1000, refused=1, ignored=2, gaps=3, resyncs=4, checks=500,
            checks_failed=5, trades_lost=6, heartbeats_lost=7, has_socket=True,
            is_connected=True, connects=8, last_error="connection lost: 1006", fetches=9,
            fetch_failures=1, handovers=2, handovers_failed=1,
        ),
    ),
    recording=RecordingView(
        tape_rows=900, tape_rows_lost=11, tape_bytes=21_000, tapes_bytes=5_000_000,
        tapes_bound=2_147_483_648, is_recording=True, records=1_200, records_dropped=12,
        captures_bytes=7_000_000, captures_bound=8_589_934_592, files_removed=13, trouble="",
    ),
    clients=ClientsView(bad_frames=1, slow=2, displaced=3),
    frames_per_s=98.5,
)  # fmt: skip
