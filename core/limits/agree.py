"""Controls of the way to the broker: that it agrees with us, and that the queue to it has room."""

from __future__ import annotations

from core.limits.view import Case, Control
from core.orders import QUEUE_BOUND


def _broker_agrees(case: Case) -> tuple[str, str, bool]:
    """Any difference stops entries; exits only where the position itself is in doubt.

    An exit is sized by what we believe we hold: at a broker that holds less, it would flip.
    """
    found = case.view.position_doubt if case.order.reduces else case.view.differences
    return found or "agrees", "agrees", not found


def _queue_room(case: Case) -> tuple[str, str, bool]:
    waiting = case.view.queue_waiting
    return str(waiting), str(QUEUE_BOUND), waiting < QUEUE_BOUND


AGREE = (
    Control("broker_agrees", "the broker says other than we: any difference for an entry, the "
            "position of the instrument for an exit", _broker_agrees, of_exits=True),
    Control("queue_room", "so many orders wait for the broker already; cancels wait for nothing",
            _queue_room, of_exits=True),
)  # fmt: skip
