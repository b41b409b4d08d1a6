"""The market kernel as a state machine: same seed same market, a sound book, honest queues."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ValueRefused
from core.kernels import market as kernel
from core.kernels.rng import RNG_SIZE
from core.sim.params import SET_C, MarketParams, market_params_c, pack
from tests.core.sim.stylised import record

START = 10_000


class Arrays:
    """One market's arrays and the calls on them."""

    def __init__(self, seed: int, params: MarketParams = SET_C, start_ticks: int = START) -> None:
        self.ints = np.zeros(kernel.INTS_SIZE, np.int64)
        self.reals = np.zeros(kernel.REALS_SIZE, np.float64)
        self.rng = np.zeros(RNG_SIZE, np.uint64)
        self.queues = np.zeros((2, kernel.WINDOW), np.int64)
        self.params = pack(params)
        self.event = np.zeros(kernel.EVENT_SIZE, np.int64)
        kernel.init(self.ints, self.reals, self.rng, self.queues, self.params, seed, start_ticks)

    def step(self) -> np.ndarray:
        kernel.step(self.ints, self.reals, self.rng, self.queues, self.params, self.event)
        return self.event

    def take(self, side: int, lots: int, limit_ticks: int) -> list[list[int]]:
        fills = np.zeros((64, 2), np.int64)
        n = kernel.take(
            self.ints, self.reals, self.queues, self.params, side, lots, limit_ticks, fills
        )
        return fills[:n].tolist()

    def post(self, side: int, ticks: int, lots: int) -> int:
        return int(kernel.post(self.ints, self.reals, self.queues, self.event, side, ticks, lots))

    def unpost(self, slot: int) -> int:
        return int(kernel.unpost(self.ints, self.reals, self.queues, self.params, self.event, slot))

    def best(self, side: int) -> int:
        return int(self.ints[kernel.BID + side])

    def lots_at(self, side: int, ticks: int) -> int:
        return int(kernel.level_lots(self.ints, self.queues, side, ticks))

    def side(self, side: int) -> list[int]:
        """Lots by distance from the best, whole window."""
        outward = 2 * side - 1
        return [self.lots_at(side, self.best(side) + outward * i) for i in range(kernel.WINDOW)]

    def own(self, slot: int) -> tuple[int, int, int, int]:
        """Side, ticks, lots, ahead of a resting order."""
        at = kernel.OWN + slot * kernel.OWN_FIELDS
        side, ticks, lots, ahead = self.ints[at : at + 4].tolist()
        return side, ticks, lots, ahead

    def check(self) -> None:
        """What always holds between two calls."""
        assert self.best(0) < self.best(1)
        assert int(self.queues.min()) >= 0
        for side in (0, 1):
            lots = self.side(side)
            assert lots[0] > 0
            assert sum(lots) == int(self.queues[side].sum())
            assert self.ints[kernel.NEAR_BID + side] == sum(lots[: kernel.REACH])
            best_ten = [each for each in lots if each][: kernel.DEPTH]
            assert self.ints[kernel.DEPTH_BID + side] == sum(best_ten)
        live = [self.own(slot) for slot in range(kernel.MAX_OWN) if self.own(slot)[2] > 0]
        assert self.ints[kernel.N_OWN] == len(live)
        for side, ticks, _, _ in live:
            here = [own for own in live if own[:2] == (side, ticks)]
            others = self.lots_at(side, ticks) - sum(lots for _, _, lots, _ in here)
            assert others >= 0
            # Each of ours stands behind at most all the others and our earlier ones.
            ours_before = 0
            for _, _, lots, ahead in sorted(here, key=lambda own: own[3]):
                assert ours_before <= ahead <= others + ours_before
                ours_before += lots


def rows(event: np.ndarray, start: int, width: int, count: int) -> list[list[int]]:
    return event[start : start + width * count].reshape(count, width).tolist()


def levels_of(event: np.ndarray) -> list[list[int]]:
    return rows(event, kernel.E_LEVELS, 3, int(event[kernel.E_N_LEVELS]))


def trades_of(event: np.ndarray) -> list[list[int]]:
    return rows(event, kernel.E_TRADES, 2, int(event[kernel.E_N_TRADES]))


def own_fills_of(event: np.ndarray) -> list[list[int]]:
    return rows(event, kernel.E_OWN, 3, int(event[kernel.E_N_OWN]))


def told(event: np.ndarray) -> list[list[int]]:
    """All that the event says; rows beyond the counts are left over from earlier ones."""
    header = event[: kernel.E_TRADES].tolist()
    return [header, *levels_of(event), *trades_of(event), *own_fills_of(event)]


def test_same_seed_makes_the_same_market_and_another_seed_another() -> None:
    first, again, other = record(7, 3_000), record(7, 3_000), record(8, 3_000)
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_market_copied_in_the_middle_goes_on_the_same_way() -> None:
    market = Arrays(3)
    for _ in range(500):
        market.step()
    twin = Arrays(99)
    for name in ("ints", "reals", "rng", "queues"):
        getattr(twin, name)[:] = getattr(market, name)
    for _ in range(500):
        assert told(market.step()) == told(twin.step())


def test_market_in_a_row_of_a_batch_is_the_market_alone() -> None:
    alone = Arrays(5)
    ints = np.zeros((3, kernel.INTS_SIZE), np.int64)
    reals = np.zeros((3, kernel.REALS_SIZE), np.float64)
    rng = np.zeros((3, RNG_SIZE), np.uint64)
    queues = np.zeros((3, 2, kernel.WINDOW), np.int64)
    event = np.zeros(kernel.EVENT_SIZE, np.int64)
    params = market_params_c()
    for row in range(3):
        kernel.init(ints[row], reals[row], rng[row], queues[row], params, 4 + row, START)
    for _ in range(300):
        for row in range(3):
            kernel.step(ints[row], reals[row], rng[row], queues[row], params, event)
            if row == 1:
                assert told(event) == told(alone.step())


def test_next_time_is_the_time_of_the_next_event() -> None:
    market = Arrays(1)
    for _ in range(100):
        due_s = kernel.next_time(market.ints, market.reals)
        assert int(due_s * 1e9) == market.step()[kernel.E_T_NS]


def test_level_changes_alone_rebuild_the_book() -> None:
    market = Arrays(11)
    book = [{}, {}]
    for side in (0, 1):
        for away, lots in enumerate(market.side(side)):
            book[side][market.best(side) + (2 * side - 1) * away] = lots
    for _ in range(5_000):
        for side, ticks, lots in levels_of(market.step()):
            book[side][ticks] = lots
    for side in (0, 1):
        shown = {ticks: lots for ticks, lots in book[side].items() if lots}
        outward = 2 * side - 1
        held = enumerate(market.side(side))
        assert shown == {market.best(side) + outward * i: lots for i, lots in held if lots}


def test_trades_take_from_the_book_exactly_what_they_print() -> None:
    market = Arrays(12)
    printed = 0
    for _ in range(4_000):
        before = market.queues.copy()
        event = market.step()
        if event[kernel.E_KIND] != kernel.MARKET:
            assert event[kernel.E_N_TRADES] == 0
            continue
        side = 1 if event[kernel.E_SIDE] > 0 else 0
        for ticks, lots in trades_of(event):
            assert lots > 0
            now_there = {t: q for s, t, q in levels_of(event) if s == side}[ticks]
            assert before[side, ticks % kernel.WINDOW] - now_there == lots
            printed += lots
        assert event[kernel.E_TRADED_LOTS] == sum(lots for _, lots in trades_of(event))
    assert printed > 0


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    acts=st.lists(
        st.tuples(
            st.sampled_from(["step", "take", "post", "unpost"]),
            st.sampled_from([1, -1]),
            st.integers(-3, 40),
            st.integers(1, 60_000),
        ),
        max_size=60,
    ),
)
def test_book_stays_sound_whatever_the_user_does(seed: int, acts: list) -> None:
    market = Arrays(seed)
    for act, sign, away, lots in acts:
        if act == "step":
            for _ in range(20):
                market.step()
                market.check()
        elif act == "take":
            best = market.best(1 if sign > 0 else 0)
            shown = sum(market.side(1 if sign > 0 else 0)[: kernel.REACH + 1])
            fills = market.take(sign, lots, best + sign * away)
            assert all((best + sign * away - ticks) * sign >= 0 for ticks, _ in fills)
            assert sum(filled for _, filled in fills) <= min(lots, shown)
        elif act == "post":
            best = market.best(0 if sign > 0 else 1)
            slot = market.post(sign, best - sign * away, lots)
            assert slot >= 0 or slot in {kernel.POST_FULL, kernel.POST_CROSSES}
        else:
            market.unpost(away % kernel.MAX_OWN)
        market.check()


@pytest.mark.parametrize("sign", [1, -1])
def test_resting_order_fills_exactly_when_trades_have_eaten_the_queue_ahead(sign: int) -> None:
    # Without cancels the queue ahead moves by trades alone, so the fill is known to the lot.
    params = msgspec.structs.replace(SET_C, cancel_rate=0.0, market_rate=3.0)
    side = 0 if sign > 0 else 1
    market = Arrays(21, params)
    ticks = market.best(side)
    ahead = market.lots_at(side, ticks)
    slot = market.post(sign, ticks, 700)
    assert market.own(slot) == (side, ticks, 700, ahead)
    traded = filled = 0
    for _ in range(20_000):
        event = market.step()
        if event[kernel.E_SIDE] == -sign:
            traded += sum(lots for at, lots in trades_of(event) if at == ticks)
        filled += sum(lots for own, _, lots in own_fills_of(event) if own == slot)
        assert filled == min(700, max(0, traded - ahead))
        if filled == 700:
            break
    assert filled == 700


def test_cancels_of_others_move_a_resting_order_up_the_queue() -> None:
    params = msgspec.structs.replace(SET_C, market_rate=0.0, hawkes_branching=0.0)
    market = Arrays(4, params)
    ticks = market.best(0) - 3
    slot = market.post(1, ticks, 1_000)
    _, _, _, ahead = market.own(slot)
    was = ahead
    for _ in range(3_000):
        others = market.lots_at(0, ticks) - 1_000
        event = market.step()
        _, _, lots, now_ahead = market.own(slot)
        assert lots == 1_000  # nobody cancels ours
        gone = 0
        if event[kernel.E_KIND] == kernel.CANCEL and event[kernel.E_TICKS] == ticks:
            gone = int(event[kernel.E_LOTS]) * was // others
        assert was - now_ahead == gone
        was = now_ahead
    assert was < ahead


def test_our_later_order_moves_up_by_all_of_an_earlier_one_taken_out() -> None:
    market = Arrays(4)
    ticks = market.best(0)
    ahead = market.lots_at(0, ticks)
    first, second = market.post(1, ticks, 300), market.post(1, ticks, 200)
    assert market.own(second)[3] == ahead + 300
    assert market.unpost(first) == 300
    assert market.own(second) == (0, ticks, 200, ahead)
    assert market.unpost(first) == 0
    market.check()


def test_taking_every_level_shown_brings_a_far_trader_not_an_empty_book() -> None:
    market = Arrays(2)
    start = market.best(1)
    fills = market.take(1, 10**9, 10**9)
    assert fills[-1][0] <= start + kernel.REACH
    for _ in range(40):
        market.take(1, 10**9, 10**9)
        market.check()
    market.step()
    market.check()


def test_user_order_moves_the_flow_memory_by_its_size_up_to_one_unit() -> None:
    small, unit, large = Arrays(6), Arrays(6), Arrays(6)
    was = small.reals[kernel.FLOW_FAST]
    for market, lots in ((small, 1), (unit, 1_000), (large, 5_000)):
        assert sum(filled for _, filled in market.take(1, lots, 10**6)) == lots
    moved = [m.reals[kernel.FLOW_FAST] - was for m in (small, unit, large)]
    assert moved[1] == pytest.approx(0.2 * (1.0 - was))
    assert moved[0] == pytest.approx(moved[1] / 1_000)
    assert moved[2] == moved[1]


def test_order_takes_nothing_from_a_level_where_its_owner_rests() -> None:
    market = Arrays(9)
    ask = market.best(1)
    assert market.post(-1, ask, 500) >= 0
    assert market.take(1, 100, ask + 5) == []


def test_post_refuses_to_cross_to_rest_far_away_and_to_overfill_its_slots() -> None:
    market = Arrays(9)
    bid, ask = market.best(0), market.best(1)
    assert market.post(1, ask, 1) == kernel.POST_CROSSES
    assert market.post(-1, bid, 1) == kernel.POST_CROSSES
    assert market.post(1, bid - kernel.WINDOW // 2 - 1, 1) == kernel.POST_TOO_FAR
    slots = [market.post(1, bid - 1, 10) for _ in range(kernel.MAX_OWN)]
    assert slots == list(range(kernel.MAX_OWN))
    assert market.post(1, bid - 1, 10) == kernel.POST_FULL
    market.check()


def test_resting_order_that_falls_out_of_the_window_is_told_and_gone() -> None:
    market = Arrays(9)
    slot = market.post(1, market.best(0) - 400, 250)
    far_side_lots = market.lots_at(0, market.best(0) - 400)
    assert far_side_lots >= 250
    told: list[list[int]] = []
    for _ in range(200):
        # Lift the asks, then bid up behind them: the bid side's window slides upwards.
        market.take(1, 10**9, 10**9)
        if market.post(1, market.best(1) - 1, 10) >= 0:
            told += own_fills_of(market.event)
        if told:
            break
        for other in range(kernel.MAX_OWN):
            if other != slot:
                market.unpost(other)
        market.step()
    assert told[0][0] == slot
    assert told[0][2] == 0
    assert market.own(slot)[2] == 0
    # Its place in the ring belongs to the price one window higher now, and is clean.
    assert market.lots_at(0, told[0][1] + kernel.WINDOW) in {0, 10}


def test_price_never_falls_to_zero() -> None:
    market = Arrays(13, start_ticks=100)
    for _ in range(60):
        market.take(-1, 10**9, 1)
        market.step()
        market.check()
        assert market.best(0) > kernel.FLOOR_TICKS - kernel.REACH - 2


@pytest.mark.parametrize("change", [{"hawkes_branching": 1.0}, {"meta_pool": 9}, {"unit_lots": 0}])
def test_params_that_would_explode_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueRefused, match="allowed is"):
        pack(msgspec.structs.replace(SET_C, **change))


def test_unit_lots_scales_sizes_only() -> None:
    small = record(5, 2_000)
    params = msgspec.structs.replace(SET_C, unit_lots=10_000)
    large = record(5, 2_000, params)
    ratio = large[:, kernel.E_BID_LOTS].mean() / small[:, kernel.E_BID_LOTS].mean()
    assert 5 < ratio < 20
