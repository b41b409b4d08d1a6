"""A long Binance stream made of one capture: the same messages round after round, never a gap.

After each round one more depth event brings the book back to the snapshot's, so the next round
finds what it expects; ids and times go on from where they were. More symbols are the same
messages under other names. Everything a protocol checks holds: update ids chain, trade ids rise,
``bookTicker`` equals the book at its id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from core.feeds.capture import CaptureReader
from core.model.instrument import Instrument

_NUMBER = re.compile(rb'"([EUuTt])":(\d+)')
_KINDS = ("depthUpdate", "trade", "bookTicker")
_BETWEEN_ROUNDS_MS = 100


class _Template(NamedTuple):
    """A frame with ``%d`` for each number that moves on, and what the numbers were."""

    text: bytes
    keys: tuple[str, ...]
    values: tuple[int, ...]


class Rounds:
    """The messages of a one-symbol Binance capture from its snapshot on, ``length`` at most.

    Errors: ``ValueError`` for a capture that is not of Binance, or has not one symbol and snapshot.
    """

    def __init__(
        self,
        path: Path,
        symbols: Sequence[str] = (),
        *,
        depth_only: bool = False,
        length: int = 10_000_000,
    ) -> None:
        reader = CaptureReader(path)
        if reader.meta.venue != "binance" or len(reader.meta.symbols) != 1:
            raise ValueError(f"{path.name}: wanted a Binance capture of one symbol")
        self._own = reader.meta.symbols[0]
        self.instrument: Instrument = reader.meta.instruments[0]
        self.symbols = tuple(symbols) or (self._own,)
        bodies = [record.text for record in reader if "/depth?" in record.url]
        if not bodies:
            raise ValueError(f"{path.name}: there is no depth snapshot in it")
        self._snapshot = json.loads(bodies[0])
        self._templates: list[_Template] = []
        self._shift = self._read(reader, depth_only, length)
        """By how much each number grows a round."""

    @property
    def n_messages(self) -> int:
        """Messages of one round of all symbols."""
        return len(self._templates) * len(self.symbols)

    def ending_in_event(self, count: int) -> int:
        """Return the least number of frames from ``count`` on whose last one brings an event.

        Depth events and trades do. A ticker that agrees with the book brings none, so whoever
        waits for the last message by its event would wait for ever behind one.
        """
        size = len(self.symbols)
        while "E" not in self._templates[(count - 1) // size % len(self._templates)].keys:
            count += 1
        return count

    def snapshot(self) -> bytes:
        """Return the REST reply that every symbol's book begins with."""
        return json.dumps(self._snapshot).encode()

    def product(self, symbol: str) -> bytes:
        """Return the venue's product list with the one symbol."""
        return json.dumps(
            {
                "symbols": [
                    {
                        "symbol": symbol,
                        "status": "TRADING",
                        "baseAsset": symbol.removesuffix("USDT"),
                        "quoteAsset": "USDT",
                        "filters": [
                            {
                                "filterType": "PRICE_FILTER",
                                "tickSize": str(self.instrument.tick_size),
                            },
                            {"filterType": "LOT_SIZE", "stepSize": str(self.instrument.lot_size)},
                            {"filterType": "NOTIONAL", "minNotional": "5"},
                        ],
                    }
                ]
            }
        ).encode()

    def frames(self, count: int) -> Iterator[bytes]:
        """Yield ``count`` frames, round after round, symbol after symbol."""
        own = (self._own.encode(), self._own.lower().encode())
        names = [(name.encode(), name.lower().encode()) for name in self.symbols]
        left = count
        number = 0
        while True:
            for text, keys, values in self._templates:
                numbers = tuple(
                    value + number * self._shift[key]
                    for key, value in zip(keys, values, strict=True)
                )
                frame = text % numbers
                for upper, lower in names:
                    if not left:
                        return
                    left -= 1
                    yield (
                        frame
                        if upper == own[0]
                        else frame.replace(own[0], upper).replace(own[1], lower)
                    )
            number += 1

    def _read(self, reader: CaptureReader, depth_only: bool, length: int) -> dict[str, int]:
        last_id = self._snapshot["lastUpdateId"]
        sides: tuple[dict[str, str], dict[str, str]] = ({}, {})
        start: tuple[dict[str, str], dict[str, str]] = ({}, {})
        for at, key in enumerate(("bids", "asks")):
            for price, qty in self._snapshot[key]:
                sides[at][price] = start[at][price] = qty
        times: list[int] = []
        trades: list[int] = []
        has_begun = False
        for record in reader:
            if len(self._templates) == length:
                break
            if record.kind != "recv":
                continue
            event = json.loads(record.text)["data"]
            kind = event.get("e", "bookTicker")
            is_depth = kind == "depthUpdate"
            has_begun = has_begun or (is_depth and event["u"] > self._snapshot["lastUpdateId"])
            if not has_begun or kind not in _KINDS or (depth_only and not is_depth):
                continue
            self._add(record.data)
            if is_depth:
                last_id = event["u"]
                times.append(event["E"])
                for at, key in enumerate("ba"):
                    sides[at].update(dict(event[key]))
            elif kind == "trade":
                trades.append(event["t"])
        back = {
            "e": "depthUpdate",
            "E": times[-1] + _BETWEEN_ROUNDS_MS,
            "s": self._own,
            "U": last_id + 1,
            "u": last_id + 1,
            "b": _changes(sides[0], start[0]),
            "a": _changes(sides[1], start[1]),
        }
        stream = f"{self._own.lower()}@depth@100ms"
        self._add(json.dumps({"stream": stream, "data": back}, separators=(",", ":")).encode())
        duration_ms = times[-1] - times[0] + 2 * _BETWEEN_ROUNDS_MS
        ids = last_id + 1 - self._snapshot["lastUpdateId"]
        n_trades = trades[-1] - trades[0] + 1 if trades else 0
        return {"E": duration_ms, "T": duration_ms, "U": ids, "u": ids, "t": n_trades}

    def _add(self, data: bytes) -> None:
        found = _NUMBER.findall(data)
        text = _NUMBER.sub(rb'"\1":%d', data.replace(b"%", b"%%"))
        keys = tuple(key.decode() for key, _ in found)
        self._templates.append(_Template(text, keys, tuple(int(value) for _, value in found)))


def _changes(found: dict[str, str], wanted: dict[str, str]) -> list[list[str]]:
    """Return what turns one side into the other, levels of quantity zero counting as none."""
    changes = [
        [price, "0.00000000"]
        for price, qty in found.items()
        if price not in wanted and Decimal(qty)
    ]
    return changes + [[price, qty] for price, qty in wanted.items() if found.get(price) != qty]
