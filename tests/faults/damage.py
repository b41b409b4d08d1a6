"""Damaged frames into a protocol's ``receive``, its books held to a plain replay of what it took.

Material is a real capture where there is one, else a venue model. A message is taken when the
protocol says that the book moved; then the plain replay (json and Decimal, no code of ours) takes
the same bytes whole. So a half-applied message, or one applied without a word, shows as a
difference, and bytes that the protocol understands but json does not show as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from core.config import Settings
from core.feeds.capture import CaptureReader
from core.feeds.connection import BELIEVED
from core.feeds.protocol import FeedProtocol
from core.feeds.registry import protocol_for
from core.model.instrument import Instrument
from core.model.market import BookMoved, FeedOutput, FeedStateChanged, TradePrint
from tests.core.feeds.wire import MS, T0
from tests.faults.market import Sides
from tests.faults.venue_model import MODELS

_FILES = {
    "binance": "binance_btcusdt_2024-08-08.jsonl.gz",
    "coinbase": "coinbase_2026-08-09_first600.jsonl.gz",
    "coinbase-exchange": "coinbase-exchange_2021-04-17.jsonl.gz",
    "alpaca": "alpaca_ibm_2013-10-07.jsonl.gz",
}
_MAX_FRAMES = 3_000
_LARGE = 2_000
"""Levels from which a book is compared now and then, not at every refusal."""
_DEAD = 60
"""Frames without a believed book after which a new connection is made."""
_MAX_STEPS = 2**62
_WORDS = (
    b'"sNaN"', b'"NaN"', b'"Infinity"', b"9" * 4_000,
    b"NaN", b"sNaN", b"-NaN", b"Infinity", b"-Infinity", b"1e400", b"1e-400", b"-1", b"-0", b"0",
    b"0.00000000", b"", b" 1", b"1 ", b"+1", b"1_0", b"0x10", b"1e5", b"1.", b".5", b"00001.00",
    b"9" * 18, b"9" * 40, b"9" * 5_000, b"0." + b"0" * 300 + b"1", b"null", b"true", b"[]", b"{}",
    b'"', b"\\u0000", b"\\ud800", "\u0661".encode(), b"\xff", b"\x1b[2J", b"[" * 3_000,
    b"9223372036854775807", b"9223372036854775808", b"18446744073709551616", b"snapshot",
    b"update", b"bid", b"offer", b"buy", b"sell", b"depthUpdate", b"error", b"l2_data",
)  # fmt: skip
_TOKEN = re.compile(rb"-?\d+(?:\.\d+)?|[A-Za-z_@-]{2,}")


class Material(msgspec.Struct):
    """One venue's frames in order; ``bodies`` are replies by address, given at the start."""

    venue: str
    instruments: list[Instrument]
    frames: list[bytes]
    bodies: list[tuple[str, bytes]]


class Tally(msgspec.Struct):
    """Counts of a hunt."""

    frames: int = 0
    damaged: int = 0
    refused: int = 0
    taken: int = 0
    """Book messages applied."""
    taken_damaged: int = 0
    compared: int = 0
    connections: int = 0
    wrong: list[str] = []

    def __str__(self) -> str:
        return (
            f"damaged {self.damaged}, refused {self.refused}, book messages taken {self.taken} "
            f"({self.taken_damaged} of them damaged), books compared {self.compared}, "
            f"connections {self.connections}, wrong {len(self.wrong)}"
        )


def material(venue: str, captures: Path, seed: int) -> Material:
    """Return real frames where the capture is, else a model's."""
    path = captures / _FILES.get(venue, "none")
    if not path.exists():
        return modelled(venue, seed)
    reader = CaptureReader(path)
    frames, bodies = [], []
    for record in islice(reader, _MAX_FRAMES):
        if record.kind == "recv":
            frames.append(record.data)
        elif record.kind == "http":
            bodies.append((record.url, record.data))
    return Material(venue, list(reader.meta.instruments), frames, bodies)


def modelled(venue: str, seed: int) -> Material:
    """Return the frames a model sends in ten calm seconds."""
    model = MODELS[venue](np.random.default_rng(seed), T0)
    protocol = protocol_for(venue, [each.instrument for each in model.markets], Settings())
    sent = model.connected(T0)
    for output in protocol.on_open(T0):
        sent += model.asked(output.text, T0) if hasattr(output, "text") else []
    bodies = []
    if model.has_http:
        for name in model.names:
            url = f"https://x/api/v3/depth?symbol={name}&limit=100"
            bodies.append((url, model.fetch(url, old=False)))
    for step in range(1, 10_000 // model.flush_ms):
        sent += model.run(T0 + step * model.flush_ms * MS)
        sent += model.heartbeat() if step % 20 == 0 else []
    return Material(
        venue, [each.instrument for each in model.markets], [each.data for each in sent], bodies
    )


def damage(data: bytes, other: bytes, generator: np.random.Generator) -> bytes:
    """Return the frame with one wound, or a few."""
    for _ in range(1 if generator.random() < 0.7 else int(generator.integers(2, 5))):
        data = _WOUNDS[int(generator.integers(0, len(_WOUNDS)))](data, other, generator)
    return data


def _at(data: bytes, generator: np.random.Generator) -> int:
    return int(generator.integers(0, len(data) + 1))


def _flip(data: bytes, _: bytes, generator: np.random.Generator) -> bytes:
    at = _at(data, generator)
    return data[:at] + generator.bytes(1) + data[at + 1 :]


def _digit(data: bytes, _: bytes, generator: np.random.Generator) -> bytes:
    at = _at(data, generator)
    digit = b"0123456789.-"[int(generator.integers(0, 12)) :][:1]
    return data[:at] + digit + data[at + int(generator.integers(0, 2)) :]


def _cut(data: bytes, _: bytes, generator: np.random.Generator) -> bytes:
    return data[: _at(data, generator)]


def _hole(data: bytes, _: bytes, generator: np.random.Generator) -> bytes:
    at = _at(data, generator)
    return data[:at] + data[at + int(generator.integers(1, 30)) :]


def _again(data: bytes, _: bytes, generator: np.random.Generator) -> bytes:
    at, size = _at(data, generator), int(generator.integers(1, 60))
    return data[: at + size] + data[at:]


def _splice(data: bytes, other: bytes, generator: np.random.Generator) -> bytes:
    return data[: _at(data, generator)] + other[_at(other, generator) :]


def _word(data: bytes, _: bytes, generator: np.random.Generator) -> bytes:
    """Put a word of ill repute where a number or a name was."""
    begin = _at(data, generator)
    found = _TOKEN.search(data, begin) or _TOKEN.search(data)
    if found is None:
        return data
    word = _WORDS[int(generator.integers(0, len(_WORDS)))]
    return data[: found.start()] + word + data[found.end() :]


_WOUNDS: tuple[Callable[[bytes, bytes, np.random.Generator], bytes], ...] = (
    _flip, _digit, _cut, _hole, _again, _splice, _word, _word, _word,
)  # fmt: skip


class _Hunt:
    """One protocol, its plain replay, and what was found."""

    def __init__(self, given: Material, generator: np.random.Generator, tally: Tally) -> None:
        self.given = given
        self.generator = generator
        self.tally = tally
        self.protocol: FeedProtocol = protocol_for(given.venue, given.instruments, Settings())
        self.replays: list[Sides | None] = [None] * len(given.instruments)
        self.now_ns = T0

    def connect(self) -> None:
        self.tally.connections += 1
        self.check(self.protocol.on_close("next", self.now_ns), b"")
        self.check(self.protocol.on_open(self.now_ns), b"")
        for url, body in self.given.bodies:
            bad = damage(body, body, self.generator) if self.generator.random() < 0.3 else body
            self.check(self.protocol.on_http(url, bad, self.now_ns), b"")

    def receive(self, data: bytes, is_damaged: bool) -> None:
        self.now_ns += MS
        refused = self.protocol.counters.refused
        outputs = self.protocol.receive(data, self.now_ns)
        self.tally.frames += 1
        self.tally.damaged += is_damaged
        was_refused = self.protocol.counters.refused > refused
        self.tally.refused += was_refused
        if any(isinstance(each, BookMoved) for each in outputs):
            self.tally.taken_damaged += is_damaged
        self.check(outputs, data)
        if was_refused or self.generator.random() < 0.03:
            self.compare()

    def check(self, outputs: list[FeedOutput], data: bytes) -> None:
        """Judge what came out, and let the plain replay follow."""
        moved = set()
        for each in outputs:
            if isinstance(each, BookMoved):
                moved.add(each.instrument)
                self.require(0 <= each.ts_event_ns < 2**63, "event time", data)
            elif isinstance(each, TradePrint):
                good = 0 < each.price_ticks < _MAX_STEPS and 0 < each.qty_lots < _MAX_STEPS
                self.require(good, "trade value", data)
                self.require(0 <= each.ts_event_ns < 2**63, "trade time", data)
                is_plain = each.trade_id.isascii() and each.trade_id.isprintable()
                self.require(is_plain and len(each.trade_id) <= 64, "trade id", data)
            elif isinstance(each, FeedStateChanged):
                self.require(each.reason.isascii() and each.reason.isprintable(), "reason", data)
        for index, feed in enumerate(self.protocol.instruments):
            if feed.state not in BELIEVED:
                self.replays[index] = None
                self.require(feed.book.size() == (0, 0), "levels nobody believes", data)
            elif index in moved:
                self.tally.taken += 1
                self.follow(index, data)

    def follow(self, index: int, data: bytes) -> None:
        replay = self.replays[index]
        if replay is None:
            # From here on it is followed; how a book begins is the fault runs' to judge.
            book = self.protocol.instruments[index].book
            self.replays[index] = (book.levels(0), book.levels(1))
            return
        try:
            changes, is_fresh = read(self.given.venue, self.given.instruments[index], data)
        except (ValueError, KeyError, TypeError, InvalidOperation) as error:
            self.require(False, f"taken, but plain reading says {error!r}"[:90], data)
            self.replays[index] = None
            return
        if is_fresh:
            replay[0].clear()
            replay[1].clear()
        for side, ticks, lots in changes:
            if lots:
                replay[side][ticks] = lots
            else:
                replay[side].pop(ticks, None)

    def compare(self) -> None:
        for index, feed in enumerate(self.protocol.instruments):
            replay = self.replays[index]
            is_large = sum(feed.book.size()) > _LARGE
            if replay is None or (is_large and self.generator.random() > 0.02):
                continue
            self.tally.compared += 1
            for side in (0, 1):
                held = feed.book.levels(side)
                if held != replay[side]:
                    wrong = {t for t in held.keys() | replay[side].keys()
                             if held.get(t) != replay[side].get(t)}  # fmt: skip
                    self.require(False, f"{len(wrong)} levels differ from the plain replay", b"")
                if held and (min(held) <= 0 or min(held.values()) <= 0):
                    self.require(False, "a level that is none", b"")

    def require(self, good: bool, what: str, data: bytes) -> None:
        if not good:
            self.tally.wrong.append(f"{what}: {data[:300]!r}")


def hunt(given: Material, generator: np.random.Generator, n: int, tally: Tally) -> None:
    """Feed ``n`` frames, about a third of them damaged, over as many connections as it takes."""
    one = _Hunt(given, generator, tally)
    frames = given.frames
    until = tally.frames + n
    while tally.frames < until and not tally.wrong:
        one.connect()
        dead = 0
        # How long a book lives is drawn: short lives see many starts, long ones many levels.
        share = (0.02, 0.2, 0.6)[int(generator.integers(0, 3))]
        for data in frames:
            extra = generator.random() < share
            if extra:
                other = frames[int(generator.integers(0, len(frames)))]
                source = data if generator.random() < 0.7 else other
                if len(source) < 100_000 or generator.random() < 0.05:
                    one.receive(damage(source, other[:4096], generator), True)
            # A damaged frame comes before the good one, or instead of it.
            if not extra or generator.random() < 0.5:
                one.receive(data, False)
            believed = any(each.state in BELIEVED for each in one.protocol.instruments)
            dead = 0 if believed else dead + 1
            if dead > _DEAD or tally.frames >= until or tally.wrong:
                break
    one.compare()


# --- the plain reading


def read(venue: str, one: Instrument, data: bytes) -> tuple[list[tuple[int, int, int]], bool]:
    """Return the level changes of the instrument's messages in a frame, and if they start anew."""
    # Bytes that are no UTF-8 may lie in what nobody reads.
    text = data.decode("utf-8", "replace")
    message = json.loads(text)
    match venue:
        case "binance":
            event = message.get("data", message)
            return [*_rows(one, 0, event["b"]), *_rows(one, 1, event["a"])], False
        case "coinbase":
            return _coinbase(one, message)
        case "coinbase-exchange" if message["type"] == "snapshot":
            return [*_rows(one, 0, message["bids"]), *_rows(one, 1, message["asks"])], True
        case "coinbase-exchange":
            sides = {"buy": 0, "sell": 1}
            return [(sides[s], *_steps(one, p, q)) for s, p, q in message["changes"]], False
        case "alpaca":
            return _alpaca(one, json.loads(text, parse_float=str, parse_int=str)), True
        case _:
            rows = [*_rows(one, 0, message["bids"]), *_rows(one, 1, message["asks"])]
            return rows, message["type"] == "snapshot"


def _rows(one: Instrument, side: int, rows: list[Any]) -> list[tuple[int, int, int]]:
    return [(side, *_steps(one, price, qty)) for price, qty in rows]


def _coinbase(one: Instrument, message: Any) -> tuple[list[tuple[int, int, int]], bool]:
    changes: list[tuple[int, int, int]] = []
    is_fresh = False
    for event in message["events"]:
        if event["product_id"] != one.name or event["type"] not in {"snapshot", "update"}:
            continue
        if event["type"] == "snapshot":
            changes, is_fresh = [], True
        for each in event["updates"]:
            side = {"bid": 0, "offer": 1}[each["side"]]
            changes.append((side, *_steps(one, each["price_level"], each["new_quantity"])))
    return changes, is_fresh


def _alpaca(one: Instrument, messages: Any) -> list[tuple[int, int, int]]:
    newest = [each for each in messages if each.get("T") == "q" and each.get("S") == one.name][-1]
    sides = ((0, newest["bp"], newest["bs"]), (1, newest["ap"], newest["as"]))
    return [(side, *_steps(one, price, qty)) for side, price, qty in sides if Decimal(price) != 0]


def _steps(one: Instrument, price: str, qty: str) -> tuple[int, int]:
    ticks, lots = Decimal(price) / one.tick_size, Decimal(qty) / one.lot_size
    if ticks != int(ticks) or (lots != int(lots) and one.venue != "binance"):
        raise ValueError(f"{price} x {qty} is off the grid")
    # Binance has old orders off the lot grid: whole lots, at least one (docs/venues/binance.md).
    return int(ticks), max(int(lots), 1) if lots else 0
