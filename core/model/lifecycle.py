"""The life of an order as one table: in which status what may happen, and what comes of it.

``after`` is the one function that reads it; ``core.orders`` is the one place that calls it. What
the table answers is not always a status: what was said may move nothing (late, told twice),
contradict what is known (it moves nothing and is told to the trader), or be a bug of ours.
``docs/orders.md`` shows the table and the diagram, made by ``matrix`` and ``diagram``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from core.errors import InvariantError
from core.model.order import OrderStatus


class Trigger(StrEnum):
    """What can happen to an order: what we do first, then what the venue says."""

    DENY = "deny"
    """The gate, a halt or the ledger keeps it in."""
    LEAVE = "leave"
    """It is handed to the broker."""
    RECOVER = "recover"
    """A start finds it in the ledger, sent or not, with no end."""
    FIND = "find"
    """The broker has it and we did not send it: an EXTERNAL order."""
    ASK_CANCEL = "ask cancel"
    LOSE_SIGHT = "lose sight"
    """The venue owes an answer for too long."""
    MARK = "mark"
    """The trader says that it has ended, with a reason."""
    ACCEPTED = "accepted"
    WORKING = "accepted, filled in part"
    """An acknowledgement of an order that has fills already."""
    PART_FILL = "part fill"
    LAST_FILL = "last fill"
    REJECTED = "rejected"
    CANCELED = "canceled"
    EXPIRED = "expired"
    CANCEL_REJECTED = "cancel rejected"
    NOT_FOUND = "not found"
    """The venue was asked twice, its settling time apart, and never knew the order."""


class Outcome(StrEnum):
    """What a trigger comes to where it moves nothing."""

    KEPT = "kept"
    """Late or told twice: nothing new."""
    ALARM = "alarm"
    """It contradicts what is known: nothing moves, the trader is told; a fill counts."""
    BUG = "bug"
    """We may not do this in this status: ``InvariantError``."""


_S, _T, _O = OrderStatus, Trigger, Outcome
OURS = (_T.DENY, _T.LEAVE, _T.RECOVER, _T.FIND, _T.ASK_CANCEL, _T.LOSE_SIGHT, _T.MARK)
"""Triggers of our own doing; the others are the venue's."""
_Row = dict[Trigger, OrderStatus | Outcome]

_ENDS: _Row = {
    _T.LAST_FILL: _S.FILLED,
    _T.CANCELED: _S.CANCELED,
    _T.EXPIRED: _S.EXPIRED,
}
"""How every order at the venue can end."""

_MOVES: dict[OrderStatus, _Row] = {
    _S.INITIALIZED: {
        _T.DENY: _S.DENIED,
        _T.LEAVE: _S.SUBMITTED,
        _T.RECOVER: _S.UNKNOWN,
        _T.FIND: _S.ACCEPTED,
        _T.ASK_CANCEL: _S.CANCELED,
    },
    _S.SUBMITTED: {
        **_ENDS,
        _T.ASK_CANCEL: _S.PENDING_CANCEL,
        _T.LOSE_SIGHT: _S.UNKNOWN,
        _T.ACCEPTED: _S.ACCEPTED,
        _T.WORKING: _S.PARTIALLY_FILLED,
        _T.PART_FILL: _S.PARTIALLY_FILLED,
        _T.REJECTED: _S.REJECTED,
    },
    _S.ACCEPTED: {
        **_ENDS,
        _T.ASK_CANCEL: _S.PENDING_CANCEL,
        _T.LOSE_SIGHT: _S.UNKNOWN,
        _T.PART_FILL: _S.PARTIALLY_FILLED,
        # It was taken before: what is refused now is the rest of it.
        _T.REJECTED: _S.CANCELED,
        _T.NOT_FOUND: _S.UNKNOWN,
    },
    _S.PARTIALLY_FILLED: {
        **_ENDS,
        _T.ASK_CANCEL: _S.PENDING_CANCEL,
        _T.LOSE_SIGHT: _S.UNKNOWN,
        _T.PART_FILL: _S.PARTIALLY_FILLED,
        _T.REJECTED: _S.CANCELED,
        _T.NOT_FOUND: _S.UNKNOWN,
    },
    _S.PENDING_CANCEL: {
        **_ENDS,
        _T.ASK_CANCEL: _S.PENDING_CANCEL,
        _T.LOSE_SIGHT: _S.UNKNOWN,
        _T.PART_FILL: _S.PENDING_CANCEL,
        _T.REJECTED: _S.REJECTED,
        # "Nothing to cancel" says nothing about the order: filled, ended or never there.
        _T.CANCEL_REJECTED: _S.UNKNOWN,
    },
    _S.UNKNOWN: {
        **_ENDS,
        _T.ASK_CANCEL: _S.PENDING_CANCEL,
        _T.MARK: _S.CANCELED,
        _T.ACCEPTED: _S.ACCEPTED,
        _T.WORKING: _S.PARTIALLY_FILLED,
        _T.PART_FILL: _S.PARTIALLY_FILLED,
        _T.REJECTED: _S.REJECTED,
        _T.NOT_FOUND: _S.REJECTED,
    },
}
_SAYS_END = {
    _T.LAST_FILL: _S.FILLED,
    _T.REJECTED: _S.REJECTED,
    _T.CANCELED: _S.CANCELED,
    _T.EXPIRED: _S.EXPIRED,
}


def _cell(status: OrderStatus, trigger: Trigger) -> OrderStatus | Outcome:
    moves = _MOVES.get(status, {})
    if trigger in moves:
        return moves[trigger]
    if trigger in OURS:
        return _O.BUG
    if status is _S.INITIALIZED:
        return _O.ALARM  # the venue speaks of what never left
    if not status.is_closed:
        return _O.KEPT
    if status is _S.DENIED or trigger in {_T.PART_FILL, _T.LAST_FILL}:
        return _O.ALARM
    if status is _S.REJECTED and trigger in {_T.ACCEPTED, _T.WORKING}:
        return _O.ALARM  # taken for gone, and it works
    end = _SAYS_END.get(trigger, status)
    # An order that was refused after all, or whose rest was, has ended as canceled.
    is_same = end is status or {end, status} == {_S.REJECTED, _S.CANCELED}
    return _O.KEPT if is_same else _O.ALARM


TABLE: Mapping[tuple[OrderStatus, Trigger], OrderStatus | Outcome] = MappingProxyType(
    {(status, trigger): _cell(status, trigger) for status in _S for trigger in _T}
)
"""What every trigger comes to in every status. A closed status never moves."""


def after(status: OrderStatus, trigger: Trigger) -> OrderStatus | Outcome:
    """Return the next status, or why it stays. Errors: ``InvariantError`` for a bug of ours."""
    found = TABLE[status, trigger]
    if found is _O.BUG:
        raise InvariantError(f"order status {status} does not know {trigger}")
    return found


def moves() -> dict[tuple[OrderStatus, OrderStatus], list[Trigger]]:
    """Return the triggers of every move of the table, by where it starts and ends."""
    found: dict[tuple[OrderStatus, OrderStatus], list[Trigger]] = {}
    for (status, trigger), end in TABLE.items():
        if isinstance(end, OrderStatus):
            found.setdefault((status, end), []).append(trigger)
    return found


def diagram() -> str:
    """Return the moves as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {_S.INITIALIZED}"]
    for (status, end), triggers in moves().items():
        words = "; ".join(trigger.value for trigger in triggers)
        lines.append(f"    {status} --> {end}: {words}")
    lines += [f"    {status} --> [*]" for status in _S if status.is_closed]
    return "\n".join(lines)


def matrix() -> str:
    """Return the whole table as Markdown: a row a trigger, a column a status."""
    head = ["trigger", *(status.value for status in _S)]
    rows = [head, ["---"] * len(head)]
    rows += [[trigger.value, *(TABLE[status, trigger].value for status in _S)] for trigger in _T]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
