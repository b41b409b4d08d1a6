"""The story of a transfer, from its event alone."""

from __future__ import annotations

from core.clock import iso_ns
from core.model.event import Transferred
from core.model.instrument import Instrument, plain
from core.model.transfer import TransferWay
from ledger.reading import Stored


def transfer_story(stored: Stored, event: Transferred, instrument: Instrument) -> list[str]:
    """Return what was moved, what it had cost and what the movement cost."""
    moved, base, quote = event.transfer, instrument.base, instrument.quote
    is_in = moved.way is TransferWay.IN
    how = "came from" if is_in else "went to"
    lines = [f"Transfer {moved.transfer_id}  [seq {stored.seq}, {stored.envelope.ts}]"]
    lines.append(f"  {event.quantity} {base} {how} {moved.wallet}, told by {event.actor}.")
    if is_in:
        assert moved.basis is not None
        lines.append(
            f"  They cost {plain(moved.basis)} {quote} in all and were bought on "
            f"{iso_ns(moved.acquired_ns)[:10]}, as was told."
        )
    else:
        lines.append("  With them went, realizing nothing:")
        lines += [
            f"    {lot.quantity} {base} of {lot.name}, bought {iso_ns(lot.acquired_ns)[:10]}, "
            f"basis {lot.basis} {quote}"
            for lot in event.lots
        ]
    if moved.fee_lots:
        worth = "nobody knows what they were worth"
        if moved.fee_value is not None:
            worth = f"worth {plain(moved.fee_value)} {quote} ({moved.fee_value_source})"
        lines.append(
            f"  It cost {event.fee_quantity} {base}, {worth}; that is a sale of them, which "
            f"realized {event.realized_pnl} {quote}."
        )
    lines.append(f"  Position after it {instrument.qty_text(event.position_lots)} {base}.")
    return [*lines, f"  Note: {event.note}"] if event.note else lines
