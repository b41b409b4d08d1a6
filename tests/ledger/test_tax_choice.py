"""Lots chosen for a sale count only if the order left with the choice."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from core.errors import Failed
from core.lots import FifoBook
from core.model.event import Filled, LedgerEvent, OrderIntended
from core.model.instrument import plain
from core.model.order import Fill, Side
from tests.ledger import factory, statement


def _sale(chosen: tuple[str, ...], named: tuple[str, ...]) -> list[factory.Dated]:
    """Return two purchases and a sale; ``chosen`` by its order, ``named`` by its fill."""
    book = FifoBook(factory.INSTRUMENT)
    events: list[LedgerEvent] = [
        factory.run_started(),
        factory.filled(book, "f-1", "o-1", "d-1", Side.BUY, 10_000, 1_000),
        factory.filled(book, "f-2", "o-2", "d-2", Side.BUY, 11_000, 1_000),
    ]
    order = factory.order("o-3", "d-3", Side.SELL, 10_400, 1_000)
    sold = Fill(
        "f-3", "o-3", "SIM-USD", Side.SELL, 10_500, 1_000, Decimal(0), "USD", is_maker=False,
        ts_ns=factory.START_NS + 2, closes=named,
    )  # fmt: skip
    realized = sum((lot.realized for lot in book.apply(sold)), Decimal(0))
    event = Filled(sold, "d-3", "105", "1", "105", plain(realized), 1_000, "because")
    intent = OrderIntended(msgspec.structs.replace(order, closes=chosen))
    return [
        factory.Dated(each, factory.START_NS + n) for n, each in enumerate([*events, intent, event])
    ]


def test_lots_chosen_before_the_order_left_are_the_ones_sold(tmp_path: Path) -> None:
    factory.write(tmp_path, _sale(("f-2",), ("f-2",)))
    file = statement.made(tmp_path)
    assert statement.lines(file, "Proceeds", "Cost Basis", "Gain", "Lot IDs") == [
        ("105.00", "110.00", "-5.00", "L3-5")
    ]
    assert "1 of 1 lines close lots that were chosen before their order left" in file.notes[1]


def test_without_a_choice_the_oldest_are_sold(tmp_path: Path) -> None:
    factory.write(tmp_path, _sale((), ()))
    assert statement.lines(statement.made(tmp_path), "Lot IDs") == [("L2-5",)]


def test_choice_that_the_intent_does_not_hold_is_refused(tmp_path: Path) -> None:
    factory.write(tmp_path, _sale((), ("f-2",)))
    with pytest.raises(Failed, match="not chosen in the intent of its order, before it left"):
        statement.made(tmp_path)
