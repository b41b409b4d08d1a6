"""``tapewright position``: what the keys do with positions, for a running engine, from a shell.

What turns a position over or closes them all asks first, or is told ``--yes``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.exit import DONE, tell
from core.control import (
    Ack,
    AnyCommand,
    CloseTrade,
    FlattenAll,
    GetSnapshot,
    Picture,
    ReducePosition,
    ReversePosition,
    SetExit,
    request,
)
from core.errors import Failed, UserError
from core.model.exits import ExitKind
from core.snapshot import PositionView, Snapshot
from core.state import resolve_state_dir

position_app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Show, close, halve or reverse positions; move their exits. "
    "Example: tapewright position list",
)
Name = Annotated[str, typer.Argument(metavar="INSTRUMENT", help="As the screen names it.")]
Value = Annotated[str, typer.Argument(metavar="VALUE")]
State = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="State directory (default: the user's own)."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@position_app.command("list")
def list_(state: State = None) -> None:
    """Show what is held, and where it ends by itself.

    Example: tapewright position list
    """
    held = [position for position in _snapshot(state).positions if position.lots]
    for position in held:
        print(line_of(position))
    if not held:
        tell("flat: no position")
    raise typer.Exit(DONE)


@position_app.command()
def close(name: Name, state: State = None) -> None:
    """Cancel the instrument's orders and close its position, at once.

    Example: tapewright position close SIM-USD
    """
    say(state, CloseTrade(name))


@position_app.command()
def half(name: Name, state: State = None) -> None:
    """Close half of a position with one order, at once.

    Example: tapewright position half SIM-USD
    """
    say(state, ReducePosition(name))


@position_app.command()
def reverse(name: Name, *, yes: Yes = False, state: State = None) -> None:
    """Close a position, then enter the opposite through the gate. Asks first.

    Example: tapewright position reverse SIM-USD --yes
    """
    positions = _snapshot(state).positions
    held = next((each for each in positions if each.instrument == name and each.lots), None)
    if held is None:
        raise Failed(f"{name}: no position")
    ask(f"{line_of(held)}\nClose it, then enter the opposite of the same size?", yes=yes)
    say(state, ReversePosition(name, held.lots))


@position_app.command()
def flatten(*, yes: Yes = False, state: State = None) -> None:
    """Cancel all orders and close all positions; trading goes on. Asks first.

    To halt as well: tapewright kill. Example: tapewright position flatten --yes
    """
    ask("Cancel all orders and close all positions?", yes=yes)
    say(state, FlattenAll())


@position_app.command()
def stop(name: Name, value: Value, state: State = None) -> None:
    """Put the stop at a price, or ``off``, ``auto`` (as [exits] says), ``even`` (entry price).

    Example: tapewright position stop SIM-USD 99.80
    """
    say(state, SetExit(name, ExitKind.STOP, value))


@position_app.command()
def target(name: Name, value: Value, state: State = None) -> None:
    """Put the target at a price, or ``off`` or ``auto``.

    Example: tapewright position target SIM-USD off
    """
    say(state, SetExit(name, ExitKind.TARGET, value))


@position_app.command()
def time(name: Name, value: Value, state: State = None) -> None:
    """Close the position in so many seconds from now; or ``off`` or ``auto``.

    Example: tapewright position time SIM-USD 30
    """
    say(state, SetExit(name, ExitKind.TIME, value))


def line_of(position: PositionView) -> str:
    """Return a position with its exits as one line."""
    side = "LONG" if position.lots > 0 else "SHORT"
    words = [
        f"{position.instrument} {side} {position.qty.lstrip('-')} @ {position.average_price}",
        f"mark {position.mark or '-'}",
        f"unrealized {position.unrealized or '-'}",
        f"held {position.held_s} s",
    ]
    exits = position.exits
    if exits is None:
        return ", ".join([*words, "exits -"])
    words.append(f"stop {_level(exits.stop, exits.stop_bps)}")
    words.append(f"target {_level(exits.target, exits.target_bps)}")
    words.append("time off" if exits.left_s is None else f"time {max(0.0, exits.left_s):.0f} s")
    words += [f"EXITS CANNOT ACT: {exits.blind}"] if exits.blind else []
    words += [position.doing] if position.doing else []
    return ", ".join(words)


def _level(price: str | None, bps: float | None) -> str:
    if price is None:
        return "off"
    return f"{price} ({'-' if bps is None else f'{bps:+.1f} bps'})"


def ask(question: str, *, yes: bool) -> None:
    """Go on when the trader agrees. Errors: ``UserError`` where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("nobody is there to ask; say it with --yes")
    if not typer.confirm(question, err=True):
        tell("nothing was sent")
        raise typer.Exit(DONE)


def _snapshot(state: Path | None) -> Snapshot:
    reply = request(resolve_state_dir(state), GetSnapshot())
    if not isinstance(reply, Picture):
        raise Failed("the engine answered with a word where a picture was due")
    return reply.snapshot


def say(state: Path | None, command: AnyCommand) -> None:
    """Send a command and say how it ended. Errors: ``TryAgain`` without an engine; ``Failed``."""
    reply = request(resolve_state_dir(state), command)
    if not isinstance(reply, Ack):
        raise Failed("the engine answered with a picture where a word was due")
    if not reply.ok:
        raise Failed(reply.text)
    tell(reply.text)
    raise typer.Exit(DONE)
