"""The trading facts of the report, asked of the tables for one time."""

from __future__ import annotations

import sqlite3
from decimal import Decimal, localcontext

import msgspec

from core.model.instrument import plain
from ledger.export.kinds import Period
from ledger.projections import EXACT_DIGITS

TRADES_MAX = 250
"""Trades told with their rationale in the report; all of them are in ``trades.csv``."""


class Trade(msgspec.Struct):
    """One order that was filled, with the decision behind it."""

    seq: int
    ts: str
    venue: str
    instrument: str
    side: str
    mid: Decimal | None
    answer: str
    rationale: str
    p_up: str
    edge: str
    quantity: Decimal = Decimal(0)
    notional: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    realized: Decimal = Decimal(0)

    @property
    def price(self) -> Decimal:
        return self.notional / self.quantity if self.quantity else Decimal(0)

    @property
    def slippage_bps(self) -> Decimal | None:
        """Average price against the mid at the decision; positive is worse for us."""
        if not self.mid:
            return None
        sign = 1 if self.side == "BUY" else -1
        return sign * (self.price - self.mid) / self.mid * 10_000


class Sums(msgspec.Struct):
    """What was traded in one instrument."""

    fills: int = 0
    bought: Decimal = Decimal(0)
    sold: Decimal = Decimal(0)
    notional: Decimal = Decimal(0)
    fees: dict[str, Decimal] = {}
    realized: Decimal = Decimal(0)


class Blocked(msgspec.Struct, frozen=True):
    """An order that the gate or the venue refused."""

    seq: int
    ts: str
    instrument: str
    side: str
    quantity: str
    limit_price: str
    status: str
    reason: str


class Traded(msgspec.Struct):
    """Everything the report says of trading, and how much there was beyond it."""

    trades: list[Trade] = []
    trade_count: int = 0
    sums: dict[tuple[str, str], Sums] = {}
    curve: list[float] = []
    """Realized P&L added up, one point a fill, thinned to what a page can show."""
    blocked: list[Blocked] = []
    blocked_count: int = 0
    unanswered: list[tuple[str, int]] = []
    """Verdicts of proposals and their counts."""
    is_one_currency: bool = True


def traded_in(connection: sqlite3.Connection, period: Period, currencies: dict[str, str]) -> Traded:
    """Return what was traded in ``period``; ``currencies``: quote currency by instrument."""
    found = Traded()
    with localcontext() as context:
        context.prec = EXACT_DIGITS
        _add_trades(connection, period, found)
        _add_fills(connection, period, found)
    window = (period.since, period.until)
    for row in connection.execute(
        "SELECT seq, ts, instrument, side, quantity, limit_price, status, reason FROM orders"
        " WHERE status IN ('DENIED', 'REJECTED') AND ts >= ? AND ts < ? ORDER BY seq",
        window,
    ):
        found.blocked_count += 1
        if len(found.blocked) < TRADES_MAX:
            found.blocked.append(Blocked(*row))
    found.unanswered = connection.execute(
        "SELECT coalesce(verdict, 'no answer yet'), count(*) FROM decisions"
        " WHERE ts >= ? AND ts < ? GROUP BY 1 ORDER BY 1",
        window,
    ).fetchall()
    names = {name for _, name in found.sums}
    found.is_one_currency = len({currencies.get(name, "") for name in names}) <= 1
    return found


def _add_trades(connection: sqlite3.Connection, period: Period, found: Traded) -> None:
    """Read the fills order by order: a trade of this time is an order with a fill in it."""
    trades: dict[str, Trade] = {}
    for (
        order_id,
        seq,
        ts,
        venue,
        name,
        side,
        qty,
        notional,
        fee,
        realized,
        rationale,
        decision,
    ) in connection.execute(
        "SELECT client_order_id, seq, ts, venue, instrument, side, quantity, notional, fee,"
        " realized_pnl, rationale, decision_id FROM fills"
        " WHERE ts >= ? AND ts < ? ORDER BY seq",
        (period.since, period.until),
    ):
        if order_id not in trades and len(trades) < TRADES_MAX:
            trades[order_id] = _trade(connection, decision, (seq, ts, venue, name, side), rationale)
        trade = trades.get(order_id)
        if trade is not None:
            trade.quantity += Decimal(qty)
            trade.notional += Decimal(notional)
            trade.fees += Decimal(fee)
            trade.realized += Decimal(realized)
    found.trades = list(trades.values())
    (found.trade_count,) = connection.execute(
        "SELECT count(DISTINCT client_order_id) FROM fills WHERE ts >= ? AND ts < ?",
        (period.since, period.until),
    ).fetchone()


def _trade(
    connection: sqlite3.Connection,
    decision_id: str,
    place: tuple[int, str, str, str, str],
    rationale: str,
) -> Trade:
    row = connection.execute(
        "SELECT mid, verdict, answered_by, waited_ns, drift_ticks, p_up, edge_bps, cost_bps"
        " FROM decisions WHERE decision_id = ?",
        (decision_id,),
    ).fetchone()
    if row is None:
        return Trade(*place, None, "by command", rationale, "", "")
    mid, verdict, by, waited_ns, drift, p_up, edge, cost = row
    answer = f"{verdict or 'not answered'} by {by or 'nobody'}"
    if waited_ns:
        answer += f" after {waited_ns / 1e9:.1f} s, drift {float(drift):g} ticks"
    edges = f"edge {float(edge):.2f}, cost {float(cost):.2f} bps"
    return Trade(*place, Decimal(mid), answer, rationale, f"{float(p_up):.3f}", edges)


def _add_fills(connection: sqlite3.Connection, period: Period, found: Traded) -> None:
    total, curve = Decimal(0), [0.0]
    for venue, name, side, qty, notional, fee, currency, realized in connection.execute(
        "SELECT venue, instrument, side, quantity, notional, fee, fee_currency, realized_pnl"
        " FROM fills WHERE ts >= ? AND ts < ? ORDER BY seq",
        (period.since, period.until),
    ):
        sums = found.sums.setdefault((venue, name), Sums())
        sums.fills += 1
        if side == "BUY":
            sums.bought += Decimal(qty)
        else:
            sums.sold += Decimal(qty)
        sums.notional += Decimal(notional)
        sums.fees[currency] = sums.fees.get(currency, Decimal(0)) + Decimal(fee)
        sums.realized += Decimal(realized)
        total += Decimal(realized)
        curve.append(float(total))
    found.curve = thinned(curve, 400)


def thinned(values: list[float], most: int) -> list[float]:
    """Return at most ``most`` of the values, evenly taken, the last one always."""
    if len(values) <= most:
        return values
    step = (len(values) - 1) / (most - 1)
    return [values[round(step * place)] for place in range(most)]


def money(value: Decimal, *, digits: int = 2) -> str:
    """Return an exact value cut for reading; the exact one is in the spreadsheets."""
    return f"{value:,.{digits}f}"


def short(value: Decimal) -> str:
    """Return a quantity as plain text, cut to 8 digits after the point."""
    return plain(round(value, 8))
