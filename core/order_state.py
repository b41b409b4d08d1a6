"""One order of ours as far as it is known, and what a report about it came to. Values alone.

``core.orders.Orders`` owns and writes them; what may happen to a status is in
``core.model.lifecycle``.
"""

from __future__ import annotations

import msgspec

from core.model.lifecycle import Trigger
from core.model.order import Fill, Order, OrderStatus


class OrderState(msgspec.Struct):
    """One order and how far it is; only ``Orders`` writes it."""

    order: Order
    status: OrderStatus = OrderStatus.INITIALIZED
    filled_lots: int = 0
    reason: str = ""
    intent_seq: int = 0
    """Of its intent in the ledger; 0 for an order that we did not send."""
    has_left: bool = False
    """It was handed to the broker, or may have been before a restart."""
    heard_ns: int = 0
    """When we last asked or heard something about it."""
    is_external: bool = False
    """Found at the broker; nobody here sent it."""
    is_size_known: bool = True
    """False for an external order that is known by its fills alone: its size is what they are."""
    was_heard: bool = False
    """The venue has said that it has, or had, this order."""
    venue_lots: int = 0
    """Most lots that the venue has ever said it filled."""
    end: Trigger | None = None
    """How the venue says it ended, while fills are missing that it counts."""
    fill_ids: set[str] = set()
    asks: int = 0
    """How often the venue was asked since it last spoke."""
    ask_due_ns: int = 0
    missing_ns: int = 0
    """When the venue first said that it does not know the order; 0 if it never did."""

    @property
    def open_lots(self) -> int:
        """Lots that may still fill, or have and we were not told: the worst case."""
        if self.status.is_closed:
            return 0
        most = self.venue_lots if self.end is not None else max(
            self.order.qty_lots, self.venue_lots
        )  # fmt: skip
        return most - self.filled_lots

    @property
    def is_in_doubt(self) -> bool:
        """True if the venue must be asked how it stands."""
        return self.status is OrderStatus.UNKNOWN or (
            self.end is not None and not self.status.is_closed
        )

    @property
    def owes_answer(self) -> bool:
        """True if the venue must say something soon: only a resting order may keep silent."""
        if self.status.is_closed or self.status is OrderStatus.UNKNOWN or not self.has_left:
            return False
        waits = {OrderStatus.SUBMITTED, OrderStatus.PENDING_CANCEL}
        return self.end is not None or not self.order.tif.may_rest or self.status in waits


class Applied(msgspec.Struct, frozen=True):
    """What a report came to."""

    state: OrderState
    fill: Fill | None = None
    """The fill if it is a new one."""
    alarm: str = ""
    """What contradicts what is known, for the trader; empty if nothing does."""


class QueueCounts(msgspec.Struct):
    """What the queue to the broker has seen since the start."""

    deepest: int = 0
    refused: int = 0
    """Orders denied because it was full."""
    overtaken: int = 0
    """Cancels that went while an order waited."""
    longest_wait_ns: int = 0
    """Longest time from an order's decision to its leaving."""
    repeated_fills: int = 0
    """Fills told again."""
    late_reports: int = 0
    """Reports on orders closed so long ago that they are forgotten."""
