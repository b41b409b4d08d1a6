"""The file in which a paper venue keeps its account: ``paper.account`` in the state directory.

One JSON line a fact, appended: an order that was sent, a fill, an end. A line cut off by a crash is
dropped when the file is opened, for nobody was told of it. Opened larger than ``BYTES_MAX`` it is
written anew with the positions and the newest orders. It is no ledger: it proves nothing and is
believed only as a broker is, by comparing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path

import msgspec

from core.errors import Failed, ValueRefused
from core.model.instrument import Instrument, plain
from core.model.order import Fill, Order, OrderReport, ReportKind
from core.model.transfer import Transfer

NAME = "paper.account"
BYTES_MAX = 4 * 1024 * 1024
ORDERS_KEPT = 200
"""Orders that a file written anew still holds."""


class _Line(msgspec.Struct, frozen=True, tag_field="k", omit_defaults=True):
    """Root of the lines."""


class Opened(_Line, frozen=True, tag="account"):
    """The first line: what was held when the file began."""

    positions: dict[str, dict[str, str]]
    """Quantity by venue and instrument, as text."""
    format: str = "paper-account/1"


class Sent(_Line, frozen=True, tag="order"):
    venue: str
    grid: str
    """Tick and lot size in force, as text: lots mean nothing without."""
    order: Order


class Filled(_Line, frozen=True, tag="fill"):
    venue: str
    grid: str
    quantity: str
    """Signed, as text."""
    fill: Fill


class Ended(_Line, frozen=True, tag="end"):
    report: OrderReport


class Moved(_Line, frozen=True, tag="transfer"):
    """Coins moved into the account or out of it, as the trader said."""

    venue: str
    instrument: str
    transfer_id: str
    quantity: str
    """Signed, as text."""


_AnyLine = Opened | Sent | Filled | Ended | Moved
_decode = msgspec.json.Decoder(_AnyLine).decode
_encode = msgspec.json.Encoder().encode


class OrderLine(msgspec.Struct):
    """One order of the file with its fills and its end."""

    venue: str
    grid: str
    order: Order
    fills: list[Fill] = []
    end: OrderReport | None = None

    def is_of(self, instrument: Instrument) -> bool:
        """Tell whether its lots and ticks are those of ``instrument``."""
        return self.venue == instrument.venue and self.grid == _grid(instrument)

    @property
    def is_open(self) -> bool:
        filled_lots = sum(fill.qty_lots for fill in self.fills)
        return self.end is None and filled_lots < self.order.qty_lots


class PaperMemory:
    """The account file of one state directory; only the engine that owns it writes it."""

    def __init__(self, state_dir: Path) -> None:
        """Errors: ``Failed`` for a file that cannot be read."""
        self.path = state_dir / NAME
        self.failure = ""
        """Why it can no longer be written; empty while it can."""
        self._held: dict[tuple[str, str], Decimal] = {}
        self._orders: dict[str, OrderLine] = {}
        self.moves: dict[str, Moved] = {}
        """By transfer id: none is ever forgotten, or a start would book it again."""
        self.is_new = not self.path.is_file()
        if not self.is_new:
            self._read()
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    @property
    def orders(self) -> list[OrderLine]:
        return list(self._orders.values())

    def positions(self, instruments: Iterable[Instrument]) -> dict[str, int]:
        """Return the lots held of these instruments.

        Errors: ``Failed`` if a position is no whole number of lots any more.
        """
        try:
            return {
                one.name: one.lots(self._held.get((one.venue, one.name), Decimal(0)))
                for one in instruments
            }
        except ValueRefused as error:
            raise Failed(f"{self.path}: a position does not fit: {error}") from error

    # --- written --------------------------------------------------------------------------------

    def begin(self, instruments: Iterable[Instrument], lots: Mapping[str, int]) -> None:
        """Write the first line of a new file."""
        for one in instruments:
            if lots.get(one.name):
                self._held[one.venue, one.name] = one.qty(lots[one.name])
        self._write(self._opened())
        self.sync()

    def sent(self, order: Order, instrument: Instrument | None) -> None:
        """Note an order on its way; without a sync, for it has done nothing yet."""
        if instrument is not None:
            self._note(Sent(instrument.venue, _grid(instrument), order))

    def filled(self, fill: Fill, instrument: Instrument) -> None:
        """Note a fill; ``sync`` before anybody is told."""
        grid = _grid(instrument)
        self._note(Filled(instrument.venue, grid, _quantity(grid, fill), fill))

    def moved(self, transfer: Transfer, instrument: Instrument) -> None:
        """Note a transfer and make it durable; one that is known already is not noted again."""
        if transfer.transfer_id in self.moves:
            return
        quantity = plain(instrument.qty(transfer.change_lots))
        key = transfer.transfer_id
        self._note(Moved(instrument.venue, instrument.name, key, quantity))
        self.sync()

    def ended(self, report: OrderReport) -> None:
        """Note how an order ended."""
        self._note(Ended(report))

    def end_open(self, why: str) -> None:
        """End what is open: its process is gone."""
        for line in self.orders:
            if line.is_open:
                key = line.order.client_order_id
                self.ended(OrderReport(ReportKind.CANCELED, key, 0, why))
        self.sync()

    def sync(self) -> None:
        """Make all lines durable."""
        try:
            os.fdatasync(self._file)
        except OSError as error:
            self.failure = self.failure or f"{self.path}: {error.strerror}"

    def _write(self, line: _AnyLine) -> None:
        """Append a line; after a failure none, so that a line cut off stays the last."""
        if self.failure:
            return
        data = _encode(line) + b"\n"
        try:
            written = os.write(self._file, data)
        except OSError as error:
            self.failure = f"{self.path}: {error.strerror}"
        else:
            if written != len(data):
                self.failure = f"{self.path}: no space for a whole line"

    def _note(self, line: _AnyLine) -> None:
        self._take(line)
        self._write(line)

    # --- read -----------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise Failed(f"{self.path}: cannot be read ({error.strerror})") from error
        whole, _, torn = data.rpartition(b"\n")
        lines = whole.split(b"\n") if whole else []
        for number, text in enumerate(lines, 1):
            try:
                self._take(_decode(text))
            except (msgspec.DecodeError, KeyError, ArithmeticError) as error:
                raise Failed(f"{self.path}: line {number} cannot be read: {error}") from error
        if torn:
            os.truncate(self.path, len(data) - len(torn))
        self.is_new = not lines
        if len(data) > BYTES_MAX:
            self._write_anew()

    def _take(self, line: _AnyLine) -> None:
        match line:
            case Opened():
                for venue, held in line.positions.items():
                    for name, quantity in held.items():
                        self._held[venue, name] = Decimal(quantity)
            case Sent():
                key = line.order.client_order_id
                self._orders[key] = OrderLine(line.venue, line.grid, line.order)
            case Filled():
                place = (line.venue, line.fill.instrument)
                self._held[place] = self._held.get(place, Decimal(0)) + Decimal(line.quantity)
                order = self._orders[line.fill.client_order_id]
                order.fills = [*order.fills, line.fill]
            case Ended():
                self._orders[line.report.client_order_id].end = line.report
            case Moved():
                place = (line.venue, line.instrument)
                self._held[place] = self._held.get(place, Decimal(0)) + Decimal(line.quantity)
                self.moves[line.transfer_id] = line

    def _opened(self) -> Opened:
        """Return what was held before the transfers and the fills of the orders still here."""
        before = dict(self._held)
        for move in self.moves.values():
            before[move.venue, move.instrument] -= Decimal(move.quantity)
        for line in self.orders:
            for fill in line.fills:
                before[line.venue, fill.instrument] -= Decimal(_quantity(line.grid, fill))
        held: dict[str, dict[str, str]] = {}
        for (venue, name), quantity in before.items():
            if quantity:
                held.setdefault(venue, {})[name] = plain(quantity)
        return Opened(held)

    def _write_anew(self) -> None:
        """Replace the file by what it says now; the old one stands until the new one is whole."""
        closed = [key for key, line in self._orders.items() if not line.is_open]
        for key in closed[:-ORDERS_KEPT]:
            del self._orders[key]
        lines: list[_AnyLine] = [self._opened(), *self.moves.values()]
        for line in self.orders:
            lines.append(Sent(line.venue, line.grid, line.order))
            lines += [
                Filled(line.venue, line.grid, _quantity(line.grid, fill), fill)
                for fill in line.fills
            ]
            if line.end is not None:
                lines.append(Ended(line.end))
        fresh = self.path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.writelines(_encode(line) + b"\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)


def _quantity(grid: str, fill: Fill) -> str:
    """Return the signed quantity of a fill as text."""
    return plain(Decimal(grid.split()[1]) * fill.qty_lots * fill.side.sign)


def _grid(instrument: Instrument) -> str:
    return f"{plain(instrument.tick_size)} {plain(instrument.lot_size)}"
