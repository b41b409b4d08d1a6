"""Orders event by event, in the field order of an order record modelled on RTS 24.

One row an order event: new, part fill, fill, cancel, reject, expire or unknown. What the ledger
does not know is empty. Fields of RTS 24 that cannot apply to a person who trades for themselves
are the last columns and say why. "Modelled on", never "compliant with".
Source: Commission Delegated Regulation (EU) 2017/580, annex, table 2.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from core.clock import iso_ns
from core.model.event import Filled, LedgerEvent, OrderChanged, OrderIntended, RunStarted
from core.model.instrument import Instrument, plain
from core.model.order import Order, OrderStatus, TimeInForce
from ledger.envelope import Envelope, tail_of, unseal
from ledger.export.kinds import Kind, Period
from ledger.references import instruments_of

_T, _I, _D, _F = Kind.TEXT, Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT
NOT_APPLICABLE = {
    "rts24_02": "n/a: no direct electronic access", "rts24_06": "n/a: no non-executing broker",
    "rts24_08": "n/a: no liquidity provision", "rts24_11": "n/a: no order restriction",
    "rts24_14": "n/a: priority is the venue's", "rts24_30": "n/a: one currency a price",
    "rts24_41": "n/a: no minimum execution size", "rts24_42": "n/a: no minimum execution size",
    "rts24_49": "n/a: trading phases are the venue's", "rts24_50": "n/a: no auctions",
    "rts24_51": "n/a: no auctions",
}  # fmt: skip
COLUMNS = {
    "account": _T, "algo_id": _T, "algo_ver": _T, "operator": _T, "capacity": _T, "tif": _T,
    "good_till": _T, "venue": _T, "symbol": _T, "inst_id": _T, "client_order_id": _T,
    "venue_order_id": _T, "t_decided": _T, "t_sent": _T, "t_ack": _T, "t_venue": _T, "event": _T,
    "order_type": _T, "limit_px": _D, "stop_px": _D, "peg": _T, "px": _D, "px_ccy": _T,
    "px_notation": _T, "side": _T, "position_effect": _T, "status": _T, "qty": _D,
    "qty_notation": _T, "qty_ccy": _T, "qty_left": _D, "qty_shown": _D, "qty_done": _D,
    "min_qty": _D, "post_only": _T, "maker_taker": _T, "self_match_prevention": _T, "parent": _T,
    "strategy_link": _T, "route": _T, "fill_id": _T, "liquidity": _T, "fee": _D, "fee_ccy": _T,
    "fee_usd": _D, "fx_src": _T, "arrival_mid": _D, "slippage_bps": _F, "latency_us": _I,
    "raw": _T, "seq": _I, "ts": _T, "run": _T, **dict.fromkeys(NOT_APPLICABLE, _T),
}  # fmt: skip
SQL = "SELECT seq, body FROM events ORDER BY seq"
_WANTED = frozenset({b"RUN_STARTED", b"ORDER_INTENT", b"ORDER_STATUS", b"FILL"})
_WORDS = {
    OrderStatus.DENIED: "reject", OrderStatus.REJECTED: "reject", OrderStatus.CANCELED: "cancel",
    OrderStatus.EXPIRED: "expire", OrderStatus.UNKNOWN: "unknown",
}  # fmt: skip
"""What an ORDER_STATUS means as an order event; the others only move the clocks."""
_DOLLARS = "USD"


class _Known(msgspec.Struct):
    """An order as far as its events have been read."""

    order: Order
    instrument: Instrument
    started: RunStarted
    operator: str
    mid: str
    filled_lots: int = 0
    sent_ts: str = ""
    ack_ts: str = ""


def rows(connection: sqlite3.Connection, period: Period) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of ``period`` in order; the orders before it are read for what they say."""
    reading = _Reading(connection)
    for _, body in connection.execute(SQL):
        tail = tail_of(body)
        if tail is None or tail.type not in _WANTED:
            continue
        envelope, event = unseal(body)
        row = reading.take(envelope, event)
        if row is None or not period.since <= envelope.ts < period.until:
            continue
        if not envelope.run.startswith(period.run):
            continue
        if period.instrument in {"", row["symbol"]}:
            yield tuple(row.get(name) for name in COLUMNS)


class _Reading:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._started: RunStarted | None = None
        self._instruments: dict[str, Instrument] = {}
        self._known: dict[str, _Known] = {}

    def take(self, envelope: Envelope, event: LedgerEvent) -> dict[str, Any] | None:
        match event:
            case RunStarted():
                self._started, self._instruments = event, instruments_of(event)
            case OrderIntended():
                known = self._begin(event.order)
                return _row(envelope, known, "new", OrderStatus.INITIALIZED)
            case OrderChanged():
                known_or_none = self._find(event.client_order_id, envelope.seq)
                if known_or_none is not None:
                    return self._changed(envelope, event, known_or_none)
            case Filled():
                known_or_none = self._find(event.fill.client_order_id, envelope.seq)
                if known_or_none is not None:
                    return _filled(envelope, event, known_or_none)
            case _:
                pass
        return None

    def _find(self, order_id: str, seq: int) -> _Known | None:
        """Return an order, read again if it was closed: a late fill is told too."""
        if order_id not in self._known:
            found = self._connection.execute(
                "SELECT body FROM events JOIN orders USING(seq) WHERE client_order_id = ?",
                (order_id,),
            ).fetchone()
            event = None if found is None else unseal(found[0])[1]
            if not isinstance(event, OrderIntended):
                return None  # denied before its intent: there was no order
            known = self._begin(event.order)
            for (quantity,) in self._connection.execute(
                "SELECT quantity FROM fills WHERE client_order_id = ? AND seq < ?", (order_id, seq)
            ):
                known.filled_lots += known.instrument.lots(quantity)
        return self._known[order_id]

    def _begin(self, order: Order) -> _Known:
        assert self._started is not None, "an order before any run"
        found = self._connection.execute(
            "SELECT answered_by, mid FROM decisions WHERE decision_id = ?", (order.decision_id,)
        ).fetchone()
        operator, mid = found or ("", "")
        known = _Known(
            order, self._instruments[order.instrument], self._started, operator or "", mid
        )
        self._known[order.client_order_id] = known
        return known

    def _changed(
        self, envelope: Envelope, event: OrderChanged, known: _Known
    ) -> dict[str, Any] | None:
        status = OrderStatus(event.status)
        if status is OrderStatus.SUBMITTED:
            known.sent_ts = known.sent_ts or envelope.ts
        elif status is not OrderStatus.DENIED:
            known.ack_ts = known.ack_ts or envelope.ts
        if status.is_closed:
            del self._known[known.order.client_order_id]  # memory holds open orders only
        word = _WORDS.get(status)
        return None if word is None else _row(envelope, known, word, status)


def _filled(envelope: Envelope, event: Filled, known: _Known) -> dict[str, Any]:
    fill = event.fill
    known.filled_lots += fill.qty_lots
    known.ack_ts = known.ack_ts or envelope.ts
    is_whole = known.filled_lots >= known.order.qty_lots
    status = OrderStatus.FILLED if is_whole else OrderStatus.PARTIALLY_FILLED
    row = _row(envelope, known, "fill" if is_whole else "part fill", status)
    liquidity = "maker" if fill.is_maker else "taker"
    row |= {
        "px": event.price,
        "fill_id": fill.fill_id,
        "liquidity": liquidity,
        "maker_taker": liquidity,
        "fee": plain(fill.fee),
        "fee_ccy": fill.fee_currency,
        "t_venue": iso_ns(fill.ts_ns),
        "latency_us": (fill.ts_ns - known.order.decided_ns) // 1000,
    }
    if fill.fee_currency == _DOLLARS:
        row |= {"fee_usd": plain(fill.fee), "fx_src": "none needed"}
    if known.mid:
        mid = Decimal(known.mid)
        worse = (Decimal(event.price) - mid) / mid * 10_000 * known.order.side.sign
        row["slippage_bps"] = format(float(worse), ".9g")
    return row


def _row(envelope: Envelope, known: _Known, word: str, status: OrderStatus) -> dict[str, Any]:
    order, instrument, started = known.order, known.instrument, known.started
    left = max(order.qty_lots - known.filled_lots, 0)
    return {
        "account": started.broker,
        "algo_id": "tapewright",
        "algo_ver": started.code_digest[:16],
        "operator": known.operator,
        "capacity": "DEAL",
        "tif": order.tif.value,
        "venue": instrument.venue,
        "symbol": instrument.name,
        "inst_id": f"{instrument.venue}:{instrument.name}",
        "client_order_id": order.client_order_id,
        "t_decided": iso_ns(order.decided_ns),
        "t_sent": known.sent_ts or None,
        "t_ack": known.ack_ts or None,
        "event": word,
        "order_type": "LIMIT",
        "limit_px": instrument.price_text(order.limit_ticks),
        "px_ccy": instrument.quote,
        "px_notation": "MONE",
        "side": order.side.value,
        "position_effect": "reduces" if order.reduces else "may add",
        "status": status.value,
        "qty": instrument.qty_text(order.qty_lots),
        "qty_notation": "UNIT",
        "qty_ccy": instrument.base,
        "qty_left": instrument.qty_text(left),
        "qty_shown": instrument.qty_text(left) if order.tif is not TimeInForce.IOC else "0",
        "qty_done": instrument.qty_text(known.filled_lots),
        "post_only": "yes" if getattr(order, "post_only", False) else "no",
        "self_match_prevention": "refused by the gate",
        "strategy_link": order.decision_id,
        "arrival_mid": known.mid or None,
        "seq": envelope.seq,
        "ts": envelope.ts,
        "run": envelope.run,
        **NOT_APPLICABLE,
    }
