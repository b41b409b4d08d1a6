"""Frame to features: microseconds a message on recorded level messages, beside orjson.

    python bench/bench_feed.py CAPTURE [--passes 5] [--limit MESSAGES]

Every pass decodes the envelope (msgspec), reads all levels, applies them to a new book, reads the
touch and the depth of ten, and feeds the features. An ``orjson.loads`` pass over the same frames
runs beside each, in the same process: the ratio is what survives a busy machine. At the end the
book of each instrument must equal a dict book made from Decimals level by level, or exit 1.
A message that the reader refuses counts, on both sides, as not there.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import json
import statistics
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.book import Book
from core.features import Features
from core.levels import LevelReader
from core.model.instrument import Instrument

PERCENTILES = (50, 99, 99.9)


class Depth(msgspec.Struct, gc=False):
    s: str
    U: int
    u: int
    b: msgspec.Raw
    a: msgspec.Raw


class Stream(msgspec.Struct, gc=False):
    data: Depth


class L2Event(msgspec.Struct, gc=False):
    type: str
    product_id: str
    updates: msgspec.Raw


class L2(msgspec.Struct, gc=False):
    sequence_num: int
    events: list[L2Event]


STREAM = msgspec.json.Decoder(Stream)
L2_DATA = msgspec.json.Decoder(L2)

Frame = tuple[int, bytes]


class Desk:
    """Book, reader and features of one instrument."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.reader = LevelReader(instrument, off_lot="floor")
        self.book = Book(instrument)
        self.features = Features()

    def take(self, now_ns: int, levels: np.ndarray) -> None:
        self.book.apply(levels)
        touch = self.book.touch()
        if 0 < touch[0] < touch[2]:
            self.features.on_book(now_ns, touch[0:2], touch[2:4], touch[4:6])


def on_binance(desks: dict[str, Desk], frame: Frame) -> None:
    now_ns, data = frame
    depth = STREAM.decode(data).data
    desk = desks[depth.s]
    desk.take(now_ns, desk.reader.read_depth(depth.b, depth.a))


def on_coinbase(desks: dict[str, Desk], frame: Frame) -> None:
    now_ns, data = frame
    for event in L2_DATA.decode(data).events:
        desk = desks[event.product_id]
        levels = desk.reader.read_updates(event.updates)
        if event.type == "snapshot":
            desk.book.clear()
        desk.take(now_ns, levels)


def load(path: Path, limit: int) -> tuple[dict[str, Any], list[Frame], list[Frame]]:
    """Return meta line, small frames and snapshot frames that carry levels."""
    frames: list[Frame] = []
    snapshots: list[Frame] = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        meta = json.loads(next(lines))
        for line in lines:
            record = json.loads(line)
            if record["k"] != "recv":
                continue
            text = record["d"]
            is_binance = "@depth" in text[:60]
            if not is_binance and not text.startswith('{"channel":"l2_data"'):
                continue
            frame = (record["ns"], text.encode())
            (snapshots if '"type":"snapshot"' in text[:160] else frames).append(frame)
    return meta, frames[:limit], snapshots


class DictBook:
    """The naive book: Decimals in two dicts, from ``json`` alone."""

    def __init__(self) -> None:
        self.sides: tuple[dict[Decimal, Decimal], ...] = ({}, {})

    def set(self, side: int, price: str, qty: str, lot: Decimal) -> None:
        quantity = Decimal(qty)
        if quantity:
            # The same rule as the reader's for an order off the present lot grid.
            self.sides[side][Decimal(price)] = max(quantity // lot, Decimal(1)) * lot
        else:
            self.sides[side].pop(Decimal(price), None)


def naive(desks: dict[str, Desk], frames: list[Frame]) -> dict[str, DictBook]:
    books = {name: DictBook() for name in desks}
    for _, data in frames:
        message = json.loads(data)
        if "data" in message:
            depth = message["data"]
            lot = desks[depth["s"]].instrument.lot_size
            for side, key in enumerate("ba"):
                for price, qty in depth[key]:
                    books[depth["s"]].set(side, price, qty, lot)
            continue
        for event in message["events"]:
            name = event["product_id"]
            if event["type"] == "snapshot":
                books[name] = DictBook()
            lot = desks[name].instrument.lot_size
            for update in event["updates"]:
                side = 0 if update["side"] == "bid" else 1
                books[name].set(side, update["price_level"], update["new_quantity"], lot)
    return books


def differences(desks: dict[str, Desk], books: dict[str, DictBook]) -> list[str]:
    found = []
    for name, desk in desks.items():
        for side in (0, 1):
            ours = {
                desk.instrument.price(ticks): desk.instrument.qty(lots)
                for ticks, lots in desk.book.levels(side).items()
            }
            if ours != books[name].sides[side]:
                found.append(f"{name} side {side}: {len(ours)} levels are not the naive book's")
        bids, asks = books[name].sides
        touch = desk.book.touch()
        best = (max(bids, default=Decimal(0)), min(asks, default=Decimal(0)))
        if best != (desk.instrument.price(touch[0]), desk.instrument.price(touch[2])):
            found.append(f"{name}: best levels are not the naive book's")
    return found


def each(frames: list[Frame], work: Callable[[Frame], object]) -> np.ndarray:
    """Return microseconds of every frame, collector off, the timer's ~0.1 included."""
    result = np.empty(len(frames))
    gc.disable()
    for i, frame in enumerate(frames):
        start = time.perf_counter_ns()
        work(frame)
        result[i] = time.perf_counter_ns() - start
    gc.enable()
    return result / 1000


def orjson_loads() -> Callable[[bytes], object] | None:
    try:
        import orjson
    except ImportError:
        return None
    return orjson.loads


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("capture", type=Path)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--limit", type=int, default=100_000)
    options = parser.parse_args()
    meta, frames, snapshots = load(options.capture, options.limit)
    if not frames:
        print("no Binance depth and no Coinbase l2_data frame in this capture", file=sys.stderr)
        return 1
    handle = on_binance if meta["venue"] == "binance" else on_coinbase

    def fresh() -> dict[str, Desk]:
        return {
            name: Desk(
                Instrument(
                    meta["venue"], name, name, name,
                    Decimal(size["price_increment"]), Decimal(size["size_increment"]),
                )
            )
            for name, size in meta["instruments"].items()
        }  # fmt: skip

    def with_snapshots() -> dict[str, Desk]:
        desks = fresh()
        for snapshot in snapshots:
            handle(desks, snapshot)
        return desks

    desks = with_snapshots()
    for frame in frames[:50]:
        handle(desks, frame)  # compiled and warm
    loads = orjson_loads()
    ours, beside = [], []
    for _ in range(options.passes):
        desks = with_snapshots()
        ours.append(each(frames, lambda frame, desks=desks: handle(desks, frame)))
        if loads is not None:
            beside.append(each(frames, lambda frame: loads(frame[1])))
    size = sum(len(data) for _, data in frames)
    print(f"{options.capture.name}: {len(frames)} frames of {size / len(frames):.0f} bytes")
    _show("ours", ours)
    if beside:
        _show("orjson", beside)
        medians = [np.median(a) / np.median(b) for a, b in zip(ours, beside, strict=True)]
        totals = [a.sum() / b.sum() for a, b in zip(ours, beside, strict=True)]
        print(
            f"ours / orjson: {statistics.median(medians):.2f} of the medians, "
            f"{statistics.median(totals):.2f} of the totals"
        )
    else:
        print("orjson is not installed: no ratio")
    for snapshot in snapshots:
        took = each([snapshot], lambda frame: handle(fresh(), frame))[0]
        print(f"snapshot {len(snapshot[1]) / 1e6:.1f} MB  {took / 1000:.1f} ms")
    for name, desk in desks.items():
        book, reader = desk.book, desk.reader
        print(
            f"{name}: levels {book.size()}, outside the window {book.far_levels}, window moved "
            f"{book.window_moves}, {book.memory_bytes / 2**20:.1f} MiB, slow reads "
            f"{reader.slow_reads}, off-lot levels {reader.floored}"
        )
    found = differences(desks, naive(desks, snapshots + frames))
    for difference in found:
        print(f"WRONG {difference}", file=sys.stderr)
    print("final books " + ("DIFFER" if found else "equal the naive Decimal books"))
    return 1 if found else 0


def _show(name: str, passes: list[np.ndarray]) -> None:
    """Print the median over the passes of mean and percentiles."""
    mean = statistics.median(float(one.mean()) for one in passes)
    points = np.median([np.percentile(one, PERCENTILES) for one in passes], axis=0)
    shown = "  ".join(f"p{p} {v:.2f}" for p, v in zip(PERCENTILES, points, strict=True))
    print(f"{name:7s} us/frame  {shown}  mean {mean:.2f}")


if __name__ == "__main__":
    sys.exit(main())
