"""``tapewright ledger export``: a table as a file, with filters and a progress bar."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.exit import tell
from core.clock import SystemClock
from core.errors import Failed, TryAgain, UserError
from core.state import StateDir, resolve_state_dir

if TYPE_CHECKING:
    from ledger.export import Tell

BAR_ROWS_MIN = 50_000
"""Tables with fewer rows are written before a bar could be read."""


class TableName(StrEnum):
    EVENTS = "events"
    DECISIONS = "decisions"
    ORDERS = "orders"
    ORDER_EVENTS = "order-events"
    FILLS = "fills"
    LOTS = "lots"
    TRANSFERS = "transfers"
    SPENT = "spent"


class FileFormat(StrEnum):
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"


def export(
    *,
    table: Annotated[TableName, typer.Option(help="What to export.")],
    file_format: Annotated[
        FileFormat, typer.Option("--format", help="How to write it.")
    ] = FileFormat.CSV,
    out: Annotated[str, typer.Option(metavar="FILE|-", help="Where to; - is stdout.")] = "-",
    since: Annotated[
        str | None,
        typer.Option("--since", "--from", metavar="T", help="From this ISO date or time on (UTC)."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", "--to", metavar="T", help="Up to, not including, this one."),
    ] = None,
    instrument: Annotated[
        str, typer.Option(metavar="NAME", help="Only of this instrument, as the venue spells it.")
    ] = "",
    run: Annotated[
        str, typer.Option(metavar="ID", help="Only of the run whose id begins so.")
    ] = "",
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="DIR", help="State directory (default: the user's own)."),
    ] = None,
) -> None:
    """Write a table of the ledger as CSV, JSON, JSON Lines or Parquet.

    An existing file is replaced as a whole. `order-events` is in the field order of an order
    record modelled on RTS 24.

    Example: tapewright ledger export --table fills --format csv --out fills.csv --from 2026-01-01
    """
    from ledger.export import export as write_table
    from ledger.export.kinds import Period
    from ledger.export.tables import parse_time

    period = Period(instrument=instrument, run=run)
    if since is not None:
        period = period._replace(since=parse_time(since, "--since"))
    if until is not None:
        period = period._replace(until=parse_time(until, "--until"))
    state_dir = resolve_state_dir(state)
    sign_before_export(state_dir)
    with _bar() as show:
        count = write_table(
            state_dir,
            table=table.value,
            file_format=file_format.value,
            out=sys.stdout.buffer if out == "-" else Path(out),
            period=period,
            tell=show,
        )
    tell(f"{count} rows of {table.value} written to {'stdout' if out == '-' else out}")


def sign_before_export(state_dir: Path) -> None:
    """Sign the newest events if nobody else does; an export that cannot be signed is told."""
    from ledger.issue import is_readable, sign_head

    try:
        sign_head(StateDir(state_dir), SystemClock().now_ns(), adopts=False)
    except TryAgain:
        pass  # the engine that runs signs by itself
    except (Failed, UserError) as error:
        if is_readable(state_dir):  # else the export itself says why not
            tell(f"the newest events are not signed: {error}")


@contextlib.contextmanager
def _bar() -> Iterator[Tell | None]:
    """Yield what draws a progress bar on a terminal; None where stderr is none."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("rows", total=None, visible=False)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, visible=total >= BAR_ROWS_MIN)

        yield show
