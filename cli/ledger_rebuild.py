"""``tapewright ledger rebuild``: the tables once more from the events."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.exit import tell
from core.clock import SystemClock
from core.state import StateDir, resolve_state_dir


def rebuild(
    *,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="DIR", help="State directory (default: the user's own)."),
    ] = None,
) -> None:
    """Make decisions, orders, fills and lots anew from the events, which stay as they are.

    For tables that `ledger verify` finds changed. Refused for a ledger whose events are not in
    order: those are the evidence, and nothing repairs them.

    Example: tapewright ledger rebuild
    """
    from ledger.rebuild import rebuild_tables

    count = rebuild_tables(StateDir(resolve_state_dir(state)), SystemClock().now_ns())
    tell(f"tables made anew from {count} events")
