"""The simulated venue: frames that say everything, in order, and the same for the same seed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.errors import ValueRefused
from core.sim import venue as venue_module
from core.sim.market import PostRefused, SimMarket, sim_instrument
from core.sim.venue import Frame, SimVenue

START_NS = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
NAME = "SIM-USD"


def make_venue(seed: int = 7) -> SimVenue:
    return SimVenue([SimMarket(sim_instrument(), seed, start_ns=START_NS)])


def decoded(frames: list[Frame]) -> list[dict[str, Any]]:
    return [json.loads(data) for _, data in frames]


class Rebuilt:
    """A book made from nothing but frames."""

    def __init__(self) -> None:
        self.sides: tuple[dict[str, str], dict[str, str]] = ({}, {})
        self.seq = 0

    def take(self, frames: list[Frame]) -> None:
        for frame in decoded(frames):
            if frame["type"] == "snapshot":
                self.sides = ({}, {})
            assert frame["seq"] == self.seq + 1
            self.seq = frame["seq"]
            for side, name in enumerate(("bids", "asks")):
                for price, qty in frame[name]:
                    if qty == "0":
                        self.sides[side].pop(price, None)
                    else:
                        self.sides[side][price] = qty


def shown(market: SimMarket) -> tuple[dict[str, str], dict[str, str]]:
    text = market.instrument
    bids, asks = (
        {text.price_text(level.ticks): text.qty_text(level.lots) for level in market.levels(side)}
        for side in (0, 1)
    )
    return bids, asks


def test_same_seed_sends_the_same_bytes_and_another_seed_others() -> None:
    streams = []
    for seed in (7, 7, 8):
        venue = make_venue(seed)
        venue.connect(START_NS)
        streams.append(venue.run_until(START_NS + 5 * SECOND))
    assert streams[0] == streams[1]
    assert streams[0] != streams[2]


def test_frames_alone_rebuild_the_book_of_the_market() -> None:
    market = SimMarket(sim_instrument(), 3, start_ns=START_NS)
    venue = SimVenue([market])
    venue.connect(START_NS)
    book = Rebuilt()
    for second in range(1, 20):
        book.take(venue.run_until(START_NS + second * SECOND))
        assert book.sides == shown(market)


def test_run_in_many_small_steps_is_the_run_in_one() -> None:
    whole, steps = make_venue(), make_venue()
    many = []
    for part in range(1, 301):
        many += steps.run_until(START_NS + part * SECOND // 100)
    assert many == whole.run_until(START_NS + 3 * SECOND)


def test_frame_times_never_go_back_nor_past_the_present() -> None:
    venue = make_venue()
    now_ns = START_NS + 5 * SECOND
    times = [ns for ns, _ in venue.run_until(now_ns)]
    assert times == sorted(times)
    assert times[0] >= START_NS
    assert times[-1] <= now_ns < venue.next_ns()


def test_our_trade_shows_in_the_frames_with_its_aggressor_and_levels() -> None:
    venue = make_venue()
    venue.connect(START_NS)
    venue.run_until(START_NS + SECOND)
    _, ask = venue.best(NAME)
    done = venue.take(NAME, 1, 20_000, ask + 3, START_NS + SECOND)
    frame = decoded(venue.run_until(START_NS + SECOND))[-1]
    text = sim_instrument()
    assert [(row[0], row[1]) for row in frame["trades"]] == [
        (text.price_text(ticks), text.qty_text(lots)) for ticks, lots in done
    ]
    assert {row[2] for row in frame["trades"]} == {"buy"}
    assert frame["asks"][0] == [text.price_text(done[0][0]), "0"]
    assert frame["ts"] == START_NS + SECOND


@pytest.mark.parametrize("side", [1, -1])
def test_what_we_pay_and_get_is_what_the_book_gives(side: int) -> None:
    market = SimMarket(sim_instrument(), 5, start_ns=START_NS)
    venue = SimVenue([market])
    book_side = 1 if side > 0 else 0
    for part in range(1, 50):
        now_ns = START_NS + part * SECOND // 5
        venue.run_until(now_ns)
        before = {level.ticks: level.lots for level in market.levels(book_side)}
        done = venue.take(NAME, side, part * 700, venue.best(NAME)[book_side] + 4 * side, now_ns)
        after = {level.ticks: level.lots for level in market.levels(book_side)}
        gone = {t: before[t] - after.get(t, 0) for t in before if before[t] != after.get(t, 0)}
        assert gone == dict(done)


def test_book_rebuilt_from_frames_holds_through_our_orders() -> None:
    market = SimMarket(sim_instrument(), 5, start_ns=START_NS)
    venue = SimVenue([market])
    venue.connect(START_NS)
    book = Rebuilt()
    resting: list[int] = []
    for part in range(1, 200):
        now_ns = START_NS + part * SECOND // 10
        bid, ask = venue.best(NAME)
        match part % 4:
            case 0:
                venue.take(NAME, -1, 10**8, bid - 60, now_ns)
            case 1:
                resting.append(venue.post(NAME, 1, venue.best(NAME)[0], 500, now_ns))
            case 2:
                venue.take(NAME, 1, 3_000, ask + 1, now_ns)
            case _:
                venue.unpost(resting.pop(), now_ns)
        book.take(venue.run_until(now_ns))
        assert book.sides == shown(market)


def test_resting_fill_is_told_once_and_no_more_than_traded_at_its_price() -> None:
    venue = make_venue(1)
    venue.connect(START_NS)
    venue.run_until(START_NS)
    bid, _ = venue.best(NAME)
    resting_id = venue.post(NAME, 1, bid, 2_000, START_NS)
    frames = venue.run_until(START_NS + 60 * SECOND)
    fills = venue.take_own_fills()
    assert venue.take_own_fills() == []
    assert {fill.resting_id for fill in fills} == {resting_id}
    assert sum(fill.lots for fill in fills) == 2_000
    price = sim_instrument().price_text(bid)
    for fill in fills:
        at_once = [f for f in decoded(frames) if f["ts"] == fill.ts_ns]
        traded = [row for f in at_once for row in f["trades"] if row[0] == price]
        assert sum(sim_instrument().lots(row[1]) for row in traded) >= fill.lots
        assert {row[2] for row in traded} == {"sell"}
    assert venue.unpost(resting_id, START_NS + 60 * SECOND) == 0


def test_canceled_resting_order_leaves_the_book_and_never_fills() -> None:
    venue = make_venue(1)
    bid, _ = venue.best(NAME)
    resting_id = venue.post(NAME, 1, bid, 2_000, START_NS)
    assert venue.unpost(resting_id, START_NS) == 2_000
    venue.run_until(START_NS + 60 * SECOND)
    assert venue.take_own_fills() == []


def test_refused_resting_order_says_why() -> None:
    venue = make_venue()
    bid, ask = venue.best(NAME)
    with pytest.raises(PostRefused, match="crossed"):
        venue.post(NAME, 1, ask, 1, START_NS)
    with pytest.raises(PostRefused, match="512 ticks"):
        venue.post(NAME, 1, bid - 600, 1, START_NS)


def test_two_markets_keep_their_own_sequence_and_one_time_order() -> None:
    markets = [
        SimMarket(sim_instrument(name), seed, start_ns=START_NS)
        for seed, name in enumerate(("SIM-USD", "DIM-USD"))
    ]
    venue = SimVenue(markets)
    venue.connect(START_NS)
    frames = venue.run_until(START_NS + 2 * SECOND)
    assert [ns for ns, _ in frames] == sorted(ns for ns, _ in frames)
    for name in ("SIM-USD", "DIM-USD"):
        seqs = [frame["seq"] for frame in decoded(frames) if frame["instrument"] == name]
        assert len(seqs) > 10
        assert seqs == list(range(1, len(seqs) + 1))


def test_long_sleep_is_caught_up_in_bounded_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venue_module, "FRAMES_MAX", 50)
    slow, quick = make_venue(), make_venue()
    now_ns = START_NS + 3 * SECOND
    first = slow.run_until(now_ns)
    assert len(first) <= 50
    # An order sent while the market lags acts at the market's own present.
    slow.take(NAME, 1, 100, 10**6, now_ns)
    times = [ns for ns, _ in first]
    while slow.next_ns() <= now_ns:
        times += [ns for ns, _ in slow.run_until(now_ns)]
    assert times == sorted(times)
    monkeypatch.undo()
    assert quick.run_until(now_ns)[:50] == first


def test_start_too_near_zero_is_refused() -> None:
    with pytest.raises(ValueRefused, match="2047 ticks"):
        SimMarket(sim_instrument(), 1, start_ticks=2_047)
