"""``tapewright ledger anchor``: have somebody outside attest that a checkpoint exists by now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from cli.exit import DONE, FAILED, tell
from core.clock import Clock, SystemClock
from core.config import AnchorSettings, load_settings, settings_from
from core.errors import ConfigError, Failed, UserError
from core.state import EngineLock, StateDir, resolve_state_dir

if TYPE_CHECKING:
    from ledger.anchors import Outcome

CALENDARS = (
    "https://a.pool.opentimestamps.org",
    "https://b.pool.opentimestamps.org",
    "https://a.pool.eternitywall.com",
    "https://ots.btc.catallaxy.com",
)
"""Source: the defaults of opentimestamps-client 0.7.2, ``otsclient/cmds.py``."""


def anchor(
    checkpoint: Annotated[
        int, typer.Argument(metavar="[CHECKPOINT]", min=0, help="Its seq; without: the newest.")
    ] = 0,
    *,
    rfc3161: Annotated[
        str, typer.Option(metavar="URL", help="Ask this time-stamping authority (RFC 3161).")
    ] = "",
    ca: Annotated[
        str, typer.Option(metavar="FILE", help="PEM file of the CA that its token must lead to.")
    ] = "",
    ots: Annotated[
        bool, typer.Option("--ots", help="Submit it to the public OpenTimestamps calendars.")
    ] = False,
    calendar: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Submit it to this calendar; may be repeated."),
    ] = None,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Only ask for the blocks that calendars promised.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Whom to ask is in its [anchors].")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="DIR", help="State directory (default: the user's own)."),
    ] = None,
) -> None:
    """Have outsiders attest a checkpoint; their answers are checked and recorded in the ledger.

    Only the SHA-256 of the checkpoint leaves this machine. An engine does this by itself where
    [anchors] says so; while one runs, this command exits with 3.

    Example: tapewright ledger anchor --rfc3161 http://tsa.example/tsr --ca tsa-ca.pem
    """
    if rfc3161 and not ca and not load_settings(config).anchors.rfc3161_ca:
        raise UserError("--rfc3161 needs --ca FILE: without the CA a token proves nothing")
    given = _settings(config, rfc3161, ca, [*(CALENDARS if ots else ()), *(calendar or ())])
    if not given.is_on and not upgrade:
        raise UserError("nobody to ask: --rfc3161 URL --ca FILE, --ots, or [anchors] in --config")
    from ledger.anchors import Job
    from ledger.anchors_watch import ask_now
    from ledger.issue import sign_head

    where, clock = StateDir(resolve_state_dir(state)), SystemClock()
    if not checkpoint and not upgrade:
        sign_head(where, clock.now_ns())
    with EngineLock(where, venue="none", command="ledger anchor", started_ns=clock.now_ns()):
        job = Job(str(where.path), given, checkpoint, is_scheduled=False, upgrades_only=upgrade)
        outcomes = ask_now(job)
        _record(where, outcomes, clock)
    raise typer.Exit(_tell(where, outcomes))


def _settings(config: Path | None, url: str, ca: str, calendars: list[str]) -> AnchorSettings:
    """Return whom to ask: the configuration, and what the command line names in its place."""
    settings = load_settings(config).anchors
    changed = {"rfc3161_url": url, "rfc3161_ca": ca, "ots_calendars": calendars}
    table = msgspec.to_builtins(settings) | {name: each for name, each in changed.items() if each}
    try:
        return settings_from({"anchors": table}, "the command line").anchors
    except ConfigError as error:
        raise UserError(str(error)) from error


def _record(where: StateDir, outcomes: list[Outcome], clock: Clock) -> None:
    """Write the outcomes into a ledger that no engine has. Errors: ``Failed``."""
    if not outcomes:
        return
    from ledger.writer import LedgerWriter

    writer = LedgerWriter(where.path)
    try:
        for each in outcomes:
            writer.append(each, clock.now_ns())
        writer.sign_head()
    finally:
        writer.close()
    if writer.failure is not None:
        raise Failed(f"the anchors could not be written: {writer.failure}")


def _tell(where: StateDir, outcomes: list[Outcome]) -> int:
    """Print what came of it; return the exit code: 1 where anything that was asked failed."""
    from core.model.event import AnchorFailed
    from ledger.anchors import FOLDER, SUFFIXES, pending_of, recorded
    from ledger.anchors_check import proof_text
    from ledger.coverage import stored_notes
    from ledger.explain import safe
    from ledger.store import reading

    with reading(where.path) as connection:
        notes, waiting = dict(stored_notes(connection)), len(pending_of(recorded(connection)))
    for each in outcomes:
        if isinstance(each, AnchorFailed):
            tell(safe(f"{each.method} {each.source}: {each.reason}"))
        else:
            print(safe(proof_text(where.path, each, notes.get(each.size))))
            tell(f"kept as {where.path / FOLDER / (each.digest + SUFFIXES[each.method])}")
    if waiting:
        tell(f"{waiting} wait for a block (hours): then `tapewright ledger anchor --upgrade`")
    return FAILED if any(isinstance(each, AnchorFailed) for each in outcomes) else DONE
