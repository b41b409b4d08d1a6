"""What a start finds at the broker and in the ledger about orders, and how it goes on with it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from core.brokers.kept import KeptBroker
from core.brokers.memory import PaperMemory
from core.engine import Engine
from core.model import event as ev
from core.model.instrument import Instrument
from core.model.order import BrokerStart, Fill
from core.model.transfer import Spent, Transfer
from core.ports import OrderRoad
from core.reconcile import LeftOrder, hear
from core.session import Session
from ledger.lookup import Lookup
from ledger.rows import History


class Left(NamedTuple):
    """What the last process left behind."""

    orders: list[LeftOrder]
    """Of this run's instruments, without an end."""
    others: tuple[str, ...]
    """Of other instruments: they were on a paper venue that ended with its process."""
    fills: tuple[Fill, ...]
    """Of this run's instruments, oldest first."""
    transfers: tuple[Transfer, ...] = ()
    """Of this run's instruments, oldest first."""
    past: tuple[Fill | Transfer | Spent, ...] = ()
    """All that made its lots, oldest first."""


def left_by(history: History, instruments: list[Instrument]) -> Left:
    """Return what the ledger has left for a run on ``instruments``."""
    fills = tuple(history.fills_of(instruments))
    ours = {(one.venue, one.name) for one in instruments}
    orders, others = [], []
    for key, found in history.open_orders.items():
        if (found.venue, found.order.instrument) in ours:
            of_order = [fill for fill in fills if fill.client_order_id == key]
            orders.append(LeftOrder(found.order, found.seq, of_order))
        else:
            others.append(key)
    return Left(
        orders, tuple(others), fills,
        tuple(history.transfers_of(instruments)), tuple(history.past_of(instruments)),
    )  # fmt: skip


def open_account(
    road: OrderRoad,
    instruments: list[Instrument],
    left: Left,
    state_dir: Path | None,
    recorded: BrokerStart | None,
) -> KeptBroker:
    """Return the paper venue with its account: from ``state_dir``, or in memory alone.

    ``recorded`` is what it held when a run that is lived through again began.
    """
    lots: Counter[str] = Counter()
    for fill in left.fills:
        lots[fill.instrument] += fill.side.sign * fill.qty_lots
    held = dict(lots) if recorded is None else recorded.held
    return KeptBroker(
        road, instruments, held, None if state_dir is None else PaperMemory(state_dir),
        left.transfers if recorded is None else (),
    )  # fmt: skip


def ask_at_start(broker: KeptBroker, left: Left, lookup: Lookup, now_ns: int) -> BrokerStart | None:
    """Return what the broker holds and tells as a run begins; None if that is nothing new."""
    told = hear(broker, left.orders, left.fills, lookup.past_status, now_ns)
    if not told and not left.fills and not broker.positions():
        return None
    return BrokerStart(broker.positions(), told)


def recover(session: Session, left: Left, start: BrokerStart | None) -> None:
    """Take over what was left, and compare with the broker before anything trades."""
    engine = session.engine
    _tell(engine, left)
    session.reconciler.start(left.orders, () if start is None else start.told)


def _tell(engine: Engine, left: Left) -> None:
    positions = {
        name: book.position_lots
        for name, book in engine.account.books.items()
        if book.position_lots
    }
    if not positions and not left.orders and not left.others:
        return
    note = "orders of the paper venue died with its process" if left.others else ""
    engine.context.write(ev.Recovered(orders_closed=left.others, positions=positions, note=note))
    engine.context.notify("info", f"recovered {len(positions)} positions from the ledger")
