"""The quick way and the typed way take every frame alike, and the usual frames go the quick way."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from core.config import Settings
from core.feeds.binance import BinanceProtocol
from core.feeds.capture import Record, read_capture
from core.feeds.coinbase import CoinbaseProtocol
from core.feeds.registry import protocol_for
from core.feeds.replaying import give
from core.kernels import block as at
from tests.core.feeds.wire import MS, T0, binance, coinbase, depth_url, snapshot

CAPTURES = Path(__file__).resolve().parents[3] / ".." / "shared" / "captures"
Quick = BinanceProtocol | CoinbaseProtocol


class Pair:
    """The same records to both; what comes out must be equal each time."""

    def __init__(self, quick: Quick, typed: Quick, monkeypatch: pytest.MonkeyPatch) -> None:
        self.quick, self.typed = quick, typed
        typed.uses_kernel = False
        self.n_typed = self.n_frames = 0
        read = quick._read

        def counted(data: bytes, recv_ns: int) -> list:
            self.n_typed += 1
            return read(data, recv_ns)

        monkeypatch.setattr(quick, "_read", counted)

    def take(self, records: Iterable[Record], *, look_every: int = 200) -> None:
        for number, record in enumerate(records):
            self.n_frames += record.kind == "recv"
            assert give(self.quick, record) == give(self.typed, record), record.text[:300]
            if number % look_every == 0:
                self.compare()
        self.compare()

    def compare(self) -> None:
        assert self.quick.counters == self.typed.counters
        for ours, theirs in zip(self.quick.instruments, self.typed.instruments, strict=True):
            for name in set(ours.__struct_fields__) - {"book", "instrument"}:
                assert getattr(ours, name) == getattr(theirs, name), name
            for side in (0, 1):
                assert ours.book.levels(side) == theirs.book.levels(side)
            assert ours.book.touch() == theirs.book.touch()
            assert ours.book.row.tobytes() == theirs.book.row.tobytes()
            # Ids, tickers, grid counts, features: all but the scratch rows of the kernel.
            mine, other = ours.book.block[: at.TICKERS], theirs.book.block[: at.TICKERS]
            np.testing.assert_array_equal(mine, other)


def received(frames: Iterable[bytes], step_ns: int = 37 * MS) -> list[Record]:
    return [
        Record("recv", T0 + number * step_ns, frame.decode())
        for number, frame in enumerate(frames, 1)
    ]


def binance_frames(seed: int, count: int) -> list[bytes]:
    """Make what the venue writes around 100.00, byte for byte in its form."""
    made = np.random.default_rng(seed)
    frames, last = [], 100

    def pair(side: int) -> str:
        price = 100.0 + (0.01 + made.integers(0, 400) / 100) * (1 if side else -1)
        qty = 0.0 if made.random() < 0.3 else made.integers(1, 10**7) / 1e5
        return f'["{price:.8f}","{qty:.8f}"]'

    for number in range(count):
        stamp = T0 // MS + number * 37
        kind = made.integers(0, 3)
        if kind == 0:
            first, last = last + 1, last + 1 + int(made.integers(0, 5))
            bids, asks = (
                ",".join(pair(side) for _ in range(made.integers(0, 12))) for side in (0, 1)
            )
            body = (
                f'"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":{stamp},'
                f'"s":"BTCUSDT","U":{first},"u":{last},"b":[{bids}],"a":[{asks}]}}'
            )
        elif kind == 1:
            body = (
                f'"stream":"btcusdt@bookTicker","data":{{"u":{last + int(made.integers(0, 3))},'
                f'"s":"BTCUSDT","b":"99.99000000","B":"1.50000000","a":"100.01000000",'
                f'"A":"2.00000000"}}'
            )
        else:
            maker = "true" if made.random() < 0.5 else "false"
            body = (
                f'"stream":"btcusdt@trade","data":{{"e":"trade","E":{stamp},"s":"BTCUSDT",'
                f'"t":{1000 + number},"p":"100.01000000","q":"0.00{made.integers(1, 9)}00000",'
                f'"T":{stamp - 1},"m":{maker},"M":true}}'
            )
        frames.append(f"{{{body}}}".encode())
    return frames


def coinbase_frames(seed: int, count: int) -> list[bytes]:
    made = np.random.default_rng(seed)
    frames = []

    def update(side: str, low: float) -> str:
        price = f"{low + made.integers(0, 400) / 100:.2f}".rstrip("0").rstrip(".")
        qty = "0" if made.random() < 0.3 else f"{made.integers(1, 10**9) / 1e8:.8f}".rstrip("0")
        return (
            f'{{"side":"{side}","event_time":"2026-08-09T21:05:48.1Z",'
            f'"price_level":"{price}","new_quantity":"{qty.rstrip(".")}"}}'
        )

    for number in range(count):
        fraction = f".{number:09d}".rstrip("0").rstrip(".")
        updates = ",".join(
            update("bid", 96.0) if made.random() < 0.5 else update("offer", 100.01)
            for _ in range(made.integers(1, 6))
        )
        kind = "snapshot" if number == 0 else "update"
        frames.append(
            f'{{"channel":"l2_data","timestamp":"2026-02-28T23:59:59{fraction}Z",'
            f'"sequence_num":{number},"events":[{{"type":"{kind}","product_id":"BTC-USD",'
            f'"updates":[{updates}]}}]}}'.encode()
        )
    return frames


@pytest.mark.parametrize("seed", range(4))
def test_binance_frames_go_the_quick_way_and_it_changes_nothing(seed, monkeypatch):
    pair = Pair(binance(), binance(), monkeypatch)
    body = snapshot(100, [["99.99", "1.5"]], [["100.01", "2.0"]])
    for each in (pair.quick, pair.typed):
        each.on_http(depth_url("BTCUSDT"), body, T0)
    pair.take(received(binance_frames(seed, 600)), look_every=20)
    assert pair.n_typed < 0.7 * pair.n_frames  # a book in doubt goes the typed way


def test_connection_that_took_over_goes_the_quick_way_with_the_feeds_it_was_given(monkeypatch):
    frames = received(binance_frames(1, 200))
    heirs = []
    for _ in range(2):
        old, heir = binance(), binance()
        body = snapshot(100, [["99.99", "1.5"]], [["100.01", "2.0"]])
        for each in (old, heir):
            each.on_http(depth_url("BTCUSDT"), body, T0)
            for record in frames[:20]:
                give(each, record)
        heir.take_over(old, [], frames[20].ns)
        assert heir.instruments[0] is old.instruments[0]
        heirs.append(heir)
    pair = Pair(heirs[0], heirs[1], monkeypatch)
    pair.take(frames[20:], look_every=1)
    assert pair.n_typed < 0.7 * pair.n_frames


@pytest.mark.parametrize("seed", range(4))
def test_coinbase_updates_go_the_quick_way_and_it_changes_nothing(seed, monkeypatch):
    pair = Pair(coinbase(), coinbase(), monkeypatch)
    pair.take(received(coinbase_frames(seed, 400)), look_every=20)
    assert pair.n_typed < 0.1 * pair.n_frames


NAMES = ("BTC", "ETHBTC", "ETHBTCUSDT", "1000SATSUSDT")
"""One begins as another does, and their lengths differ by more than a letter."""


@pytest.mark.parametrize(
    ("speed", "is_quick"),
    [("", True), ("@100ms", True), ("@1000ms", True), ("@10ms", False), ("@100msx", False)],
)
@pytest.mark.parametrize("name", NAMES)
def test_each_stream_of_each_of_several_symbols_goes_its_own_way(
    name, speed, is_quick, monkeypatch
):
    pair = Pair(binance(*NAMES), binance(*NAMES), monkeypatch)
    body = snapshot(100, [["99.99", "1.5"]], [["100.01", "2.0"]])
    for each in (pair.quick, pair.typed):
        for every in NAMES:
            each.on_http(depth_url(every), body, T0)
    frames = [
        frame.replace(b"BTCUSDT", name.encode()).replace(
            b"btcusdt@depth@100ms", f"{name.lower()}@depth{speed}".encode()
        )
        for frame in binance_frames(5, 60)
        if b"depth" in frame
    ]
    pair.take(received(frames), look_every=5)
    assert pair.n_typed == (0 if is_quick else pair.n_frames)
    index = NAMES.index(name)
    moved = [len(each.book.levels(0)) > 1 for each in pair.quick.instruments]
    assert moved == [is_quick and at == index for at in range(len(NAMES))]


@pytest.mark.parametrize("stream", ["ethbtc@depth20@100ms", "ethbtcusd@depth@100ms", "eth@depth"])
def test_partial_book_and_symbol_that_is_not_watched_are_not_taken(stream, monkeypatch):
    pair = Pair(binance(*NAMES), binance(*NAMES), monkeypatch)
    body = snapshot(100, [["99.99", "1.5"]], [["100.01", "2.0"]])
    for each in (pair.quick, pair.typed):
        each.on_http(depth_url("ETHBTC"), body, T0)
    (frame,) = [each for each in binance_frames(5, 12) if b"depth" in each][:1]
    symbol = stream.partition("@")[0].upper().encode()
    frame = frame.replace(b"BTCUSDT", symbol).replace(b"btcusdt@depth@100ms", stream.encode())
    pair.take(received([frame]))
    assert pair.n_typed == 1
    assert len(pair.quick.instruments[NAMES.index("ETHBTC")].book.levels(0)) == 1


@pytest.mark.parametrize("seed", range(6))
def test_damaged_frames_are_taken_alike(seed, monkeypatch):
    """One byte of every third frame is another one: both refuse it, or both take it the same."""
    made = np.random.default_rng(seed)
    is_binance = seed % 2 == 0
    frames = binance_frames(seed, 500) if is_binance else coinbase_frames(seed, 500)
    for number in range(3, len(frames), 3):
        damaged = bytearray(frames[number])
        damaged[made.integers(0, len(damaged))] = made.integers(32, 127)
        frames[number] = bytes(damaged)
    if is_binance:
        pair = Pair(binance(), binance(), monkeypatch)
        for each in (pair.quick, pair.typed):
            body = snapshot(100, [["99.99", "1.5"]], [["100.01", "2.0"]])
            each.on_http(depth_url("BTCUSDT"), body, T0)
    else:
        pair = Pair(coinbase(), coinbase(), monkeypatch)
    pair.take(received(frames), look_every=10)


@pytest.mark.captures
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "share"),
    [("binance_btcusdt_2024-08-08", 0.998), ("coinbase_2026-08-09_first600", 0.7)],
)
def test_captures_go_the_quick_way_and_it_changes_nothing(name, share, monkeypatch):
    path = CAPTURES / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no captures in {CAPTURES}")
    reader = read_capture(path)
    quick, typed = (
        protocol_for(reader.meta.venue, list(reader.meta.instruments), Settings()) for _ in "12"
    )
    assert isinstance(quick, Quick)
    assert isinstance(typed, Quick)
    pair = Pair(quick, typed, monkeypatch)
    pair.take(reader, look_every=5000)
    assert pair.n_typed <= (1 - share) * pair.n_frames
