"""The table of the order life cycle: total, ending, and shown as it is in the documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.errors import InvariantError
from core.model.lifecycle import OURS, TABLE, Outcome, Trigger, after, diagram, matrix, moves
from core.model.order import OrderStatus

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "orders.md"
OPEN = [status for status in OrderStatus if not status.is_closed]


def test_the_table_has_an_answer_for_every_trigger_in_every_status() -> None:
    assert set(TABLE) == {(status, trigger) for status in OrderStatus for trigger in Trigger}


def test_every_status_can_be_reached_and_every_open_one_can_end() -> None:
    reached = {OrderStatus.INITIALIZED} | {end for _, end in moves()}
    assert reached == set(OrderStatus)
    for status in OPEN:
        assert any(start is status and end.is_closed for start, end in moves()), status


def test_a_closed_order_never_moves_and_a_fill_of_it_is_an_alarm() -> None:
    assert not any(start.is_closed for start, _ in moves())
    for status in set(OrderStatus) - set(OPEN):
        for fill in (Trigger.PART_FILL, Trigger.LAST_FILL):
            assert after(status, fill) is Outcome.ALARM


def test_no_venue_report_is_a_bug_of_ours() -> None:
    bugs = {trigger for (_, trigger), outcome in TABLE.items() if outcome is Outcome.BUG}
    assert bugs <= set(OURS)


@pytest.mark.parametrize("trigger", [Trigger.LEAVE, Trigger.DENY, Trigger.MARK])
def test_what_we_may_not_do_with_a_filled_order_stops_us(trigger: Trigger) -> None:
    with pytest.raises(InvariantError, match="FILLED does not know"):
        after(OrderStatus.FILLED, trigger)


def test_an_unknown_order_ends_by_the_venues_word_or_the_traders_alone() -> None:
    ends = {t for (start, end), ts in moves().items()
            if start is OrderStatus.UNKNOWN and end.is_closed for t in ts}  # fmt: skip
    assert ends & set(OURS) == {Trigger.MARK}


def test_only_what_never_left_is_denied_or_canceled_by_us_alone() -> None:
    ours = {(start, trigger) for (start, end), ts in moves().items()
            for trigger in ts if trigger in OURS and end.is_closed}  # fmt: skip
    assert ours == {
        (OrderStatus.INITIALIZED, Trigger.DENY),
        (OrderStatus.INITIALIZED, Trigger.ASK_CANCEL),
        (OrderStatus.UNKNOWN, Trigger.MARK),
    }


def test_the_page_shows_the_table_and_the_diagram_as_they_are() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert matrix() in text, "run: python -c 'from core.model.lifecycle import *; print(matrix())'"
    (drawn,) = re.findall(r"```mermaid\n(.*?)\n```", text, re.DOTALL)
    assert drawn == diagram()
