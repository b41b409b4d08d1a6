"""Orders that nobody speaks of: called UNKNOWN in time, asked about, never guessed.

An UNKNOWN order counts as working in the worst case until the venue says how it stands. The venue
is asked, with longer and longer pauses; only its word, or the trader's with a reason, ends one.
"""

from __future__ import annotations

from collections.abc import Callable

from core.clock import NS_PER_MS, NS_PER_S
from core.context import RunContext
from core.order_state import OrderState
from core.orders import Orders

SILENT_NS = 4_000 * NS_PER_MS
"""An order whose end the venue owes us for so long is UNKNOWN; the trader is told within 5 s."""
ASK_FIRST_NS = NS_PER_S
ASK_LONGEST_NS = 32 * NS_PER_S
"""Pause after the first question, doubled with each one more, up to the longest."""


def step_silence(
    context: RunContext, orders: Orders, changed: Callable[[OrderState], None]
) -> None:
    """Call UNKNOWN what the venue has owed an answer on for too long; ``changed`` journals it."""
    now_ns = context.now_ns
    for state in orders.open_states():
        if not state.owes_answer or now_ns - state.heard_ns < SILENT_NS:
            continue
        key = state.order.client_order_id
        why = f"nothing heard for {(now_ns - state.heard_ns) / NS_PER_S:.0f} s"
        orders.lose_sight(state, why)
        changed(state)
        text = f"order {key} is UNKNOWN: {why}; it counts as working, the venue is being asked"
        context.notify("error", text)


def ask_again(orders: Orders, now_ns: int) -> None:
    """Queue a question about every order in doubt that is due for one."""
    for state in orders.open_states():
        if not state.is_in_doubt or now_ns < state.ask_due_ns:
            continue
        orders.put_ask(state.order.client_order_id)
        state.ask_due_ns = now_ns + min(ASK_FIRST_NS << state.asks, ASK_LONGEST_NS)
        state.asks = min(state.asks + 1, ASK_LONGEST_NS.bit_length())
