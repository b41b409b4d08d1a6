"""The trader's word that coins were moved: what is written, booked, told, and refused."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from core.control import Ack, MoveCoins
from core.model import event as ev
from core.model.transfer import TransferWay
from tests.core.test_commands import Desk
from tests.fakes import START_NS

NAME = "BTCUSDT"
COMING = MoveCoins(NAME, TransferWay.IN, "0.5", "cold wallet", "12000.05", START_NS - 10**18)
GOING = MoveCoins(NAME, TransferWay.OUT, "0.2", "nano", fee="0.01")


def desk() -> Desk:
    made = Desk()
    made.bench.pass_ms(1_000)
    return made


def position(of: Desk) -> int:
    return of.bench.engine.account.position(NAME)


def test_coins_that_come_are_written_booked_and_known_to_the_broker() -> None:
    at = desk()
    reply = at.say(COMING)
    assert reply.ok, reply.text
    assert reply.text == (
        "BTCUSDT: 0.5 BTC from cold wallet, basis 12000.05 USDT, acquired 1992-03-07; position 0.5"
    )
    (event,) = at.bench.sink.of(ev.Transferred)
    assert (event.transfer.basis, event.quantity, event.position_lots) == (
        Decimal("12000.05"), "0.5", position(at),
    )  # fmt: skip
    assert event.lots == ()
    assert event.actor == "human:trader"
    mark2 = at.bench.engine.account.mark2(NAME)
    assert mark2 is not None
    gain = at.bench.engine.account.books[NAME].unrealized(mark2)
    assert event.transfer.carried == gain
    at.bench.session.reconciler.compare()
    assert at.bench.engine.context.differences == ()
    assert at.bench.broker.positions() == {NAME: position(at)}


def test_coins_that_go_leave_their_lots_in_the_ledger_and_pay_at_the_mark() -> None:
    at = desk()
    at.say(COMING)
    before = position(at)
    reply = at.say(GOING)
    assert reply.ok, reply.text
    event = at.bench.sink.of(ev.Transferred)[-1]
    assert [(lot.name, lot.quantity, lot.basis) for lot in event.lots] == [
        (at.bench.sink.of(ev.Transferred)[0].transfer.transfer_id, "0.2", "4800.02")
    ]
    mark2 = at.bench.engine.account.mark2(NAME)
    assert mark2 is not None
    book = at.bench.engine.account.books[NAME]
    assert event.transfer.fee_value == book.instrument.notional(1, event.transfer.fee_lots) * (
        Decimal(mark2) / 2
    )
    assert event.transfer.fee_value_source.endswith("BTCUSDT mid")
    assert position(at) == before - event.transfer.qty_lots - event.transfer.fee_lots
    at.bench.session.reconciler.compare()
    assert at.bench.engine.context.differences == ()


def test_an_open_position_keeps_its_exits_for_what_is_held_now() -> None:
    at = desk()
    at.bench.open_position()
    held = at.bench.engine.exits.held[NAME]
    exits = held.exits
    at.say(COMING)
    assert at.bench.engine.exits.held[NAME].lots == position(at)
    assert at.bench.engine.exits.held[NAME].exits == exits
    assert at.bench.sink.of(ev.ExitsSet)[-1].position_lots == position(at)


def test_a_flat_account_gets_no_exits_by_coins_that_come() -> None:
    at = desk()
    at.say(COMING)
    assert at.bench.engine.exits.held == {}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"instrument": "DOGE"}, "DOGE is not traded in this run"),
        ({"quantity": "-1"}, "quantity was -1, allowed is not below 0"),
        ({"quantity": "0"}, "quantity was 0, allowed is above 0"),
        ({"quantity": "0.000000001"}, "quantity: quantity 1E-9 was off the 0.00001 lot"),
        ({"quantity": "1e3"}, "quantity: number was '1e3', allowed is plain decimal text"),
        ({"wallet": " "}, "wallet and note: a wallet is needed, and 200 characters do"),
        ({"note": "x" * 201}, "wallet and note: a wallet is needed, and 200 characters do"),
        ({"basis": ""}, "basis: what the coins cost, fees included, has to be said, be it 0"),
        ({"basis": "-3"}, "basis was -3, allowed is not below 0"),
        ({"acquired_ns": 0}, "acquired: when the coins were bought has to be said"),
        ({"acquired_ns": 2**62}, "acquired: when the coins were bought has to be said"),
        ({"fee": "0.6"}, "0.6 BTC cannot leave, 0.5 are held"),
        ({"fee": "-0.1"}, "fee was -0.1, allowed is not below 0"),
        ({"fee": "0.1", "fee_value": "-1"}, "fee value was -1, allowed is not below 0"),
        ({"way": TransferWay.OUT}, "0.5 BTC cannot leave, 0 are held"),
    ],
)
def test_what_cannot_be_moved_is_refused_with_its_reason_and_changes_nothing(
    changes: dict[str, object], why: str
) -> None:
    at = desk()
    reply = at.say(msgspec.structs.replace(COMING, **changes))
    assert not reply.ok
    assert why in reply.text
    assert at.bench.sink.of(ev.Transferred) == []
    assert position(at) == 0
    assert [why in each.reason for each in at.refused()] == [True]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"basis": "3"}, "basis: the lots that go say what they cost"),
        ({"acquired_ns": 5}, "acquired: the lots that go say when they were bought"),
    ],
)
def test_what_goes_takes_no_word_on_its_basis(changes: dict[str, object], why: str) -> None:
    at = desk()
    at.say(COMING)
    reply = at.say(msgspec.structs.replace(GOING, **changes))
    assert reply == Ack(ok=False, text=why)


def test_while_an_order_works_or_the_past_is_lived_through_nothing_is_moved() -> None:
    at = desk()
    at.bench.engine.context.hold_back = "living through the market's past"
    assert "living through the market's past" in at.say(COMING).text
    at.bench.engine.context.hold_back = ""
    at.bench.open_position()
    at.bench.engine.execution.close(NAME, "human:trader", "test")
    assert "is being closed" in at.say(COMING).text
