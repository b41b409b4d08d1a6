"""Explaining: the story says what was written down, and only that."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from core.errors import UserError
from core.lots import FifoBook
from core.model.decision import Mode
from core.model.event import DecisionsTaken, MarkedOut, OrderIntended, SlippageMeasured
from core.model.order import Side
from core.model.point import Alternative, DecisionPoint, MarketSeen
from ledger.explain import explain, safe
from ledger.payloads import path_of
from ledger.reading import show
from ledger.story_words import slippage_bps
from ledger.writer import LedgerWriter
from tests.ledger import factory


@pytest.fixture
def state(tmp_path: Path) -> Path:
    factory.write_day(tmp_path)
    return tmp_path


def test_fill_tells_the_whole_story(state: Path) -> None:
    story = "\n".join(explain(state, "18"))
    for part in (
        "mid 100.105 USD, mode confirm",
        "the base rate 0.5012; rolling skill +1.23%, 612 outcomes so far",
        "Log-odds of up +0.2945",
        "pressure  value +0.550  share +0.2100",
        "short 12.0%, flat 30.0%, long 58.0%; entropy 0.85",
        "Edge 1.200 bps, cost 0.800 bps, net +0.400 bps",
        "approved by human:trader after 1.234 s; meanwhile the mid had moved 0.5 ticks against us",
        "Limit price_collar_bps: 3.2 of 25, passed",
        "SELL 10 SIM at 100.07 or better, IOC; can only reduce the position",
        "SELL 10 SIM at 100.09 (1000.9 USD), taker, fee 0.010009 USD",
        "Slippage against the mid at the decision: 1.50 bps worse",
        "Realized 0.6199884 USD",
        "closed 4 LONG opened at 100.02 (seq 9): 0.2719956",
        "closed 6 LONG opened at 100.03 (seq 11): 0.3479928",
    ):
        assert part in story, part


@pytest.mark.parametrize("key", ["f-run-1-in-1", "o-run-1-in", "d-run-1-in", "9", "7", "4"])
def test_fill_order_and_decision_lead_to_the_same_trade(state: Path, key: str) -> None:
    story = explain(state, key)
    seqs = [line.split("[seq ")[1].split(",")[0] for line in story if "[seq " in line]
    assert seqs == ["4", "5", "6", "7", "8", "9", "10", "11", "12"]
    assert story[-1] == "In all: 2 fills, 10 in quantity, realized 0 USD."


def test_story_begins_in_short_and_ends_with_how_it_turned_out(state: Path) -> None:
    story = explain(state, "d-run-1-in")
    assert story[0] == (
        "In short: proposed was BUY 10 SIM on sim (ENTER_LONG); approved by human:trader; filled "
        "10 at 100.026 USD, for a fee of 0.0100026 USD; the lots that it opened or closed realized "
        "0.6199884 USD, fees included."
    )
    place = story.index("How it turned out")
    assert story[place + 1 : place + 3] == [
        "  4 LONG opened by seq 9 at 100.02: closed at 100.09 after 0.9 s (seq 18): 0.2719956",
        "  6 LONG opened by seq 11 at 100.03: closed at 100.09 after 0.7 s (seq 18): 0.3479928",
    ]


def test_lot_that_is_held_is_called_open(tmp_path: Path) -> None:
    factory.write(tmp_path, factory.day()[:12])
    assert "  4 LONG opened by seq 9 at 100.02: still open" in explain(tmp_path, "9")


def test_slippage_and_markouts_are_told_with_the_order(tmp_path: Path) -> None:
    order_id, fill_id = "o-run-1-in", "f-run-1-in-1"
    later = [
        SlippageMeasured(
            order_id, "d-run-1-in", "SIM-USD", 10_000, "100.015", 0.9, 1.1, "0.011", "USD",
            is_bad=True, bad_in_a_row=2,
        ),
        MarkedOut(fill_id, order_id, "SIM-USD", 1, "100.03", 1.0, "0.004", "USD"),
        MarkedOut(fill_id, order_id, "SIM-USD", 10, None, None, None, "USD"),
    ]  # fmt: skip
    events = [*factory.day()[:12], *(factory.Dated(event, 0) for event in later)]
    factory.write(tmp_path, events)
    story = "\n".join(explain(tmp_path, fill_id))
    assert (
        "Against the mid as it left, 100.015: expected +0.90 bps, realized +1.10 bps (0.011 USD; "
        "above 0 is worse). Bad, 2 in a row." in story
    )
    assert "The mid was 100.03: +1.00 bps for us (0.004 USD, fees left out)." in story
    assert "Not known: there was no book to believe at that moment." in story


def test_decision_point_tells_the_features_and_what_was_weighed(tmp_path: Path) -> None:
    events = factory.day()
    made_ns = factory.START_NS
    market = MarketSeen("0", str(made_ns), 10_001, 500, 10_002, 700, 0)
    choices = (Alternative("HOLD", 0, 0.0, 0.0), Alternative("BUY", 10_000, 1.2, 0.8))
    point = DecisionPoint(
        1, str(made_ns), "SIM-USD", Mode.CONFIRM, market, (0.25, -1.5), (), (), (), 0, choices, (),
        "proposed", "", "d-run-1-in",
    )  # fmt: skip
    data = msgspec.json.encode(point) + b"\n"
    digest = hashlib.sha256(data).hexdigest()
    taken = DecisionsTaken(
        "points/1", 1, 1, 1, made_ns, made_ns, ("spread", "momentum"), (), "", digest, len(data)
    )
    writer = LedgerWriter(tmp_path)
    writer.keep(data)
    for dated in [*events[:-1], factory.Dated(taken, events[-2].ts_ns), events[-1]]:
        writer.append(dated.event, dated.ts_ns, None)
    writer.close()
    story = "\n".join(explain(tmp_path, "d-run-1-in"))
    assert "bid 10001 ticks x 500 lots, ask 10002 x 700" in story
    assert "spread 0.25, momentum -1.5" in story
    assert "Weighed: HOLD 0 lots, edge 0.000, cost 0.000 bps; BUY 10000 lots" in story
    path_of(tmp_path, digest).unlink()
    assert "The decision point cannot be read: payload" in "\n".join(explain(tmp_path, "9"))


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("f-run-1-in-9", "the nearest are f-run-1-in-"),
        ("o-run-1-inn", "the nearest are o-run-1-in"),
        ("999", "its events are seq 1 to 20"),
        ("zzz", "its events are seq 1 to 20"),
    ],
)
def test_unknown_id_names_the_nearest_and_how_to_list_them(
    state: Path, key: str, told: str
) -> None:
    with pytest.raises(UserError) as caught:
        explain(state, key)
    assert told in str(caught.value)
    assert "list them: tapewright ledger export --table fills" in str(caught.value)


def test_order_without_a_proposal_says_so_and_why_it_was_sent(tmp_path: Path) -> None:
    book = FifoBook(factory.INSTRUMENT)
    events = [
        factory.run_started(),
        OrderIntended(factory.order("o-1", "close", Side.SELL, 9_990)),
        factory.filled(book, "f-1", "o-1", "close", Side.SELL, 10_000, 1),
        OrderIntended(factory.order("o-2", "close", Side.SELL, 9_990)),
    ]
    factory.write(tmp_path, [factory.Dated(event, 0) for event in events])
    story = explain(tmp_path, "o-1")
    assert story[0] == "No proposal was recorded for this: because of close"
    assert "  Slippage not recorded: no mid at a decision to compare with." in story
    assert "o-2" not in "\n".join(story)
    assert "o-2" in "\n".join(explain(tmp_path, "close"))


def test_unanswered_decision_says_that_nothing_was_filled(tmp_path: Path) -> None:
    factory.write(tmp_path, factory.day()[:4])
    assert explain(tmp_path, "d-run-1-in")[-1] == "Nothing was filled."


@pytest.mark.parametrize("key", ["nobody", "0", "999", "9" * 30, "", "' OR 1=1 --", "²"])
def test_unknown_id_is_the_users_mistake(state: Path, key: str) -> None:
    for find in (explain, show):
        with pytest.raises(UserError, match="nothing in this ledger is called"):
            find(state, key)


def test_event_without_a_story_points_to_show(state: Path) -> None:
    with pytest.raises(UserError, match=r"NO_TRADE.*ledger show"):
        explain(state, "3")


@pytest.mark.parametrize(
    ("side", "ticks", "mid2", "bps"),
    [
        (Side.BUY, 10_001, 20_000, 1.0),
        (Side.BUY, 9_999, 20_000, -1.0),
        (Side.SELL, 9_999, 20_000, 1.0),
        (Side.SELL, 10_000, 20_000, 0.0),
    ],
)
def test_slippage_is_positive_when_it_hurts(side: Side, ticks: int, mid2: int, bps: float) -> None:
    assert slippage_bps(side, ticks, mid2) == pytest.approx(bps)


def test_text_from_outside_cannot_steer_the_terminal(tmp_path: Path) -> None:
    evil = "x\x1b]52;c;cm0=\x07\x9b2J\u202ey\ny"
    events = factory.day()
    order = factory.order("o-1", "d-1", Side.BUY, 1)
    denied = factory.OrderChanged("o-1", "REJECTED", evil, 0)
    for event in (OrderIntended(order), denied):
        events.append(factory.Dated(event, 0))
    factory.write(tmp_path, events)
    for line in [*explain(tmp_path, "o-1"), *show(tmp_path, "o-1")]:
        assert line.isprintable()
    assert safe(evil) == "x\ufffd]52;c;cm0=\ufffd\ufffd2J\ufffdy\ufffdy"
