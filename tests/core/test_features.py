"""The features kernel against the same formulas written over the whole history in plain Python."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.features import Features
from core.kernels.features import FEATURE_NAMES, MIN_SECONDS, N_FEATURES

S = 1_000_000_000
START_NS = 1_700_000_000 * S + 250_000_000

Best = tuple[int, int]
Book = tuple[int, Best, Best, tuple[int, int]]
"""Time, bid, ask, depth sums."""


class History:
    """Every event kept; each feature computed from all of them, by its definition."""

    def __init__(self) -> None:
        self.books: list[Book] = []
        self.trades: list[tuple[int, int, int]] = []

    def mid_before(self, at_ns: int, *, or_at: bool) -> float:
        """Return the mid that stood just before ``at_ns`` (or at it, its own book included)."""
        times = [book[0] for book in self.books]
        place = bisect_right(times, at_ns if or_at else at_ns - 1) - 1
        _, bid, ask, _ = self.books[place]
        return (bid[0] + ask[0]) / 2

    def samples(self, now_ns: int) -> list[float]:
        """Return the mid at each whole second since the first book, oldest first."""
        first = self.books[0][0] // S + 1
        return [self.mid_before(s * S, or_at=False) for s in range(first, now_ns // S + 1)]

    def order_flow(self, now_ns: int, tau_s: float) -> float:
        total = 0.0
        for before, after in itertools.pairwise(self.books):
            (_, bid0, ask0, _), (at_ns, bid1, ask1, _) = before, after
            event = (bid1[0] >= bid0[0]) * bid1[1] - (bid1[0] <= bid0[0]) * bid0[1]
            event += (ask1[0] >= ask0[0]) * ask0[1] - (ask1[0] <= ask0[0]) * ask1[1]
            total += event * math.exp(-(now_ns - at_ns) / S / tau_s)
        return total

    def pressure(self, now_ns: int, tau_s: float) -> float:
        sums = {1: 0.0, -1: 0.0}
        for at_ns, lots, aggressor in self.trades:
            if aggressor:
                sums[aggressor] += lots * math.exp(-(now_ns - at_ns) / S / tau_s)
        return ratio(sums[1], sums[-1])

    def average(self, now_ns: int, tau_s: float, of: list[float]) -> float:
        """Return the exponential average in wall time of a value that steps at each book."""
        value = of[0]
        times = [book[0] for book in self.books] + [now_ns]
        for standing, start, end in zip(of, times, times[1:], strict=False):
            value = standing + (value - standing) * math.exp(-(end - start) / S / tau_s)
        return value

    def variance(self, now_ns: int) -> float:
        samples = self.samples(now_ns)
        returns = [1e4 * math.log(b / a) for a, b in itertools.pairwise(samples)]
        value = 0.0
        for number, move in enumerate(returns, start=1):
            weight = 1 / number if number < 60 else 1 - math.exp(-1 / 60)
            value += weight * (move * move - value)
        return value

    def vector(self, now_ns: int) -> list[float]:
        _, bid, ask, depths = self.books[-1]
        mid = (bid[0] + ask[0]) / 2
        mids = [(b[0] + a[0]) / 2 for _, b, a, _ in self.books]
        bests = [(b[1] + a[1]) / 2 for _, b, a, _ in self.books]
        depth = self.average(now_ns, 30, bests)
        samples = self.samples(now_ns)
        is_ready = len(samples) >= MIN_SECONDS
        volatility = math.sqrt(self.variance(now_ns)) if is_ready else 0.0
        sd = volatility * 1e-4 * mid
        skip = 1 if now_ns % S == 0 else 0
        moves = []
        for back in (1, 5):
            known = is_ready and sd > 0 and len(samples) >= back + skip
            past = samples[-back - skip] if known else mid
            moves.append((mid - past) / (sd * math.sqrt(back)) if known else 0.0)
        gap = self.average(now_ns, 5, mids) - self.average(now_ns, 30, mids)
        low, high = min(samples[-60:], default=0.0), max(samples[-60:], default=0.0)
        place = 0.0
        if is_ready and high > low:
            place = min(2.0, max(-2.0, (mid - (high + low) / 2) / ((high - low) / 2)))
        return [
            ask[0] - bid[0],
            ratio(bid[1], ask[1]),
            ratio(*depths),
            math.tanh(self.order_flow(now_ns, 1) / depth / 2),
            math.tanh(self.order_flow(now_ns, 5) / depth / 4),
            self.pressure(now_ns, 1),
            self.pressure(now_ns, 5),
            self.pressure(now_ns, 30),
            *moves,
            math.tanh(gap / (sd * math.sqrt(30))) if sd > 0 else 0.0,
            place,
            volatility,
            1e4 * (ask[0] - bid[0]) / mid,
        ]


def ratio(plus: float, minus: float) -> float:
    return (plus - minus) / (plus + minus) if plus + minus > 1e-9 else 0.0


def feed(seed: int, events: int, mean_step_s: float) -> tuple[Features, History, list[int]]:
    """Run a random market through both; return them and the event times."""
    rng = np.random.default_rng(seed)
    features, history, times = Features(), History(), []
    now_ns, bid = START_NS, 60_000
    for i in range(events):
        now_ns += int(rng.exponential(mean_step_s) * S)
        if rng.random() < 0.1:
            now_ns = (now_ns // S + 1) * S
        times.append(now_ns)
        if i and rng.random() < 0.4:
            lots, aggressor = int(rng.integers(1, 500)), int(rng.integers(-1, 2))
            features.on_trade(now_ns, bid, lots, aggressor)
            history.trades.append((now_ns, lots, aggressor))
            continue
        bid = max(100, bid + int(rng.integers(-3, 4)))
        lots = [int(n) for n in rng.integers(1, 2000, 4)]
        ask = bid + int(rng.integers(1, 4))
        book = (now_ns, (bid, lots[0]), (ask, lots[1]), (lots[0] + lots[2], lots[1] + lots[3]))
        features.on_book(*book)
        history.books.append(book)
    return features, history, times


@pytest.mark.slow
@given(
    seed=st.integers(0, 2**32 - 1),
    events=st.integers(1, 150),
    mean_step_s=st.sampled_from([0.05, 0.5, 2.0]),
    wait_ns=st.one_of(st.just(0), st.integers(0, 8 * S), st.just(-1)),
)
@settings(max_examples=80, deadline=None)
def test_vector_is_what_the_formulas_say_over_the_whole_history(
    seed: int, events: int, mean_step_s: float, wait_ns: int
) -> None:
    features, history, times = feed(seed, events, mean_step_s)
    now_ns = times[-1] + wait_ns if wait_ns >= 0 else (times[-1] // S + 1) * S
    vector = features.read(now_ns)
    expected = history.vector(now_ns)
    assert features.is_ready == (len(history.samples(now_ns)) >= MIN_SECONDS)
    for name, got, want in zip(FEATURE_NAMES, vector.tolist(), expected, strict=True):
        assert got == pytest.approx(want, rel=1e-6, abs=1e-7), name


def test_one_walk_of_the_market_gives_the_vector_of_the_formulas() -> None:
    features, history, times = feed(1, 120, 0.3)
    vector = features.read(times[-1] + S // 3)
    assert features.is_ready
    assert len(vector) == N_FEATURES
    assert vector.tolist() == pytest.approx(history.vector(times[-1] + S // 3), rel=1e-6, abs=1e-7)
    assert np.count_nonzero(vector) >= N_FEATURES - 2, "the comparison would be empty"


def test_reading_in_between_changes_the_vector_by_rounding_only() -> None:
    quiet, history, times = feed(5, 100, 0.2)
    curious = Features()
    books, trades = iter(history.books), iter(history.trades)
    book, trade = next(books), next(trades, None)
    for now_ns in times:
        curious.read(now_ns - 1_000)
        if book is not None and book[0] == now_ns:
            curious.on_book(*book)
            book = next(books, None)
        elif trade is not None:
            curious.on_trade(now_ns, 1, trade[1], trade[2])
            trade = next(trades, None)
    end_ns = times[-1] + S
    assert curious.read(end_ns).tolist() == pytest.approx(quiet.read(end_ns).tolist(), rel=1e-9)


def test_same_events_give_the_same_bits() -> None:
    first, _, times = feed(9, 100, 0.2)
    second, _, _ = feed(9, 100, 0.2)
    assert first.read(times[-1] + S).tobytes() == second.read(times[-1] + S).tobytes()


def test_nothing_is_ready_before_a_book_and_ten_whole_seconds() -> None:
    features = Features()
    features.read(START_NS)
    assert not features.is_ready
    features.on_book(START_NS, (100, 1), (101, 1), (1, 1))
    features.read((START_NS // S + 9) * S)
    assert not features.is_ready
    features.read((START_NS // S + 10) * S)
    assert features.is_ready


def test_reset_forgets_the_past() -> None:
    features, _, times = feed(2, 80, 0.3)
    features.reset()
    fresh = Features()
    for each in (features, fresh):
        each.on_book(times[-1] + S, (100, 7), (101, 3), (9, 8))
    end_ns = times[-1] + 20 * S
    assert features.read(end_ns).tobytes() == fresh.read(end_ns).tobytes()


def test_trade_before_the_first_book_is_not_pressure_of_now() -> None:
    features = Features()
    features.on_trade(START_NS - 3600 * S, 100, 500, 1)
    features.on_book(START_NS, (100, 1), (101, 1), (1, 1))
    vector = features.read(START_NS + 20 * S)
    assert vector[FEATURE_NAMES.index("pressure_30s")] == 0.0


def test_seconds_stay_whole_after_a_long_silence() -> None:
    features = Features()
    features.on_book(START_NS, (100, 1), (101, 1), (1, 1))
    # Ten minutes and a bit: more than is caught up second by second.
    later = START_NS + 600 * S + 123_456_789
    features.on_book(later, (200, 1), (201, 1), (1, 1))
    next_second = (later // S + 1) * S
    features.on_book(next_second - 1, (300, 1), (301, 1), (1, 1))
    features.on_book(next_second, (400, 1), (401, 1), (1, 1))
    features.on_book(next_second + S // 2, (500, 1), (501, 1), (1, 1))
    vector = features.read(next_second + S // 2)
    sd = vector[FEATURE_NAMES.index("volatility_bps")] * 1e-4 * 500.5
    assert vector[FEATURE_NAMES.index("return_1s")] == pytest.approx((500.5 - 300.5) / sd)


def test_late_event_moves_no_time_back() -> None:
    features = Features()
    features.on_book(START_NS, (100, 5), (101, 5), (5, 5))
    features.on_trade(START_NS + 5 * S, 100, 100, 1)
    features.on_trade(START_NS, 100, 100, -1)
    vector = features.read(START_NS + 5 * S)
    assert vector[FEATURE_NAMES.index("pressure_5s")] == 0.0


def test_how_often_one_looks_never_changes_what_is_seen_later() -> None:
    generator = np.random.default_rng(11)
    seldom, often = Features(), Features()
    now_ns, bid = 10**18, 10_000
    for _ in range(400):
        bid += int(generator.integers(-1, 2))
        levels = (bid, int(generator.integers(1, 50))), (bid + 1, int(generator.integers(1, 50)))
        depth = (int(generator.integers(50, 99)), int(generator.integers(50, 99)))
        side = int(generator.choice([-1, 1]))
        for features in (seldom, often):
            features.on_trade(now_ns, bid, 3, side)
            features.on_book(now_ns, *levels, depth)
        step_ns = int(generator.exponential(3e8)) + 1
        for part in range(1, 5):
            often.read(now_ns + step_ns * part // 5)
        now_ns += step_ns
    assert seldom.read(now_ns).tobytes() == often.read(now_ns).tobytes()
    assert seldom.values.tobytes() == often.values.tobytes()
