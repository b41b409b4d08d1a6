"""Build the snapshot: the engine's state as text and plain numbers, on request.

Reads everything, changes nothing. Cost is a fraction of a millisecond; it runs at the screen's
pace between two events.
"""

from __future__ import annotations

import resource
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np

from core import scopes
from core.clock import NS_PER_MS, NS_PER_S, iso_ns
from core.desk import Desk
from core.engine import Engine
from core.model.decision import Proposal
from core.model.difference import REMEDIES
from core.model.instrument import Instrument, plain
from core.model.market import FeedState
from core.model.order import Side
from core.orders import QUEUE_BOUND
from core.picture_costs import costs_view, fill_cost_view
from core.picture_exits import adding_words, doing, exits_view, planned_exits
from core.picture_feed import connection_views, feed_view, known_prices, recording_view
from core.picture_unknown import bare_positions, unknown_pnl
from core.session import Session
from core.snapshot import (
    AgentPane,
    Bar,
    BookLevel,
    ClientsView,
    DifferenceView,
    FillView,
    HealthView,
    InstrumentView,
    OrderView,
    PnlView,
    PositionView,
    ProposalView,
    RiskView,
    SignalView,
    Snapshot,
)

LEVELS_SHOWN = 40
BARS_SHOWN = 240
NOBODY = ClientsView()
PRICE_DIGITS = Decimal("1e-8")


class RunFacts(msgspec.Struct, frozen=True):
    """What does not change during a run."""

    account: str
    """``SIM``, ``PAPER`` or ``LIVE``."""
    source: str
    version: str
    started_ns: int
    agent_note: str
    """Of the agent in use, or why there is none."""


def build(session: Session, facts: RunFacts, number: int, made_ns: int,
          ledger: tuple[int, str], clients: ClientsView = NOBODY,
          frames_per_s: float | None = None) -> Snapshot:  # fmt: skip
    """Return the snapshot; ``ledger`` is the head as (seq, hash in hex)."""
    engine = session.engine
    pnl = engine.context.pnl
    return Snapshot(
        number=number,
        ts_ns=engine.context.now_ns,
        made_ns=made_ns,
        started_ns=facts.started_ns,
        account=facts.account,
        venue=session.venue,
        source=facts.source,
        mode=engine.mode.value,
        run_id=engine.context.run_id,
        version=facts.version,
        instruments=tuple(_instrument(session, desk, facts) for desk in engine.desks),
        proposals=tuple(_proposal(engine, p.proposal) for p in engine.proposals.pending.values()),
        positions=pnl.ask(lambda: _positions(engine), bare_positions(engine)),
        orders=_orders(engine),
        fills=_fills(engine),
        pnl=pnl.ask(lambda: _pnl(engine), unknown_pnl(engine)),
        costs=costs_view(engine.execution.costs),
        risk=_risk(engine),
        health=_health(session, ledger),
        notices=tuple(engine.context.notices),
        connections=connection_views(session),
        recording=recording_view(session),
        clients=clients,
        frames_per_s=frames_per_s,
        finished=session.finished,
    )


def _instrument(session: Session, desk: Desk, facts: RunFacts) -> InstrumentView:
    feed, instrument, book = desk.feed, desk.instrument, desk.feed.book
    bid, ask = book.best_bid, book.best_ask
    mid = spread = None
    if bid is not None and ask is not None:
        mid = (bid[0] + ask[0]) / 2 * float(instrument.tick_size)
        spread = instrument.price_text(ask[0] - bid[0])
    lowest, highest = known_prices(desk)
    bids = _known(book.bids(LEVELS_SHOWN), lowest, is_bid=True)
    asks = _known(book.asks(LEVELS_SHOWN), highest, is_bid=False)
    last = feed.last_trade_ticks
    hold = session.engine.holds.get(instrument.name)
    volatility = desk.features.volatility_bps
    return InstrumentView(
        name=instrument.name,
        base=instrument.base,
        quote=instrument.quote,
        tick_size=plain(instrument.tick_size),
        feed=feed_view(session, desk),
        bids=_levels(session.engine, instrument, bids, Side.BUY),
        asks=_levels(session.engine, instrument, asks, Side.SELL),
        last_trade=None if last is None else instrument.price_text(last),
        last_trade_side=feed.last_trade_aggressor,
        spread=spread,
        mid=mid,
        volatility_bps=volatility if volatility > 0 else None,
        volatility_bucket=desk.bucket,
        signals=_signals(desk),
        forecasts=desk.forecasts,
        agent=_agent(desk, facts.agent_note),
        agent_note=facts.agent_note if desk.agent is None else "",
        bars=_bars(desk),
        waiting_for=hold.text if hold is not None else _no_hold(session.engine, desk),
    )


def _bars(desk: Desk) -> tuple[Bar, ...]:
    half_tick, lot = float(desk.instrument.tick_size) / 2, float(desk.instrument.lot_size)
    return tuple(
        Bar(
            end_s=end_s,
            open=opened * half_tick,
            high=high * half_tick,
            low=low * half_tick,
            close=close * half_tick,
            volume=lots * lot,
        )
        for end_s, opened, high, low, close, lots in desk.feed.book.bars(BARS_SHOWN).tolist()
    )


def _no_hold(engine: Engine, desk: Desk) -> str:
    if engine.execution.orders.open_states(desk.instrument.name):
        return "an order is working"
    return "" if desk.feed.state is FeedState.LIVE else f"feed {desk.feed.state.value}"


def _known(levels: np.ndarray, limit: int | None, *, is_bid: bool) -> np.ndarray:
    """Return the levels up to the price where the book stops knowing; all where it knows all."""
    if limit is None:
        return levels
    known: np.ndarray = levels[levels[:, 0] >= limit if is_bid else levels[:, 0] <= limit]
    return known


def _levels(
    engine: Engine, instrument: Instrument, levels: np.ndarray, side: Side
) -> tuple[BookLevel, ...]:
    own: dict[int, int] = {}
    for state in engine.execution.orders.open_states(instrument.name):
        if state.order.side is side:
            ticks = state.order.limit_ticks
            own[ticks] = own.get(ticks, 0) + state.open_lots
    return tuple(
        BookLevel(
            price=instrument.price_text(ticks),
            qty=instrument.qty_text(lots),
            ticks=ticks,
            lots=lots,
            own_lots=own.get(ticks, 0),
        )
        for ticks, lots in levels.tolist()
    )


def _signals(desk: Desk) -> tuple[SignalView, ...]:
    """Return the signals that are present, with their shares at the main horizon."""
    if desk.forecast is None:
        return ()
    shares = {share.name: share.share for share in desk.forecast.shares}
    return tuple(
        SignalView(name, value, shares.get(name, 0.0))
        for name, value in desk.board.display()
        if value is not None
    )


def _agent(desk: Desk, note: str) -> AgentPane | None:
    view = desk.agent
    if view is None:
        return None
    short, flat, long = view.probabilities
    history = tuple(desk.entropy_history)
    return AgentPane(view.agent_id, short, flat, long, view.entropy, history, note)


def _proposal(engine: Engine, proposal: Proposal) -> ProposalView:
    instrument = engine.by_name[proposal.instrument].instrument
    now_ns = engine.context.now_ns
    return ProposalView(
        decision_id=proposal.decision_id,
        instrument=proposal.instrument,
        action=proposal.action.value,
        side=proposal.side.value,
        qty=instrument.qty_text(proposal.qty_lots),
        notional=plain(
            instrument.notional(proposal.limit_ticks, proposal.qty_lots).quantize(Decimal("0.01"))
        ),
        limit=instrument.price_shown(proposal.limit_ticks),
        p_up=proposal.forecast.p_up,
        horizon_s=proposal.forecast.horizon_s,
        edge_bps=proposal.edge_bps,
        cost_bps=proposal.cost_bps,
        drift_ticks=engine.proposals.drift_ticks(proposal),
        left_ms=max(0, proposal.expires_ns - now_ns) // NS_PER_MS,
        life_ms=(proposal.expires_ns - proposal.made_ns) // NS_PER_MS,
        rationale=proposal.rationale,
        shares=tuple(
            SignalView(share.name, share.value, share.share) for share in proposal.forecast.shares
        ),
        exits=planned_exits(engine, proposal),
        exits_note=adding_words(engine, proposal),
    )


def _positions(engine: Engine) -> tuple[PositionView, ...]:
    views = []
    for name, book in engine.account.books.items():
        if not book.position_lots and not book.realized:
            continue
        instrument = book.instrument
        mark2 = None if engine.context.hold_back else engine.account.mark2(name)
        average = book.average_price()
        held_ns = engine.context.now_ns - book.opened_ns if book.opened_ns else 0
        views.append(
            PositionView(
                instrument=name,
                lots=book.position_lots,
                qty=instrument.qty_text(book.position_lots),
                average_price="" if average is None else plain(average.quantize(PRICE_DIGITS)),
                mark=None if mark2 is None else plain(instrument.tick_size * mark2 / 2),
                unrealized=None if mark2 is None else plain(book.unrealized(mark2)),
                realized=plain(book.realized),
                held_s=max(0, held_ns) // NS_PER_S,
                exits=exits_view(engine, name),
                doing=doing(engine, name),
            )
        )
    return tuple(views)


def _orders(engine: Engine) -> tuple[OrderView, ...]:
    views = []
    for state in engine.execution.orders.open_states():
        order = state.order
        instrument = engine.by_name[order.instrument].instrument
        views.append(
            OrderView(
                client_order_id=order.client_order_id,
                instrument=order.instrument,
                side=order.side.value,
                qty=instrument.qty_text(order.qty_lots),
                filled=instrument.qty_text(state.filled_lots),
                limit=instrument.price_shown(order.limit_ticks),
                status=state.status.value,
                age_ms=max(0, engine.context.now_ns - order.decided_ns) // NS_PER_MS,
            )
        )
    return tuple(views)


def _fills(engine: Engine) -> tuple[FillView, ...]:
    views = []
    for row in engine.execution.fills:
        fill = row.fill
        instrument = engine.by_name[fill.instrument].instrument
        views.append(
            FillView(
                seq=row.seq,
                time=iso_ns(fill.ts_ns),
                instrument=fill.instrument,
                side=fill.side.value,
                price=instrument.price_shown(fill.price_ticks),
                qty=instrument.qty_text(fill.qty_lots),
                fee=plain(fill.fee),
                realized=plain(row.realized),
                rationale=row.rationale,
                cost=fill_cost_view(engine.execution.costs, fill),
            )
        )
    return tuple(views)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def _pnl(engine: Engine) -> PnlView:
    money, *others = engine.account.by_quote.values()
    # A past that is lived through has no marks for a position of the present.
    is_past = bool(engine.context.hold_back)
    unrealized = None if is_past else money.unrealized()
    left_out = ", ".join(sorted(other.quote for other in others))
    return PnlView(
        currency=money.quote + (f", without {left_out}" if left_out else ""),
        realized=plain(money.realized),
        unrealized=_text(unrealized),
        fees=plain(money.fees),
        total=None if unrealized is None else plain(money.realized + unrealized),
        exposure=None if is_past else _text(money.exposure()),
        daily_loss_limit=plain(engine.settings.risk.max_daily_loss),
        curve=tuple(money.curve),
        today=None if is_past else _text(money.today(engine.context.now_ns)),
    )


def _risk(engine: Engine) -> RiskView:
    context = engine.context
    doubts = [
        f"{desk.instrument.name}: feed {desk.feed.state.value} ({desk.feed.reason})"
        for desk in engine.desks
        if not desk.is_live
    ]
    for name in engine.by_name:
        why = engine.execution.guard.stops.why(name, context.now_ns)
        doubts += [f"{name}: {why}"] if why else []
    closed = [f"{scopes.words(scope)} HALTED: {why}" for scope, why in context.halts.items()]
    closed += [context.unguarded] if context.unguarded else []
    closed += [each.text for each in context.differences]
    return RiskView(
        is_halted=bool(context.halted),
        halt_reason=context.halted,
        halt_since=iso_ns(context.halted_since_ns) if context.halted_since_ns else "",
        blocked="; ".join([*closed, *doubts]),
        last_denial=engine.execution.last_denial,
        differences=tuple(
            DifferenceView(each.key, each.text, tuple(r.value for r in REMEDIES[each.kind]))
            for each in context.differences
        ),
        halts=dict(context.halts),
    )


def _rss_mib() -> float:
    """Return the memory this process holds now; the peak where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


def _health(session: Session, ledger: tuple[int, str]) -> HealthView:
    orders = session.engine.execution.orders
    return HealthView(
        queue_depth=orders.queue_depth,
        queue_bound=QUEUE_BOUND,
        decision_us_p50=session.decision_timings.percentile_us(50),
        decision_us_p99=session.decision_timings.percentile_us(99),
        feed_us_p99=session.feed_timings.percentile_us(99),
        ledger_seq=ledger[0],
        ledger_hash=ledger[1][:12],
        rss_mib=_rss_mib(),
        queue_waiting_ms=orders.waiting_ns(session.engine.context.now_ns) // NS_PER_MS,
        queue_longest_ms=orders.queue.longest_wait_ns // NS_PER_MS,
        queue_deepest=orders.queue.deepest,
        queue_refused=orders.queue.refused,
        queue_overtaken=orders.queue.overtaken,
        fills_repeated=orders.queue.repeated_fills,
        orders_in_doubt=sum(state.is_in_doubt for state in orders.open_states()),
    )
