"""The book against a plain dict book: near, far, moving windows, cleared, refused."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from core.book import Book
from core.errors import InvariantError, ValueRefused
from core.kernels import book as kernel
from core.model.instrument import Instrument
from core.model.market import DEPTH_LEVELS

BTC = Instrument("binance", "BTCUSDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"))
WINDOW = 128
"""Small enough that ordinary streams leave it all the time."""

Rows = list[tuple[int, int, int]]


def rows(*levels: tuple[int, int, int]) -> np.ndarray:
    return np.array(levels, np.int64).reshape(-1, 3)


class DictBook:
    """The obviously right book: two dicts."""

    def __init__(self) -> None:
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def apply(self, levels: Rows) -> None:
        for side, ticks, lots in levels:
            if lots:
                self.sides[side][ticks] = lots
            else:
                self.sides[side].pop(ticks, None)

    def top(self, side: int, count: int) -> list[tuple[int, int]]:
        return sorted(self.sides[side].items(), reverse=side == 0)[:count]


def assert_same(book: Book, plain: DictBook) -> None:
    """Compare everything a book can be asked."""
    for side, best, top in ((0, book.best_bid, book.bids), (1, book.best_ask, book.asks)):
        expected = plain.top(side, 10_000)
        assert book.levels(side) == plain.sides[side]
        assert best == (expected[0] if expected else None)
        for count in (0, 1, 3, 10, 40, 10_000):
            assert list(map(tuple, top(count).tolist())) == expected[:count]
            assert book.depth(count)[side] == sum(lots for _, lots in expected[:count])
        for ticks, lots in expected[:50]:
            assert book.lots_at(side, ticks) == lots
    assert book.size() == (len(plain.sides[0]), len(plain.sides[1]))
    bid, ask = plain.top(0, 1), plain.top(1, 1)
    assert book.is_crossed == bool(bid and ask and bid[0][0] >= ask[0][0])
    assert book.touch() == (
        *(bid[0] if bid else (0, 0)),
        *(ask[0] if ask else (0, 0)),
        *book.depth(DEPTH_LEVELS),
    )
    assert book.touch(DEPTH_LEVELS + 1)[:4] == book.touch()[:4]


def marked(words: np.ndarray) -> list[int]:
    return np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little")).tolist()


def assert_sound(book: Book) -> None:
    """Check the invariants of the kernel's own bookkeeping."""
    for side in (kernel.BIDS, kernel.ASKS):
        head = book._head[side]
        window = book._near.shape[1]
        assert head[kernel.N_ABOVE] == 0
        occupied = np.flatnonzero(book._near[side])
        assert head[kernel.N_LEVELS] == len(occupied) + head[kernel.N_FAR]
        assert head[kernel.N_FAR] == np.count_nonzero(book.far[side, :, 0])
        if head[kernel.N_LEVELS]:
            assert len(occupied), "the best level lies in the window"
        first, middle = window >> 6, (window >> 6) + max(1, window >> 12)
        bits = book._bits[side]
        assert marked(bits[:first]) == occupied.tolist()
        assert marked(bits[first:middle]) == sorted(set((occupied >> 6).tolist()))
        assert marked(bits[middle:]) == sorted(set((occupied >> 12).tolist()))
        assert head[kernel.N_LEVELS] <= book.far.shape[1] // 2


near_ticks = st.integers(900, 1100)
any_ticks = st.one_of(
    near_ticks,
    near_ticks,
    st.integers(1, 5000),
    st.sampled_from([1, 2, 10**12, 2**53 - 1, 2**53]),
)
level = st.tuples(st.integers(0, 1), any_ticks, st.sampled_from([0, 0, 1, 7, 1000, 2**53]))


class BookMachine(RuleBasedStateMachine):
    @initialize(window=st.sampled_from([64, 128, 4096, 2**15]))
    def start(self, window: int) -> None:
        self.book = Book(BTC, window=window)
        self.plain = DictBook()

    @rule(levels=st.lists(level, max_size=30))
    def change(self, levels: Rows) -> None:
        self.book.apply(rows(*levels))
        self.plain.apply(levels)

    @rule(start=any_ticks, step=st.integers(1, 40), count=st.integers(1, 80))
    def ladder(self, start: int, step: int, count: int) -> None:
        """A market that walks: a run of bids below and asks above ``start``."""
        levels = [(0, max(1, start - i * step), 5 + i) for i in range(count)]
        levels += [(1, min(2**53, start + 1 + i * step), 9 + i) for i in range(count)]
        self.book.apply(rows(*levels))
        self.plain.apply(levels)

    @rule(side=st.integers(0, 1), count=st.integers(1, 30))
    def eat_the_best(self, side: int, count: int) -> None:
        levels = [(side, ticks, 0) for ticks, _ in self.plain.top(side, count)]
        self.book.apply(rows(*levels))
        self.plain.apply(levels)

    @rule()
    def clear(self) -> None:
        self.book.clear()
        self.plain = DictBook()

    @rule(levels=st.lists(level, min_size=1, max_size=5))
    def refuse_all_of_a_message_with_one_bad_row(self, levels: Rows) -> None:
        with pytest.raises(InvariantError):
            self.book.apply(rows(*levels, (2, 1000, 1)))

    @invariant()
    def same_as_plain(self) -> None:
        assert_same(self.book, self.plain)
        assert_sound(self.book)


BookMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=12, deadline=None)
TestBookMachine = pytest.mark.slow(BookMachine.TestCase)


def stream(seed: int, messages: int, volatility: float) -> list[Rows]:
    """Return messages of a market that walks about 5000, with far orders and deep removals."""
    rng = np.random.default_rng(seed)
    mid = 5000.0
    result: list[Rows] = []
    for _ in range(messages):
        mid = max(600.0, mid + rng.normal(0, volatility))
        message: Rows = []
        for _ in range(int(rng.integers(0, 30))):
            side = int(rng.integers(0, 2))
            spread = 3000 if rng.random() < 0.05 else 40
            away = int(rng.integers(0, spread))
            ticks = int(mid) - away if side == 0 else int(mid) + 1 + away
            lots = 0 if rng.random() < 0.4 else int(rng.integers(1, 10**6))
            message.append((side, max(1, ticks), lots))
        result.append(message)
    return result


@pytest.mark.slow
@pytest.mark.parametrize("volatility", [0.0, 2.0, 60.0])
def test_long_walking_stream_equals_a_dict_book(volatility: float) -> None:
    book, plain = Book(BTC, window=WINDOW), DictBook()
    for i, message in enumerate(stream(11, 1500, volatility)):
        book.apply(rows(*message))
        plain.apply(message)
        bid, ask = plain.top(0, 1), plain.top(1, 1)
        assert book.best_bid == (bid[0] if bid else None)
        assert book.best_ask == (ask[0] if ask else None)
        assert book.depth(DEPTH_LEVELS)[0] == sum(lots for _, lots in plain.top(0, DEPTH_LEVELS))
        if i % 100 == 99:
            assert_same(book, plain)
            assert_sound(book)
    assert book.far_levels > 0


def test_empty_book_has_no_best_and_no_depth() -> None:
    book = Book(BTC, window=WINDOW)
    book.apply(rows())
    assert_same(book, DictBook())
    assert book.touch() == (0, 0, 0, 0, 0, 0)


def test_best_returns_from_outside_the_window_when_nearer_levels_are_eaten() -> None:
    book = Book(BTC, window=WINDOW)
    book.apply(rows((1, 1000, 5), (1, 900_000, 7), (1, 10**12, 9)))
    assert book.far_levels == 2
    book.apply(rows((1, 1000, 0)))
    assert book.best_ask == (900_000, 7)
    book.apply(rows((1, 900_000, 0)))
    assert book.best_ask == (10**12, 9)
    assert book.window_moves == 2


def test_window_follows_a_falling_market_before_the_next_levels_are_all_outside() -> None:
    book = Book(BTC, window=WINDOW)
    book.apply(rows((0, 1000, 5), *[(0, 945 - 5 * i, 1) for i in range(10)]))
    assert (book.window_moves, book.far_levels) == (0, 8)
    book.apply(rows((0, 1000, 0)))
    assert book.best_bid == (945, 1)
    assert (book.window_moves, book.far_levels) == (1, 0)


@pytest.mark.parametrize("away", [1, 63, 64, 65, 4095, 4096, 4097, 12_000])
def test_next_level_is_found_over_any_gap_inside_the_window(away: int) -> None:
    """A word, a group and the top of the bitmap are left behind empty, and must say so."""
    book = Book(BTC, window=2**15)
    for best in (50_000, 50_001, 50_063):
        book.clear()
        book.apply(
            rows((0, best, 5), (0, best - away, 7), (1, best + 1, 5), (1, best + 1 + away, 7))
        )
        book.apply(rows((0, best, 0), (1, best + 1, 0)))
        assert book.touch() == (best - away, 7, best + 1 + away, 7, 7, 7)
        assert_sound(book)
    assert book.window_moves == 0


def test_better_price_above_the_window_becomes_best_at_once() -> None:
    book = Book(BTC, window=WINDOW)
    book.apply(rows((0, 1000, 5)))
    book.apply(rows((0, 50_000, 1)))
    assert book.best_bid == (50_000, 1)
    assert book.levels(0) == {1000: 5, 50_000: 1}


def test_depth_counts_levels_outside_the_window() -> None:
    book = Book(BTC, window=WINDOW)
    book.apply(rows(*[(0, 100_000 - 1000 * i, i + 1) for i in range(20)]))
    assert book.depth(10)[0] == sum(range(1, 11))
    assert book.bids(3).tolist() == [[100_000, 1], [99_000, 2], [98_000, 3]]


def test_removing_an_unknown_level_changes_nothing() -> None:
    book = Book(BTC, window=WINDOW)
    book.apply(rows((0, 1000, 5)))
    book.apply(rows((0, 999, 0), (0, 10**9, 0), (1, 3, 0)))
    assert book.levels(0) == {1000: 5}
    assert book.size() == (1, 0)


def test_last_of_two_changes_to_one_price_wins() -> None:
    book = Book(BTC, window=WINDOW)
    book.apply(rows((0, 1000, 5), (0, 1000, 0), (0, 1000, 8)))
    assert book.best_bid == (1000, 8)


def test_crossed_and_locked_books_are_kept_and_told() -> None:
    book = Book(BTC, window=WINDOW)
    book.apply(rows((0, 1000, 5), (1, 1001, 5)))
    assert not book.is_crossed
    book.apply(rows((0, 1001, 5)))
    assert book.is_crossed
    book.apply(rows((0, 1002, 5)))
    assert book.is_crossed


@pytest.mark.parametrize(
    "bad", [(2, 5, 1), (-1, 5, 1), (0, 0, 1), (0, -5, 1), (0, 5, -1), (1, 2**53 + 1, 1)]
)
def test_row_that_is_no_level_stops_us_and_changes_nothing(bad: tuple[int, int, int]) -> None:
    book = Book(BTC, window=WINDOW)
    book.apply(rows((0, 1000, 5)))
    with pytest.raises(InvariantError, match="BTCUSDT"):
        book.apply(rows((0, 1000, 9), bad))
    assert book.levels(0) == {1000: 5}


def test_hash_grows_for_a_full_book_and_keeps_every_level() -> None:
    book, plain = Book(BTC, window=WINDOW), DictBook()
    levels = [(side, 10_000 + 37 * i, i + 1) for i in range(4000) for side in (0, 1)]
    book.apply(rows(*levels))
    plain.apply(levels)
    assert book.levels(0) == plain.sides[0]
    assert book.levels(1) == plain.sides[1]
    assert_sound(book)


def test_venue_that_never_stops_adding_levels_is_refused_before_anything_is_applied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("core.book.MAX_LEVELS", 5000)
    book = Book(BTC, window=WINDOW)
    book.apply(rows(*[(0, 10 + i, 1) for i in range(4000)]))
    with pytest.raises(ValueRefused, match="5000"):
        book.apply(rows(*[(0, 10_000 + i, 1) for i in range(2000)]))
    assert book.size() == (4000, 0)


@pytest.mark.parametrize("window", [0, 63, 100, 2**19])
def test_window_must_be_a_power_of_two_the_bitmap_can_hold(window: int) -> None:
    with pytest.raises(InvariantError, match="power of 2"):
        Book(BTC, window=window)


@given(window=st.sampled_from([64, 4096, 2**18]), ticks=st.integers(1, 2**53))
@settings(deadline=None, max_examples=40)
def test_one_level_anywhere_is_best_top_and_all(window: int, ticks: int) -> None:
    book = Book(BTC, window=window)
    book.apply(rows((0, ticks, 3), (1, ticks, 4)))
    assert book.touch() == (ticks, 3, ticks, 4, 3, 4)
    assert book.levels(0) == {ticks: 3}
    assert book.levels(1) == {ticks: 4}
