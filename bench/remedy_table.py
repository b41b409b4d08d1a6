"""The remedies of the 21 bugs as text: what stands in the program, and what would without it.

Old text must stand in its file exactly once, which a test of the suite holds; prefer a line that
says what the remedy is. ``bench/remedies.py`` takes them out.
"""

from __future__ import annotations

import msgspec

FEEDS = "tests/core/feeds/test_known_bugs.py"
TRADING = "tests/core/feeds/test_known_bugs_of_trading.py"


class Remedy(msgspec.Struct, frozen=True):
    """One remedy of one bug, as text in one file."""

    bug: int
    is_what: str
    """What the text does, in a few words."""
    file: str
    old: str
    new: str
    """What stands there without the remedy."""
    test: str
    """Name of the test, or its beginning where it has parameters."""
    module: str = FEEDS


REMEDIES = (
    Remedy(
        1, "messages up to 32 MiB are taken", "core/feeds/frames.py",
        "MAX_FRAME_BYTES = 32 * 1024 * 1024", "MAX_FRAME_BYTES = 4 * 1024 * 1024",
        "test_bug_01_snapshot_beyond_the_usual_frame_limit_comes_through_the_socket",
    ),
    Remedy(
        2, "a label is the exact name's before an alias's", "core/feeds/symbols.py",
        "labels.setdefault(coinbase_label(symbol), index)",
        "labels[coinbase_label(symbol)] = index",
        "test_bug_02_two_subscriptions_of_one_label_are_never_merged",
    ),
    Remedy(
        3, "one failed check past the known depth costs the book", "core/feeds/binance_books.py",
        "if self._symbols[index].chain.has_left_known():", "if False:",
        "test_bug_03_book_beyond_the_depth_of_its_snapshot_is_unknown",
    ),
    Remedy(
        3, "levels past the known depth are not shown", "core/picture.py",
        "known: np.ndarray = levels[levels[:, 0] >= limit if is_bid else levels[:, 0] <= limit]",
        "known: np.ndarray = levels",
        "test_bug_03_book_beyond_the_depth_of_its_snapshot_is_unknown",
    ),
    Remedy(
        4, "events after a snapshot are applied on top of it", "core/feeds/stitch.py",
        "            if event.last > snapshot.last_id:\n"
        "                self.book.apply(event.levels)\n",
        "",
        "test_bug_04_refresh_of_a_live_book_is_stitched_behind_the_stream",
    ),
    Remedy(
        5, "each next request waits twice as long", "core/feeds/binance_books.py",
        "wait_ms = min(doubled, settings.backoff_max_ms)", "wait_ms = settings.backoff_first_ms",
        "test_bug_05_snapshots_that_come_too_old_are_asked_for_later_and_later",
    ),
    Remedy(
        6, "partial books are not among the streams of changes", "core/feeds/binance_quick.py",
        'DEPTH = frozenset({"depth", "depth@100ms", "depth@1000ms"})',
        'DEPTH = frozenset({"depth", "depth@100ms", "depth@1000ms", "depth20", "depth5"})',
        "test_bug_06_partial_books_are_never_taken_for_changes",
    ),
    Remedy(
        7, "minutes of events are kept for a slow snapshot", "core/feeds/stitch.py",
        "MAX_EVENTS = 2048", "MAX_EVENTS = 4",
        "test_bug_07_snapshot_slower_than_the_feed_is_met_by_what_was_kept",
    ),
    Remedy(
        8, "a gap is of one symbol", "core/feeds/binance_books.py",
        "            self._lose(outputs, index, FeedCause.GAP, reason, recv_ns)\n"
        "            symbol.chain.add(event, text)\n        else:",
        "            for each in range(len(self.instruments)):\n"
        "                self._lose(outputs, each, FeedCause.GAP, reason, recv_ns)\n"
        "            symbol.chain.add(event, text)\n        else:",
        "test_bug_08_gap_in_one_of_twenty_costs_one_book_and_one_request",
    ),
    Remedy(
        8, "snapshot requests queue by their weight", "core/feeds/binance_books.py",
        "not_before_ns = symbol.asked_ns = self._spacing.take(free_ns, now_ns)",
        "not_before_ns = symbol.asked_ns = free_ns",
        "test_bug_08_requests_of_many_books_are_queued_by_their_weight",
    ),
    Remedy(
        9, "order messages of no use are counted, nothing else", "core/feeds/coinbase_exchange.py",
        '            elif frame.type != "subscriptions":\n'
        "                self.counters.ignored += 1",
        '            elif frame.type != "subscriptions":\n'
        '                self._refuse_all(outputs, "unknown order", recv_ns)',
        "test_bug_09_orders_and_levels_that_were_never_there_are_no_gap",
    ),
    Remedy(
        10, "the sequence is one over all channels", "core/feeds/coinbase.py",
        "if frame.sequence_num is None or self._is_next(",
        'if frame.channel != "l2_data" or frame.sequence_num is None or self._is_next(',
        "test_bug_10_each_channel_is_read_by_its_own_rule_of_sequence",
    ),
    Remedy(
        11, "a lost connection empties its books", "core/feeds/connection.py",
        "            self._move(outputs, index, FeedCause.CLOSED,"
        ' f"disconnected: {reason}", now_ns)\n',
        "            pass\n",
        "test_bug_11_cut_connection_drops_the_book_and_subscribes_anew",
    ),
    Remedy(
        11, "each connection subscribes anew", "core/feeds/coinbase.py",
        "outputs += [self._request(",
        "outputs += [] if self._was_live[0] else [self._request(",
        "test_bug_11_cut_connection_drops_the_book_and_subscribes_anew",
    ),
    Remedy(
        11, "a book that stays crossed is doubted", "core/feeds/belief.py",
        "if lasted_ns > self._crossed_after_ns * (1 + is_doubted):", "if False:",
        "test_bug_11_book_that_stays_crossed_is_doubted_and_then_asked_for_anew",
    ),
    Remedy(
        12, "a screen with too much unread is dropped", "core/server.py",
        "if self._transport.get_write_buffer_size() > BACKLOG_MAX:", "if False:",
        "test_bug_12_screen_that_does_not_read_costs_the_feed_nothing",
    ),
    Remedy(
        13, "unknown kinds of Binance are counted", "core/feeds/binance.py",
        "        self.counters.ignored += 1\n        if kind == \"miniTicker\":",
        "        if kind not in {\"miniTicker\", \"serverShutdown\"}:\n"
        "            raise KeyError(kind)\n        if kind == \"miniTicker\":",
        "test_bug_13_unknown_values_are_counted_and_cost_no_more_than_themselves",
    ),
    Remedy(
        13, "an unknown side is refused", "core/feeds/coinbase_exchange.py",
        "aggressor = _AGGRESSOR.get(match.side)", "aggressor = _AGGRESSOR[match.side]",
        "test_bug_13_unknown_values_are_counted_and_cost_no_more_than_themselves",
    ),
    Remedy(
        13, "a full queue ends the connection", "core/feeds/line.py",
        "if self._unsent.full():", "if False:",
        "test_bug_13_full_queue_ends_the_connection_and_never_blocks",
    ),
    Remedy(
        14, "sending into a closed socket ends the connection only", "core/feeds/line.py",
        "await self._socket.send(self._fill(text))\n        except ConnectionClosed as closed:\n"
        "            self.finish(_why(closed))",
        "await self._socket.send(self._fill(text))\n        except ConnectionClosed:\n"
        "            raise",
        "test_bug_14_close_during_ping_and_answer_ends_in_a_new_connection",
    ),
    Remedy(
        15, "silence of the venue is UNKNOWN", "core/orders.py",
        "self._step(state, Trigger.LOSE_SIGHT)", "self._step(state, Trigger.REJECTED)",
        "test_bug_15_order_whose_reply_is_lost_is_never_sent_again_and_counts_as_exposure", TRADING,
    ),
    Remedy(
        15, "a refused cancel is no end of the order", "core/model/lifecycle.py",
        "filled, ended or never there.\n        _T.CANCEL_REJECTED: _S.UNKNOWN,",
        "filled, ended or never there.\n        _T.CANCEL_REJECTED: _S.REJECTED,",
        "test_bug_15_venue_that_does_not_know_an_order_does_not_close_it", TRADING,
    ),
    Remedy(
        16, "decimals are written without exponent", "core/model/instrument.py",
        'text = format(value, "f")', "text = str(value)",
        "test_bug_16_no_price_and_no_quantity_is_ever_written_with_an_exponent", TRADING,
    ),
    Remedy(
        17, "no code asks for a listenKey", "core/feeds/binance.py",
        '_HEARTBEAT_STREAM = "btcusdt@miniTicker"',
        '_HEARTBEAT_STREAM = "btcusdt@miniTicker"\n_USER_DATA = "/api/v3/userDataStream"',
        "test_bug_17_no_code_goes_the_removed_way_to_account_data", TRADING,
    ),
    Remedy(
        18, "a second connection is opened before the cut", "core/feeds/socket.py",
        "if renewal.after_ns is not None and age_ns >= renewal.after_ns:", "if False:",
        "test_bug_18_cut_at_24_hours_is_met_by_a_second_connection",
    ),
    Remedy(
        18, "a silent stream is found by its neighbours", "core/feeds/binance.py",
        "self._count_beat_behind(outputs, recv_ns)", "pass",
        "test_bug_18_stream_that_is_silent_while_the_socket_is_up_is_found",
    ),
    Remedy(
        19, "406 waits half a minute", "core/feeds/alpaca_login.py",
        "406: 30,", "406: 0,",
        "test_bug_19_connection_that_still_counts_is_waited_out",
    ),
    Remedy(
        20, "an order that meets our own is denied", "core/limits/own.py",
        "return price, meets, limit < own if is_buy else limit > own",
        "return price, meets, True",
        "test_bug_20_order_that_would_meet_our_own_is_denied"
        "_and_the_position_can_still_be_closed", TRADING,
    ),
    Remedy(
        21, "an entry is denied while the clock is off", "core/limits/market.py",
        "-behind <= offset <= ahead", "True",
        "test_bug_21_clock_that_is_ahead_holds_back_new_risk_within_a_second_and_no_exit", TRADING,
    ),
    Remedy(
        21, "nothing is proposed while the clock is off", "core/engine.py",
        "(bool(desk.clock.doubt) and not is_held,", "(False,",
        "test_bug_21_nothing_is_proposed_while_the_clock_is_in_doubt", TRADING,
    ),
)  # fmt: skip
