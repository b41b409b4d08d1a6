"""What each exported table holds: its columns, their kinds, and the rows between two times.

Column order is part of the contract with whoever reads the files; new columns go to the end.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from core.clock import NS_PER_S, iso_ns
from core.errors import UserError
from ledger import canonical
from ledger.export import order_events
from ledger.export.kinds import Kind, Period, Table

_TIME = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII
)


_T, _I, _D, _F = Kind.TEXT, Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT
_DECISIONS = {
    "seq": _I, "ts": _T, "run": _T, "decision_id": _T, "venue": _T, "instrument": _T, "action": _T,
    "side": _T, "quantity": _D, "limit_price": _D, "mid": _D, "horizon_s": _I, "p_up": _F,
    "base_rate": _F, "skill": _F, "edge_bps": _F, "cost_bps": _F, "agent_id": _T, "agent_lean": _F,
    "mode": _T, "verdict": _T, "answered_by": _T, "waited_ns": _I, "drift_ticks": _F,
    "rationale": _T,
}  # fmt: skip
_ORDERS = {
    "seq": _I, "ts": _T, "run": _T, "venue": _T, "instrument": _T, "client_order_id": _T,
    "decision_id": _T, "side": _T, "quantity": _D, "limit_price": _D, "tif": _T, "reduces": _I,
    "status": _T, "filled": _D, "reason": _T, "updated_seq": _I, "updated_ts": _T,
}  # fmt: skip
_FILLS = {
    "seq": _I, "ts": _T, "venue": _T, "instrument": _T, "side": _T, "price": _D, "quantity": _D,
    "notional": _D, "fee": _D, "fee_currency": _T, "liquidity": _T, "client_order_id": _T,
    "decision_id": _T, "realized_pnl": _D, "rationale": _T, "run": _T, "fill_id": _T,
    "position": _D,
}  # fmt: skip
_LOTS = {
    "open_seq": _I, "close_seq": _I, "opened_ts": _T, "closed_ts": _T, "venue": _T,
    "instrument": _T, "side": _T, "quantity": _D, "open_price": _D, "close_price": _D,
    "open_fee": _D, "close_fee": _D, "realized_pnl": _D, "closed_by": _T,
}  # fmt: skip
_TRANSFERS = {
    "seq": _I, "ts": _T, "run": _T, "transfer_id": _T, "venue": _T, "instrument": _T, "way": _T,
    "quantity": _D, "basis": _D, "acquired_ts": _T, "wallet": _T, "fee": _D, "position": _D,
    "actor": _T, "note": _T,
}  # fmt: skip
_SPENT = {
    "seq": _I, "ts": _T, "run": _T, "venue": _T, "instrument": _T, "coin": _T, "quantity": _D,
    "covered": _D, "value": _D, "currency": _T, "value_source": _T,
}  # fmt: skip
_EVENTS = {
    "seq": _I, "ts": _T, "type": _T, "run": _T, "cause": _I, "actor": _T, "prev": _T, "hash": _T,
    "payload": Kind.JSON,
}  # fmt: skip


def _by(table: str, columns: dict[str, Kind], time: str, order: str, run: str = "run") -> Table:
    sql = (
        f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608 - our own names
        f" WHERE {time} >= :since AND {time} < :until"
        " AND (:instrument = '' OR instrument = :instrument)"
        f" AND (:run = '' OR substr({run}, 1, length(:run)) = :run) ORDER BY {order}"
    )
    return Table(columns, sql)


_RUN_OF_LOT = (
    "coalesce((SELECT run FROM fills WHERE seq = coalesce(close_seq, open_seq)),"
    " (SELECT run FROM transfers WHERE seq = coalesce(close_seq, open_seq)))"
)
TABLES = {
    "events": Table(_EVENTS, "SELECT seq, hash, body FROM events ORDER BY seq"),
    "decisions": _by("decisions", _DECISIONS, "ts", "seq"),
    "orders": _by("orders", _ORDERS, "ts", "seq"),
    "order-events": Table(order_events.COLUMNS, order_events.SQL),
    "fills": _by("fills", _FILLS, "ts", "seq"),
    # A closed lot belongs to the time it was closed, an open one to the time it was opened.
    "lots": _by("lots", _LOTS, "coalesce(closed_ts, opened_ts)",
                "open_seq, close_seq, closed_by", _RUN_OF_LOT),
    "transfers": _by("transfers", _TRANSFERS, "ts", "seq"),
    "spent": _by("spent", _SPENT, "ts", "seq"),
}  # fmt: skip


def parse_time(text: str, option: str) -> str:
    """Return an ISO date or time as text with nanoseconds, UTC; a date is its midnight.

    A time without a zone is UTC. Errors: ``UserError`` naming the option.
    """
    problem = UserError(
        f"{option} was {text[:40]!r}; allowed is a date or time such as 2026-01-31, "
        "2026-01-31T09:30 or 2026-01-31T09:30:00.5Z"
    )
    if not _TIME.fullmatch(text):
        raise problem
    head, _, digits = text.partition(".")
    fraction = re.match(r"\d*", digits)
    ns = int(fraction.group().ljust(9, "0")) if fraction and fraction.group() else 0
    zone = digits[fraction.end() :] if fraction else ""
    try:
        moment = datetime.fromisoformat(head + zone)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return iso_ns(int(moment.timestamp()) * NS_PER_S + ns)
    except (ValueError, OverflowError) as error:
        raise problem from error


def rows_of(connection: sqlite3.Connection, name: str, period: Period) -> Iterator[tuple[Any, ...]]:
    """Yield a table's rows in order: text, integers and None as stored, JSON as a tree.

    Errors: ``ValueRefused`` for an event that cannot be read.
    """
    if name == "events":
        yield from _events(connection, period)
    elif name == "order-events":
        yield from order_events.rows(connection, period)
    else:
        yield from connection.execute(TABLES[name].sql, period._asdict())


def _events(connection: sqlite3.Connection, period: Period) -> Iterator[tuple[Any, ...]]:
    for _, stored_hash, body in connection.execute(TABLES["events"].sql):
        tree = canonical.read(body)
        if not period.since <= tree["ts"] < period.until or not tree["run"].startswith(period.run):
            continue
        if period.instrument and period.instrument not in _instruments_in(tree["payload"]):
            continue
        rest = {**tree, "hash": stored_hash.hex()}
        yield tuple(rest[column] for column in _EVENTS)


def _instruments_in(payload: dict[str, Any]) -> set[Any]:
    """Return the instruments that an event names: its own, or that of what it is about."""
    named = [payload, *(payload.get(part) for part in ("proposal", "order", "fill", "transfer"))]
    return {each.get("instrument") for each in named if isinstance(each, dict)}


def count_of(connection: sqlite3.Connection, name: str) -> int:
    """Return how many rows a table has at most, for a progress bar."""
    table = "events" if name == "order-events" else name
    found = connection.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - our own names
    return int(found.fetchone()[0])
