"""Coins that the trader moved between the account and another wallet of his: checked and booked.

The movement itself happened at the venue. It is written down first, then taken into the account,
and the broker is told: a paper venue knows of no wallet but by our word.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from core.clock import iso_ns
from core.control import MoveCoins
from core.engine import Engine
from core.errors import ValueRefused
from core.lots import FifoBook
from core.model import event as ev
from core.model.instrument import Instrument, parse_decimal, plain
from core.model.transfer import Transfer, TransferWay
from core.ports import Broker
from core.transfers import moved_lots, peek, with_carried

WORDS_MAX = 200


class Moves:
    """Carries out the trader's transfers on one engine; see the module docstring."""

    def __init__(self, engine: Engine, broker: Broker, make_durable: Callable[[], str]) -> None:
        """``make_durable`` waits for the disk and returns a warning where it did not answer."""
        self._engine = engine
        self._broker = broker
        self._make_durable = make_durable

    def move(self, asked: MoveCoins, actor: str) -> str:
        """Book a transfer; return what stands now.

        Errors: ``ValueError`` saying what stands against it; ``LedgerDown``.
        """
        name = asked.instrument
        self._refuse_busy(name)
        book = self._engine.account.books[name]
        transfer = self._transfer(asked, book)
        after, moved = peek(book, transfer)
        text = book.instrument.qty_text
        event = ev.Transferred(
            transfer=transfer,
            quantity=text(transfer.qty_lots),
            fee_quantity=text(transfer.fee_lots),
            lots=moved_lots(book, moved.given),
            realized_pnl=plain(moved.realized),
            position_lots=after.position_lots,
            actor=actor,
            note=asked.note.strip(),
        )
        seq = self._engine.context.write(event)
        warning = self._make_durable()
        self._engine.account.move(transfer)
        self._broker.move(transfer)
        told = self._words(event, book.instrument)
        self._engine.exits.after_transfer(name, told, seq)
        self._engine.proposals.withdraw(name, "coins were moved")
        self._engine.context.notify("info", told)
        return told + warning

    def _refuse_busy(self, name: str) -> None:
        """Errors: ``ValueError`` for an instrument that is not traded, or is just being traded."""
        engine = self._engine
        if name not in engine.by_name:
            raise ValueError(f"{name} is not traded in this run")
        if engine.account.counting.failure:
            raise ValueError(f"{name}: {engine.account.counting.failure}")
        if engine.context.hold_back:
            raise ValueError(f"{name}: {engine.context.hold_back}")
        if name in engine.execution.closing or name in engine.positions.reversing:
            raise ValueError(f"{name}: the position is being closed")
        if engine.execution.orders.open_states(name):
            raise ValueError(f"{name}: an order is working; cancel it first")
        if engine.account.mark2(name) is None:
            raise ValueError(f"{name} has no price yet, so nobody knows what the coins are worth")

    def _transfer(self, asked: MoveCoins, book: FifoBook) -> Transfer:
        instrument, now_ns = book.instrument, self._engine.context.stamp_ns
        lots = _lots(instrument, asked.quantity, "quantity")
        if not lots:
            raise ValueError("quantity was 0, allowed is above 0")
        if not 0 < len(asked.wallet.strip()) <= WORDS_MAX or len(asked.note) > WORDS_MAX:
            raise ValueError(f"wallet and note: a wallet is needed, and {WORDS_MAX} characters do")
        fee_lots = _lots(instrument, asked.fee, "fee")
        is_in = asked.way is TransferWay.IN
        held = book.position_lots
        if is_in and book.held_parts < 0:
            raise ValueError(f"{instrument.name}: the position is short; close it first")
        if fee_lots > held + lots if is_in else fee_lots + lots > held:
            text = instrument.qty_text
            raise ValueError(
                f"{text(fee_lots if is_in else fee_lots + lots)} {instrument.base} cannot leave, "
                f"{text(max(0, held + lots if is_in else held))} are held"
            )
        transfer = Transfer(
            transfer_id=self._engine.context.new_id("t"),
            instrument=instrument.name,
            way=asked.way,
            qty_lots=lots,
            wallet=asked.wallet.strip(),
            ts_ns=now_ns,
            acquired_ns=_acquired(asked, now_ns),
            basis=_basis(asked),
            fee_lots=fee_lots,
            fee_value=self._fee_value(asked, book, fee_lots),
            fee_value_source=_fee_source(asked, instrument, fee_lots),
        )
        mark2 = self._engine.account.mark2(instrument.name)
        assert mark2 is not None
        return with_carried(book, transfer, mark2)

    def _fee_value(self, asked: MoveCoins, book: FifoBook, fee_lots: int) -> Decimal | None:
        if asked.fee_value:
            return _money(asked.fee_value, "fee value")
        mark2 = self._engine.account.mark2(asked.instrument)
        if not fee_lots or mark2 is None:
            return None
        return book.instrument.notional(1, fee_lots) * mark2 / 2

    def _words(self, event: ev.Transferred, instrument: Instrument) -> str:
        moved = event.transfer
        where = "from" if moved.way is TransferWay.IN else "to"
        words = f"{instrument.name}: {event.quantity} {instrument.base} {where} {moved.wallet}"
        if moved.way is TransferWay.IN:
            assert moved.basis is not None
            words += f", basis {plain(moved.basis)} {instrument.quote}"
            words += f", acquired {iso_ns(moved.acquired_ns)[:10]}"
        if moved.fee_lots:
            words += f", fee {event.fee_quantity} {instrument.base}"
        return f"{words}; position {instrument.qty_text(event.position_lots)}"


def _lots(instrument: Instrument, text: str, what: str) -> int:
    try:
        lots = instrument.lots(text)
    except ValueRefused as error:
        raise ValueError(f"{what}: {error}") from error
    if lots < 0:
        raise ValueError(f"{what} was {text}, allowed is not below 0")
    return lots


def _money(text: str, what: str) -> Decimal:
    try:
        value = parse_decimal(text)
    except ValueRefused as error:
        raise ValueError(f"{what}: {error}") from error
    if value < 0:
        raise ValueError(f"{what} was {text}, allowed is not below 0")
    return value


def _basis(asked: MoveCoins) -> Decimal | None:
    if asked.way is TransferWay.IN:
        if not asked.basis:
            raise ValueError("basis: what the coins cost, fees included, has to be said, be it 0")
        return _money(asked.basis, "basis")
    if asked.basis:
        raise ValueError("basis: the lots that go say what they cost")
    return None


def _acquired(asked: MoveCoins, now_ns: int) -> int:
    if asked.way is TransferWay.OUT:
        if asked.acquired_ns:
            raise ValueError("acquired: the lots that go say when they were bought")
        return 0
    if not 0 < asked.acquired_ns <= now_ns:
        raise ValueError("acquired: when the coins were bought has to be said, and is not to come")
    return asked.acquired_ns


def _fee_source(asked: MoveCoins, instrument: Instrument, fee_lots: int) -> str:
    if asked.fee_value:
        return "told with the transfer"
    return f"{instrument.venue} {instrument.name} mid" if fee_lots else ""
