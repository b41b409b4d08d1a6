"""``tapewright ledger binder``: the evidence of some time as one folder and one zip."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.exit import tell
from core.clock import SystemClock
from core.errors import UserError
from core.state import StateDir, resolve_state_dir

if TYPE_CHECKING:
    from ledger.binder.models import ModelFiles


def binder(
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder that gets binder and zip.")],
    since: Annotated[
        str | None, typer.Option("--from", metavar="T", help="From this ISO date or time on (UTC).")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--to", metavar="T", help="Up to, not including, this date or time."),
    ] = None,
    receipt: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A receipt of a replay to put in; may be repeated."),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="DIR", help="State directory (default: the user's own)."),
    ] = None,
) -> None:
    """Make one folder and zip of evidence: report, tables, events, proofs, models, verifier.

    The ledger is verified and its newest event signed first; an engine that runs is not disturbed:
    the command says so and exits with 3.

    Example: tapewright ledger binder --from 2026-01-01 --to 2026-04-01 --out ~/evidence
    """
    from importlib.metadata import version

    from ledger.binder import make_binder
    from ledger.export.kinds import Period
    from ledger.export.tables import parse_time
    from ledger.issue import sign_head

    period = Period(
        parse_time(since, "--from") if since is not None else "",
        parse_time(until, "--to") if until is not None else "~",
    )
    where = StateDir(resolve_state_dir(state))
    sign_head(where, SystemClock().now_ns())
    made = make_binder(
        where.path,
        period,
        out.expanduser(),
        find_model=lambda agent_id: find_model(agent_id, where.models),
        program=version("tapewright"),
        say=tell,
        receipts=receipt or (),
    )
    tell(f"seq {made.first} to {made.last} in {made.files} files, signed by {made.fingerprint}")
    tell(f"check it: python3 {made.folder / 'verify.py'}")
    tell(f"verify.py has the SHA-256 {made.verifier_sha256}")
    sys.stdout.write(f"{made.zip_sha256}  {made.zip_file}\n")


def find_model(agent_id: str, models: Path) -> ModelFiles | None:
    """Return the files of an agent, shipped or the user's, with its training data made again.

    None where there are none that can be used.
    """
    from agents.card import PolicyRefused, check_id
    from agents.registry import CARD_NAME, SHIPPED, WEIGHTS_NAME, read_card
    from ledger.binder.models import ModelFiles

    try:
        check_id(agent_id)
    except UserError:
        return None
    for root in (SHIPPED, models):
        folder = root / agent_id
        try:
            read_card(folder)
            card, weights = (folder / CARD_NAME).read_bytes(), (folder / WEIGHTS_NAME).read_bytes()
        except (PolicyRefused, OSError):
            continue
        return ModelFiles(agent_id, card, weights, _training_data())
    return None


def _training_data() -> dict[str, str]:
    """Return what today's code makes of the simulated market that agents are trained on."""
    from agents.markets import market_digest

    return {"kind": "simulated market", "sha256": market_digest()}
