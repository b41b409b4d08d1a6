"""The table of feed states: every row, every cause, and what no sequence of events may do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from core.book import Book
from core.config import Settings
from core.errors import InvariantError
from core.feeds import states
from core.feeds.continuity import POLICIES
from core.feeds.pages import FOLDER, PAGES
from core.feeds.protocol import InstrumentFeed
from core.feeds.registry import protocol_for
from core.feeds.states import BELIEVED, TRANSITIONS, WAITING, advance
from core.model.market import FeedCause, FeedState, Reconnect
from tests.core.feeds.wire import T0, S, coinbase, instrument, l2

DOUBTS = (
    FeedCause.CHECK_FAILED,
    FeedCause.CROSSED,
    FeedCause.TRADES_LOST,
    FeedCause.LAGGED,
)
CAUSED_BY_BOOKS = (FeedCause.SNAPSHOT, FeedCause.TAKEN_OVER)


def feed_in(state: FeedState, reason: str = "before") -> InstrumentFeed:
    one = instrument("binance", "BTCUSDT")
    feed = InstrumentFeed(one, Book(one), state, reason)
    feed.book.apply(np.array([(0, 100, 5), (1, 101, 5)], np.int64))
    return feed


@pytest.mark.parametrize(("state", "cause"), TRANSITIONS)
def test_every_row_enters_its_state_with_cause_reason_time_and_count(state, cause):
    feed = feed_in(state)
    change = advance(feed, 3, cause, "why", T0)
    target = TRANSITIONS[state, cause]
    assert change is not None
    assert (change.instrument, change.state, change.cause) == (3, target, cause)
    assert (change.reason, change.ts_recv_ns) == ("why", T0)
    assert (feed.state, feed.cause, feed.reason) == (target, cause, "why")
    assert feed.transitions == {cause: 1}
    assert feed.since_ns == (0 if target is state else T0)
    assert (feed.book.size() == (0, 0)) == (target not in BELIEVED)


@pytest.mark.parametrize("cause", FeedCause)
@pytest.mark.parametrize("state", FeedState)
def test_every_other_pair_raises_in_tests_and_is_doubted_in_a_run(state, cause, monkeypatch):
    if (state, cause) in TRANSITIONS:
        assert advance(feed_in(state), 0, cause, "why", T0) is not None
        return
    with pytest.raises(InvariantError, match="does not follow"):
        advance(feed_in(state), 0, cause, "why", T0)
    monkeypatch.setattr(states, "IS_STRICT", False)
    feed = feed_in(state)
    change = advance(feed, 0, cause, "why", T0)
    assert change is not None
    assert change.cause is FeedCause.IMPOSSIBLE
    assert change.reason == f"{cause} does not follow {state}"
    assert feed.state is (FeedState.RESYNCING if state in BELIEVED else state)
    assert feed.book.size() == (0, 0)
    assert feed.transitions == {FeedCause.IMPOSSIBLE: 1}


def test_impossible_cause_in_a_run_brings_a_new_connection(monkeypatch):
    monkeypatch.setattr(states, "IS_STRICT", False)
    protocol = coinbase()
    protocol.receive(l2(0, "snapshot", [("bid", "100", "1")], "BTC-USD"), T0)
    outputs = []
    protocol._move(outputs, 0, FeedCause.RESUMED, "", T0)
    assert protocol.instruments[0].state is FeedState.RESYNCING
    assert [each.reason for each in outputs if isinstance(each, Reconnect)] == [
        "resumed does not follow live"
    ]


def test_same_state_and_reason_are_no_change_and_are_not_counted():
    feed = feed_in(FeedState.LIVE, "")
    assert advance(feed, 0, FeedCause.SNAPSHOT, "", T0) is None
    assert feed.transitions == {}


@pytest.mark.parametrize("cause", FeedCause)
def test_every_cause_is_in_the_table(cause):
    assert any(each == cause for _, each in TRANSITIONS)


def test_every_state_can_be_reached_and_left():
    for state in FeedState:
        assert any(target is state and source is not state for (source, _), target in rows())
        assert any(source is state and target is not state for (source, _), target in rows())


def rows():
    return TRANSITIONS.items()


def test_only_a_whole_book_or_the_end_of_a_doubt_makes_a_book_live():
    for (source, cause), target in rows():
        if target is FeedState.LIVE and source not in BELIEVED:
            assert cause in CAUSED_BY_BOOKS


def test_first_doubt_keeps_the_book_and_the_second_costs_it():
    for cause in DOUBTS:
        for state in (FeedState.LIVE, FeedState.STALE):
            assert TRANSITIONS[state, cause] is FeedState.SUSPECT
        assert TRANSITIONS[FeedState.SUSPECT, cause] is FeedState.RESYNCING
        assert not any((state, cause) in TRANSITIONS for state in WAITING)


def test_halt_outlasts_everything_but_its_end_and_the_connection():
    left = {cause for (source, cause), to in rows()
            if source is FeedState.HALTED and to is not FeedState.HALTED}  # fmt: skip
    assert left == {
        FeedCause.OPENED, FeedCause.CLOSED, FeedCause.RESUMED, FeedCause.TAKEN_OVER
    }  # fmt: skip


# --- no order of events breaks the rules


class FeedLife(RuleBasedStateMachine):
    """Drives the shared ways to a state of one protocol, with a book that is set in between."""

    @initialize()
    def begin(self):
        self.protocol = protocol_for("coinbase", [instrument("coinbase", "BTC-USD")], _SETTINGS)
        self.feed = self.protocol.instruments[0]
        self.now_ns = T0
        self.has_told_book = False
        self.outputs = []

    def step(self, ns=S // 10):
        self.now_ns += ns
        self.outputs = []

    @rule()
    def opened(self):
        self.step()
        self.protocol.on_open(self.now_ns)
        self.has_told_book = False

    @rule()
    def closed(self):
        self.step()
        self.protocol.on_close("cut", self.now_ns)
        self.has_told_book = False

    @rule(is_crossed=st.booleans())
    def snapshot(self, is_crossed):
        self.step()
        ask = "99" if is_crossed else "101"
        levels = [("bid", "100", "1"), ("offer", ask, "1")]
        self.protocol.receive(l2(None, "snapshot", levels, "BTC-USD"), self.now_ns)
        self.has_told_book = self.feed.state in BELIEVED

    @rule(side=st.sampled_from(["bid", "offer"]), price=st.integers(98, 103))
    def update(self, side, price):
        self.step()
        rows = [(side, str(price), "2")]
        self.protocol.receive(l2(None, "update", rows, "BTC-USD"), self.now_ns)

    @rule(number=st.integers(0, 5))
    def jump(self, number):
        self.step()
        self.protocol.receive(l2(number, "update", [], "BTC-USD"), self.now_ns)

    @rule(wait_s=st.integers(1, 20))
    def time(self, wait_s):
        self.step(wait_s * S)
        self.protocol.on_time(self.now_ns)

    @rule(cause=st.sampled_from(DOUBTS))
    def doubt(self, cause):
        self.step()
        self.protocol._doubt(self.outputs, 0, cause, "doubt", self.now_ns)

    @rule(cause=st.sampled_from([FeedCause.GAP, FeedCause.REFUSED, FeedCause.LEFT_KNOWN]))
    def lose(self, cause):
        self.step()
        self.protocol._lose(self.outputs, 0, cause, "lost", self.now_ns)

    @rule(doubt=st.sampled_from(DOUBTS))
    def relieve(self, doubt):
        self.step()
        self.protocol._relieve(self.outputs, 0, doubt, FeedCause.CHECK_PASSED, self.now_ns)

    @rule()
    def halt(self):
        self.step()
        self.protocol._move(self.outputs, 0, FeedCause.HALTED, "halted", self.now_ns)

    @rule()
    def resume(self):
        if self.feed.state is FeedState.HALTED:
            self.step()
            self.protocol._move(self.outputs, 0, FeedCause.RESUMED, "", self.now_ns)

    @invariant()
    def only_believed_books_hold_levels(self):
        if self.feed.state not in BELIEVED:
            assert self.feed.book.size() == (0, 0)
            self.has_told_book = False

    @invariant()
    def no_book_is_believed_before_it_was_told(self):
        assert self.feed.state not in BELIEVED or self.has_told_book

    @invariant()
    def counts_are_bounded_and_never_of_a_bug(self):
        assert len(self.feed.transitions) <= len(FeedCause)
        assert FeedCause.IMPOSSIBLE not in self.feed.transitions


_SETTINGS = Settings()
FeedLife.TestCase.settings = examples(max_examples=60, stateful_step_count=40, deadline=None)
test_no_order_of_events_leaves_levels_nobody_believes = pytest.mark.slow(FeedLife.TestCase)


# --- the pages


@pytest.mark.parametrize("name", PAGES)
def test_page_equals_what_the_code_says(name):
    told = "python -m core.feeds.pages writes it anew"
    assert (FOLDER / name).read_text("utf-8") == PAGES[name](), told


def test_every_loss_and_doubt_of_the_table_is_some_channels_policy():
    told = {cause for policy in POLICIES for cause in policy.causes}
    assert told >= {*DOUBTS, FeedCause.GAP, FeedCause.REFUSED, FeedCause.LEFT_KNOWN,
                    FeedCause.SILENT, FeedCause.HALTED}  # fmt: skip
