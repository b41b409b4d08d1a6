"""``tapewright ledger``: read the evidence. Nothing here changes it; ``checkpoint`` signs it.

stdout is data, stderr is narration. Errors become exit codes in ``cli.exit``: 1 for a ledger
that is wrong or cannot be read, 2 for one that is not there.
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.exit import DONE, FAILED, tell
from cli.ledger_anchor import anchor
from cli.ledger_binder import binder
from cli.ledger_export import export, sign_before_export
from cli.ledger_keys import keys_app
from cli.ledger_rebuild import rebuild
from cli.ledger_replay import replay
from core.clock import SystemClock
from core.errors import TryAgain
from core.state import StateDir, resolve_state_dir

ledger_app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Export, verify and explain the ledger. Example: tapewright ledger verify",
)
ledger_app.command()(anchor)
ledger_app.command()(binder)
ledger_app.command()(export)
ledger_app.command()(rebuild)
ledger_app.command()(replay)
ledger_app.add_typer(keys_app, name="keys")

State = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="State directory (default: the user's own)."),
]
Key = Annotated[
    str, typer.Argument(metavar="ID", help="A seq, or a fill, order, decision or run id.")
]


class TaxFormat(StrEnum):
    FORM_8949 = "8949"
    KOINLY = "koinly"
    COINTRACKER = "cointracker"


@ledger_app.command()
def checkpoint(
    *,
    out: Annotated[str, typer.Option(metavar="FILE|-", help="Where to; - is stdout.")] = "-",
    state: State = None,
) -> None:
    """Print the newest signed checkpoint; keep it elsewhere, and no edit stays unseen.

    Without a running engine the newest event is signed first; with one, the newest checkpoint
    that it signed is printed.

    Example: tapewright ledger checkpoint --out /media/stick/tapewright-2026-03.txt
    """
    from ledger.issue import newest_checkpoint, sign_head, write_note

    where = StateDir(resolve_state_dir(state))
    try:
        sign_head(where, SystemClock().now_ns())
    except TryAgain:
        tell("an engine runs here: this is the newest that it has signed")
    newest = newest_checkpoint(where.path)
    if out == "-":
        sys.stdout.buffer.write(newest.note.encode())
        sys.stdout.flush()
    else:
        write_note(where.path, newest.note, Path(out))
    tell(f"checkpoint over seq 1 to {newest.seq} written to {'stdout' if out == '-' else out}")


@ledger_app.command()
def verify(
    *,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="An older checkpoint that the ledger must extend."),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CA of time stamps (default: the one kept with each)."),
    ] = None,
    state: State = None,
) -> None:
    """Check every event, chain, witness, checkpoints, anchors and tables; change nothing.

    Prints one line, and one an anchor, and exits with 0 if all holds; else what is wrong, first bad
    seq first, and 1.

    Example: tapewright ledger verify --against /media/stick/tapewright-2026-03.txt
    """
    from ledger.explain import safe
    from ledger.verify import verify as check

    report = check(resolve_state_dir(state), against, ca)
    if not report.findings:
        print(f"{report.ok_text}; {safe(report.signed_text)}")
        for line in report.anchors:
            print(safe(f"anchor: {line}"))
        raise typer.Exit(DONE)
    for finding in report.findings:
        print(safe(finding.text))
    if report.is_only_tables:
        tell("the events are in order; tapewright ledger rebuild makes the tables anew from them")
    raise typer.Exit(FAILED)


@ledger_app.command()
def head(*, state: State = None) -> None:
    """Print seq and hash of the newest event as JSON.

    Example: tapewright ledger head
    """
    from ledger.reading import read_head
    from ledger.witness import head_json

    print(head_json(read_head(resolve_state_dir(state))))


@ledger_app.command()
def show(key: Key, *, state: State = None) -> None:
    """Print the stored events that ID names, one JSON object a line.

    Example: tapewright ledger show 17
    """
    from ledger.reading import show as find

    for line in find(resolve_state_dir(state), key):
        print(line)


@ledger_app.command()
def explain(key: Key, *, state: State = None) -> None:
    """Tell the story of a fill, order or decision: what was seen, decided, checked, paid.

    Example: tapewright ledger explain 42
    """
    from ledger.explain import explain as tell_story

    for line in tell_story(resolve_state_dir(state), key):
        print(line)


@ledger_app.command()
def lots(
    *,
    closed: Annotated[
        bool, typer.Option("--closed", help="The closed lots in place of the open ones.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, stable.")] = False,
    state: State = None,
) -> None:
    """List the FIFO lots: open ones with their cost, or closed ones with what they realized.

    Example: tapewright ledger lots --closed --json
    """
    from ledger.lots_view import lots_table, read_lots

    rows = read_lots(resolve_state_dir(state), closed=closed)
    if as_json:
        print(json.dumps(rows))
        return
    for line in lots_table(rows):
        print(line)


@ledger_app.command()
def tax(
    *,
    year: Annotated[
        int, typer.Option(min=1970, max=2200, metavar="YYYY", help="Calendar year in --timezone.")
    ],
    tax_format: Annotated[
        TaxFormat, typer.Option("--format", help="Rows for Form 8949, or fills for an importer.")
    ],
    out: Annotated[str, typer.Option(metavar="FILE|-", help="Where to; - is stdout.")] = "-",
    timezone: Annotated[
        str,
        typer.Option(metavar="ZONE", help="UTC, an offset (-05:00) or a name (Europe/Berlin)."),
    ] = "UTC",
    state: State = None,
) -> None:
    """Write a year's closed lots or fills for the taxes, every row marked PAPER. No tax advice.

    An existing file is replaced as a whole. All trading so far is paper: none of it is taxable.

    Example: tapewright ledger tax --year 2026 --format 8949 --out 8949-2026.csv
    """
    from ledger.issue import write_note
    from ledger.tax import tax_file
    from ledger.tax_year import parse_zone

    zone = parse_zone(timezone)
    state_dir = resolve_state_dir(state)
    sign_before_export(state_dir)
    made = tax_file(state_dir, year=year, file_format=tax_format.value, zone=zone)
    if out == "-":
        sys.stdout.buffer.write(made.text.encode())
        sys.stdout.flush()
    else:
        write_note(state_dir, made.text, Path(out))
    for note in made.notes:
        tell(note)
    tell(f"{made.rows} rows of {year} written to {'stdout' if out == '-' else out}")
