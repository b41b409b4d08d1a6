"""Level reading: the level lists of a venue message to rows of (side, ticks, lots).

Every level of a message is read before any is applied, so a refused message leaves the book as
it was. The kernel reads the bytes venues send; whatever it does not know goes to the one slow
reader below, which is plain msgspec and ``Instrument.ticks`` and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Literal

import msgspec
import numpy as np

from core.errors import OffLotQuantity, ValueRefused
from core.kernels import levels as kernel
from core.kernels.book import MAX_STEPS
from core.model.instrument import Instrument, parse_decimal

BID, ASK = 0, 1

_SHORTEST_ROW = len('["1","0"],')

Level = tuple[int, str, str]
"""Side, price text, quantity text."""


class _Update(msgspec.Struct, gc=False):
    """One level of Coinbase Advanced ``l2_data``; other keys are skipped."""

    side: Literal["bid", "offer"]
    price_level: str
    new_quantity: str


_PAIRS = msgspec.json.Decoder(list[tuple[str, str]])
_CHANGES = msgspec.json.Decoder(list[tuple[Literal["buy", "sell"], str, str]])
_UPDATES = msgspec.json.Decoder(list[_Update])


def slow_pairs(raw: bytes, side: int) -> list[Level]:
    """Read ``[["p","q"],...]`` by the typed decoder."""
    return [(side, price, qty) for price, qty in _PAIRS.decode(raw)]


def slow_changes(raw: bytes) -> list[Level]:
    """Read ``[["buy"|"sell","p","q"],...]`` by the typed decoder."""
    return [(BID if side == "buy" else ASK, p, q) for side, p, q in _CHANGES.decode(raw)]


def slow_updates(raw: bytes) -> list[Level]:
    """Read Coinbase Advanced updates in any key order by the typed decoder."""
    return [
        (BID if update.side == "bid" else ASK, update.price_level, update.new_quantity)
        for update in _UPDATES.decode(raw)
    ]


class LevelReader:
    """Reads the level lists of one instrument; one reader per instrument.

    Every method returns int64[n, 3] of side (0 bid, 1 ask), ticks (above zero) and lots (zero
    removes), in the message's order: a view that is valid until the next call. A list is the
    JSON text as ``bytes`` or ``msgspec.Raw``.

    Errors: ``ValueRefused`` naming instrument and text; ``OffTickPrice`` or ``OffLotQuantity``
    where that is the reason. Nothing is returned of a refused list.

    ``off_lot`` says what a quantity off the lot grid does. ``refuse`` refuses the list.
    ``floor`` takes the whole lots in it, at least one, and counts the level: venues do send
    such (7 of 298,111 levels of Binance BTCUSDT on 2024-08-08, old orders far from the market,
    as 25.42618900 at a lot of 0.00001), and a far order must not cost the whole book.
    """

    def __init__(
        self,
        instrument: Instrument,
        capacity: int = 4096,
        *,
        off_lot: Literal["refuse", "floor"] = "refuse",
        grid: np.ndarray | None = None,
    ) -> None:
        """``grid`` is where the grid is kept, int64[GRID_SIZE]; None makes an array."""
        self.instrument = instrument
        self.off_lot = off_lot
        self.slow_reads = 0
        """Lists the kernel did not know; on a live feed this stays near zero."""
        self._grid = np.zeros(kernel.GRID_SIZE, np.int64) if grid is None else grid
        self._grid[:] = grid_of(instrument, floors=off_lot == "floor")
        self._rows = np.empty((capacity, 3), np.int64)
        self._small = _SHORTEST_ROW * capacity
        """Bytes that cannot hold more rows than there is room for."""

    @property
    def floored(self) -> int:
        """Levels whose quantity was off the lot grid and was taken down to whole lots."""
        return int(self._grid[kernel.N_FLOORED])

    def read_pairs(self, raw: bytes, side: int) -> np.ndarray:
        """Read ``[["p","q"],...]`` of one side: Binance REST, Coinbase Exchange snapshot."""
        text = self._text(raw, quotes=4)
        count = kernel.parse(text, kernel.PAIRS, side, self._grid, self._rows, 0)
        if count < 0:
            return self._slow(raw, lambda: slow_pairs(raw, side))
        return self._rows[:count]

    def read_depth(self, bids: bytes, asks: bytes) -> np.ndarray:
        """Read both pair lists of one message (Binance ``b`` and ``a``) in one kernel call."""
        # Bytes go to the kernel as they are: an array made of them first costs 0.3 us more.
        bid_text, ask_text = bytes(bids), bytes(asks)
        if len(bid_text) + len(ask_text) > self._small:
            self._reserve((bid_text.count(b'"') + ask_text.count(b'"')) // 4)
        count = kernel.parse_depth(bid_text, ask_text, self._grid, self._rows)
        if count < 0:
            return self._slow(
                bid_text + ask_text, lambda: slow_pairs(bids, BID) + slow_pairs(asks, ASK)
            )
        return self._rows[:count]

    def read_changes(self, raw: bytes) -> np.ndarray:
        """Read ``[["buy"|"sell","p","q"],...]``: Coinbase Exchange ``l2update``."""
        text = self._text(raw, quotes=6)
        count = kernel.parse(text, kernel.CHANGES, 0, self._grid, self._rows, 0)
        if count < 0:
            return self._slow(raw, lambda: slow_changes(raw))
        return self._rows[:count]

    def read_updates(self, raw: bytes) -> np.ndarray:
        """Read the ``updates`` of Coinbase Advanced ``l2_data``, any key order."""
        text = self._text(raw, quotes=16)
        count = kernel.parse(text, kernel.UPDATES, 0, self._grid, self._rows, 0)
        if count < 0:
            return self._slow(raw, lambda: slow_updates(raw))
        return self._rows[:count]

    def _text(self, raw: bytes, quotes: int) -> bytes:
        """Return the bytes, with room made for as many rows as they can hold."""
        text = bytes(raw)
        if len(text) > self._small:
            self._reserve(text.count(b'"') // quotes)
        return text

    def _reserve(self, rows: int) -> None:
        if rows > len(self._rows):
            self._rows = np.empty((max(rows, 2 * len(self._rows)), 3), np.int64)
            self._small = _SHORTEST_ROW * len(self._rows)

    def _slow(self, raw: bytes, read: Callable[[], list[Level]]) -> np.ndarray:
        self.slow_reads += 1
        where = f"{self.instrument.venue} {self.instrument.name}"
        try:
            levels = read()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            text = bytes(raw)[:60].decode("ascii", "backslashreplace")
            raise ValueRefused(f"{where}: levels were {text!r}: {error}") from error
        self._reserve(len(levels))
        try:
            for row, level in enumerate(levels):
                self._rows[row] = self._row(level)
        except ValueRefused as error:
            raise type(error)(f"{where}: {error}") from error
        return self._rows[: len(levels)]

    def _row(self, level: Level) -> tuple[int, int, int]:
        try:
            return exact_row(self.instrument, level)
        except OffLotQuantity:
            if self.off_lot == "refuse":
                raise
        side, price, qty = level
        with localcontext() as context:
            context.prec = 60
            lots = max(1, int(parse_decimal(qty) // self.instrument.lot_size))
        row = exact_row(self.instrument, (side, price, self.instrument.qty_text(lots)))
        self._grid[kernel.N_FLOORED] += 1
        return row


def grid_of(instrument: Instrument, *, floors: bool) -> np.ndarray:
    """Return the kernel's grid of an instrument, int64[GRID_SIZE]."""
    grid = np.zeros(kernel.GRID_SIZE, np.int64)
    grid[kernel.PRICE_DECIMALS] = instrument.price_decimals
    grid[kernel.TICK_UNITS] = instrument.tick_units
    grid[kernel.QTY_DECIMALS] = instrument.qty_decimals
    grid[kernel.LOT_UNITS] = instrument.lot_units
    grid[kernel.FLOORS] = floors
    grid[kernel.TICK_PARTS] = _parts(instrument.tick_size)
    grid[kernel.LOT_PARTS] = _parts(instrument.lot_size)
    return grid


def _parts(size: Decimal) -> int:
    """Return an increment in parts of the quick reader, or 0 where they do not fit it."""
    parts = size.scaleb(kernel.PARTS_DECIMALS)
    return int(parts) if parts == int(parts) and parts <= MAX_STEPS else 0


def exact_row(instrument: Instrument, level: Level) -> tuple[int, int, int]:
    """Return (side, ticks, lots) of one level, exact.

    Errors: ``OffTickPrice``, ``OffLotQuantity``; ``ValueRefused`` for anything that is not plain
    decimal text, a price that is not above zero, a sign, or a value beyond ``MAX_STEPS``.
    """
    side, price, qty = level
    if price.startswith("-") or qty.startswith("-"):
        raise ValueRefused(f"level was {price[:40]!r}, {qty[:40]!r}; allowed are no signs")
    ticks, lots = instrument.ticks(price), instrument.lots(qty)
    if ticks == 0:
        raise ValueRefused(f"price was {price[:40]!r}, allowed is above zero")
    if max(ticks, lots) > MAX_STEPS:
        raise ValueRefused(f"level was {price}, {qty}; allowed are {MAX_STEPS} steps")
    return side, ticks, lots
