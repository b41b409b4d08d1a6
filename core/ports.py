"""Ports: what the engine needs from strangers, wired in one place (``cli.wiring``)."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

import numpy as np

from core.model.decision import AgentView
from core.model.event import LedgerEvent
from core.model.market import TradePrint
from core.model.order import BrokerOrder, Fill, Order, OrderReport
from core.model.transfer import Transfer


class EventSink(Protocol):
    """The way to the ledger: loses nothing and may stop us."""

    def append(self, event: LedgerEvent, ts_ns: int, cause: int | None = None) -> int:
        """Queue ``event`` as of engine time ``ts_ns`` and return its sequence number.

        ``cause`` is the sequence number of the event that led to this one.
        Errors: ``InvariantError`` once a write has failed; nothing may trade after that.
        """

    def keep(self, data: bytes) -> str:
        """Keep ``data`` as a payload that the next event names; durable before that event is.

        Returns why it is not kept, empty where it is. Errors: ``InvariantError`` as ``append``.
        """

    def flush(self) -> Future[None]:
        """Return a future that is done when everything appended so far is durable."""


class Policy(Protocol):
    """An agent's frozen policy, run without a learning library."""

    @property
    def agent_id(self) -> str: ...

    def decide(self, instrument: int, features: np.ndarray, position_fraction: float) -> AgentView:
        """Return the view for one feature vector, float64[N_FEATURES], and position in [-1, 1]."""


class OrderRoad(Protocol):
    """Where orders go. Synchronous and deterministic in time; live venues adapt behind it."""

    name: str

    def submit(self, order: Order, now_ns: int) -> None:
        """Take an order; reports come out of ``take_reports``."""

    def cancel(self, client_order_id: str, now_ns: int) -> None: ...

    def next_due_ns(self) -> int | None:
        """Return when ``advance`` has something to do, or None."""

    def advance(self, now_ns: int) -> None:
        """Do what is due at ``now_ns``."""

    def on_market(self, instrument: int, now_ns: int) -> None:
        """The book of ``instrument`` changed."""

    def on_trade(self, trade: TradePrint) -> None:
        """A public trade happened; it may fill a resting order."""

    def take_reports(self) -> list[OrderReport]:
        """Return and forget the reports made since the last call."""


class Broker(OrderRoad, Protocol):
    """A road for orders that also remembers: what it holds for us, beside what we believe."""

    def ask(self, client_order_id: str, now_ns: int) -> None:
        """Ask how an order stands: its fills and its status come again as reports.

        A broker that does not know the order reports NOT_FOUND.
        """

    def open_orders(self) -> list[BrokerOrder]:
        """Return what works there, whoever sent it, of this run's instruments."""

    def positions(self) -> dict[str, int]:
        """Return the lots held there, by instrument of this run; no entry means none."""

    def fills_since(self, ts_ns: int) -> list[Fill]:
        """Return the fills at or after ``ts_ns``, oldest first, of this run's instruments."""

    def move(self, transfer: Transfer) -> None:
        """Take that coins were moved; one that sees its wallets itself need not be told."""

    def trouble(self) -> str:
        """Return why it cannot be believed or asked; empty if it can."""


class Latch(Protocol):
    """The kill latch of one scope: on disk, survives everything."""

    def of(self, scope: str) -> Latch:
        """Return the latch of another scope; see ``core.scopes``."""

    def trip(self, reason: str, actor: str, ts_ns: int, *, flattens: bool = False) -> bool:
        """Latch; return whether it is durable. Never raises.

        ``flattens``: a start that finds the latch goes on with closing positions.
        """

    def rearm(self) -> None:
        """Unlatch. Errors: ``OSError`` if the latch could not be removed."""


class RowSink(Protocol):
    """The tape: takes MarketState rows."""

    def append(self, row: np.ndarray) -> None:
        """Take one row, MARKET_STATE[()]; it is copied."""
