"""One fill with its whole rationale."""

from __future__ import annotations

import textwrap

from core.snapshot import FillView
from tui.screens.sheet import Sheet


class FillScreen(Sheet[None]):
    """Why this was traded, in full."""

    def __init__(self, fill: FillView) -> None:
        rows = [
            ("ledger seq", str(fill.seq)),
            ("time", fill.time),
            ("instrument", fill.instrument),
            ("fill", f"{fill.side} {fill.qty} @ {fill.price}"),
            ("fee", fill.fee),
            ("realized", fill.realized),
        ]
        lines = [f"{name:<12} {value}" for name, value in rows]
        rationale = fill.rationale or "no rationale recorded"
        lines += ["", *textwrap.wrap(rationale, 70)]
        super().__init__("FILL", lines)
