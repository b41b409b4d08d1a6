"""``tapewright ledger replay``: a recorded run through the pinned code, and a receipt of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.exit import DONE, FAILED, tell
from core.state import resolve_state_dir


def replay(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run id, its beginning, or 'last'.")
    ] = "last",
    *,
    capture: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="The run's recording, where it is not where it was."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Other settings in place of the run's: what they change."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the signed receipt there.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="DIR", help="State directory (default: the user's own)."),
    ] = None,
) -> None:
    """Feed a recorded run to this program and compare every decision with the ledger.

    Exits with 0 only if every decision point and every event is equal, digest by digest; else
    says what is not as recorded and where it parts first, and exits with 1.

    Example: tapewright ledger replay last --out receipt.json
    """
    from cli.receipt import make_receipt
    from ledger.explain import safe
    from ledger.receipt import words, write_receipt

    state_dir = resolve_state_dir(state)
    receipt = make_receipt(state_dir, run, capture or [], config)
    for line in words(receipt):
        print(safe(line))
    if out is not None:
        tell(f"receipt written to {out}, {write_receipt(state_dir, receipt, out)}")
    raise typer.Exit(DONE if receipt.is_equal else FAILED)
