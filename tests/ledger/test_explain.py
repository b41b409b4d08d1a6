"""Explaining: the story says what was written down, and only that."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import UserError
from core.lots import FifoBook
from core.model.event import OrderIntended
from core.model.order import Side
from ledger.explain import explain, safe
from ledger.reading import show
from ledger.story import slippage_bps
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


def test_order_by_command_says_that_nothing_was_proposed(tmp_path: Path) -> None:
    book = FifoBook(factory.INSTRUMENT)
    events = [
        factory.run_started(),
        OrderIntended(factory.order("o-1", "close", Side.SELL, 9_990)),
        factory.filled(book, "f-1", "o-1", "close", Side.SELL, 10_000, 1),
        OrderIntended(factory.order("o-2", "close", Side.SELL, 9_990)),
    ]
    factory.write(tmp_path, [factory.Dated(event, 0) for event in events])
    story = explain(tmp_path, "o-1")
    assert story[0] == "No proposal was recorded for this: it was ordered by a command."
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
