"""Many markets at once: money adds up, nothing sees ahead, and live sees the same bits."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import kernels
from agents.markets import START_TICKS, Markets, Rules
from agents.observe import observe
from core.clock import NS_PER_MS, NS_PER_S
from core.config import Settings
from core.features import Features
from core.feeds.sim import SimProtocol
from core.kernels.market import ASK, BID
from core.model.market import BookMoved, TradePrint
from core.sim.market import SimMarket, sim_instrument
from core.sim.venue import SimVenue

START_NS = 1_700_000_000 * NS_PER_S
WARM_S = 12
SHORT_RULES = Rules(warm_up_s=WARM_S)


def started(seeds: list[int], phases_ns: list[int] | None = None, rules: Rules = SHORT_RULES,
            steps: int = 1000) -> Markets:  # fmt: skip
    markets = Markets(len(seeds), rules)
    which = np.arange(len(seeds))
    phases = np.array(phases_ns or [0] * len(seeds), np.int64)
    markets.start(which, np.array(seeds), phases, np.full(len(seeds), steps))
    return markets


class LivePath:
    """One market seen as the engine sees it: frames, protocol, book, features, observation."""

    def __init__(self, seed: int, phase_ns: int) -> None:
        self.start_ns = START_NS + phase_ns
        instrument = sim_instrument()
        self.venue = SimVenue(
            [SimMarket(instrument, seed, start_ns=self.start_ns, start_ticks=START_TICKS)]
        )
        self.protocol = SimProtocol([instrument], Settings())
        self.protocol.on_open(self.start_ns)
        self.features = Features()
        self.venue.connect(self.start_ns)

    def run_to(self, market_ns: int) -> None:
        book = self.protocol.instruments[0].book
        for ns, frame in self.venue.run_until(self.start_ns + market_ns):
            for event in self.protocol.receive(frame, ns):
                match event:
                    case TradePrint():
                        self.features.on_trade(
                            event.ts_recv_ns, event.price_ticks, event.qty_lots, event.aggressor
                        )
                    case BookMoved():
                        assert book.best_bid is not None
                        assert book.best_ask is not None
                        self.features.on_book(
                            event.ts_recv_ns, book.best_bid, book.best_ask, book.depth(10)
                        )

    def take(self, side: int, lots: int, market_ns: int) -> list[tuple[int, int]]:
        self.run_to(market_ns)
        best = self.venue.best("SIM-USD")[1 if side > 0 else 0]
        limit = best + side * SHORT_RULES.limit_away_ticks
        return self.venue.take("SIM-USD", side, lots, limit, self.start_ns + market_ns)

    def observe(self, market_ns: int, position_fraction: float) -> np.ndarray:
        self.run_to(market_ns)
        return observe(self.features.read(self.start_ns + market_ns), position_fraction)


def test_live_path_sees_bit_for_bit_what_training_saw() -> None:
    """Same market, same orders at the same instants; frames, text and books in between."""
    actions = [1, 1, 2, 2, 0, 0, 1, 2, 1, 0, 2, 1] * 4
    for seed, phase_ns in ((5, 0), (6, 370_000_001)):
        markets = started([seed], [phase_ns])
        live = LivePath(seed, phase_ns)
        for step, action in enumerate(actions):
            now_ns = (WARM_S + step) * NS_PER_S
            held = int(markets.account[0, kernels.POSITION_LOTS])
            seen = live.observe(now_ns, held / markets.rules.cap_lots)
            assert live.features.is_ready
            assert live.features.vector.tobytes() == markets.vectors[0].tobytes(), step
            assert seen.tobytes() == markets.observations[0].tobytes(), step
            markets.step(np.array([action]))
            change = int(markets.account[0, kernels.POSITION_LOTS]) - held
            if change:
                side = 1 if change > 0 else -1
                rows = live.take(side, abs(change), now_ns + 20 * NS_PER_MS)
                n = int(markets.account[0, kernels.N_FILLS])
                assert rows == [tuple(row) for row in markets.fills[0, :n].tolist()]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 2), min_size=1, max_size=40),
       st.sampled_from([100, 1_000, 40_000]))  # fmt: skip
def test_cash_position_and_fees_are_the_sum_of_the_fills(
    seed: int, actions: list[int], cap_lots: int
) -> None:
    rules = Rules(cap_lots=cap_lots, warm_up_s=2)
    markets = started([seed], rules=rules)
    start_mid = markets.mids[0]
    position, cash, fees, turnover, gained = 0, 0, 0.0, 0, 0.0
    for action in actions:
        side = np.sign((action - 1) * cap_lots - position)
        markets.step(np.array([action]))
        gained += markets.gains[0]
        for ticks, lots in markets.fills[0, : markets.account[0, kernels.N_FILLS]].tolist():
            position += side * lots
            cash -= side * lots * ticks
            fees += 0.1e-4 * ticks * lots
            turnover += lots
        assert abs(position) <= cap_lots
    account = markets.account[0]
    assert account[kernels.POSITION_LOTS] == position
    assert account[kernels.CASH] == cash
    assert account[kernels.TURNOVER_LOTS] == turnover
    np.testing.assert_allclose(markets.money[0, kernels.FEES], fees, rtol=1e-12)
    equity = cash + position * markets.mids[0] - fees
    np.testing.assert_allclose(gained, 1e4 * equity / (cap_lots * start_mid), atol=1e-6)


def test_a_round_trip_costs_spread_and_fee() -> None:
    markets = started(list(range(16)), rules=Rules(cap_lots=10, warm_up_s=2, latency_ms=0))
    spread_bps = 1e4 * (markets.ints[:, ASK] - markets.ints[:, BID]) / markets.mids
    markets.step(np.full(16, 2))
    np.testing.assert_allclose(markets.costs, spread_bps / 2 + 0.1, rtol=1e-3)
    assert (markets.positions == 1.0).all()
    markets.step(np.full(16, 2))
    assert (markets.costs == 0.0).all()


def test_a_larger_order_pays_more_per_lot() -> None:
    paid = {}
    for cap_lots in (100, 30_000):
        markets = started(list(range(32)), rules=Rules(cap_lots=cap_lots, warm_up_s=2))
        markets.step(np.full(32, 2))
        paid[cap_lots] = markets.costs.mean()
    assert paid[30_000] > paid[100] + 0.5


def test_staying_flat_gains_exactly_nothing() -> None:
    markets = started([1, 2, 3])
    for _ in range(20):
        markets.step(np.full(3, 1))
        assert (markets.gains == 0.0).all()
    assert (markets.account[:, kernels.TURNOVER_LOTS] == 0).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(0, 2), min_size=2, max_size=12), st.data())
def test_the_past_is_the_same_whatever_is_done_later(
    seed: int, actions: list[int], data: st.DataObject
) -> None:
    """No look-ahead: two futures that part at step k have equal observations up to k."""
    parting = data.draw(st.integers(1, len(actions)))
    other = actions[:parting] + [2 - action for action in actions[parting:]]
    rules = Rules(warm_up_s=10)
    one, two = started([seed], rules=rules), started([seed], rules=rules)
    for step, (a, b) in enumerate(zip(actions, other, strict=True)):
        if step <= parting:
            assert one.observations.tobytes() == two.observations.tobytes()
        one.step(np.array([a]))
        two.step(np.array([b]))


def test_what_the_market_does_after_the_decision_is_not_in_the_observation() -> None:
    """Changing the market's future (its generator) leaves what is seen now as it was."""
    one, two = started([7]), started([7])
    two.rng[:] = two.rng[:, ::-1].copy()
    kernels.look(
        two.clock[0], two.values[0], two.account[0], two.rules.pack(), two.vectors[0],
        two.observations[0],
    )  # fmt: skip
    assert one.observations.tobytes() == two.observations.tobytes()
    for _ in range(3):
        one.step(np.array([1]))
        two.step(np.array([1]))
    assert one.observations.tobytes() != two.observations.tobytes()


def test_a_market_does_not_know_its_neighbours() -> None:
    alone, among = started([42]), started([1, 42, 3])
    for action in (2, 0, 1, 1, 2):
        alone.step(np.array([action]))
        among.step(np.array([0, action, 2]))
        assert alone.observations[0].tobytes() == among.observations[1].tobytes()
        assert alone.gains[0] == among.gains[1]


def test_every_decision_counts_towards_the_end() -> None:
    markets = started([1, 2], steps=3)
    for expected in (False, False, True):
        markets.step(np.full(2, 1))
        assert (markets.is_over == expected).all()
