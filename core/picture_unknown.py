"""The part of the snapshot that tells of money, when money cannot be counted any more.

Positions are counts of lots and stay known; what they cost, earn and are worth is not.
"""

from __future__ import annotations

from core.engine import Engine
from core.model.instrument import plain
from core.snapshot import PnlView, PositionView

NOT_A_NUMBER = "NaN"
"""Where the snapshot has no ``None``: the screen shows it as it is, the metrics export it."""


def unknown_pnl(engine: Engine) -> PnlView:
    """Return a P&L that says nothing but the limit."""
    return PnlView(
        currency=next(iter(engine.account.by_quote)),
        realized=NOT_A_NUMBER,
        unrealized=None,
        fees=NOT_A_NUMBER,
        total=None,
        exposure=None,
        daily_loss_limit=plain(engine.settings.risk.max_daily_loss),
        curve=(),
    )


def bare_positions(engine: Engine) -> tuple[PositionView, ...]:
    """Return what is held, without a price."""
    return tuple(
        PositionView(
            instrument=name,
            lots=book.position_lots,
            qty=book.instrument.qty_text(book.position_lots),
            average_price=NOT_A_NUMBER,
            mark=None,
            unrealized=None,
            realized=NOT_A_NUMBER,
            held_s=0,
        )
        for name, book in engine.account.books.items()
        if book.position_lots
    )
