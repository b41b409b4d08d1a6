"""``tapewright secrets``: a venue's keys, kept where only their owner can read them.

Keys are read from a prompt without echo, or from two lines of standard input; never from the
command line, where every process can see them. Nothing here prints one.
"""

from __future__ import annotations

import getpass
import sys
from enum import StrEnum
from typing import Annotated

import typer

from cli.exit import DONE, FAILED, tell
from core.errors import UserError
from core.secrets import VenueKeys, find_keys, forget_keys

secrets_app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Store, show or forget a venue's keys. Example: tapewright secrets set alpaca",
)


class KeyVenue(StrEnum):
    """Venues whose market data need keys; a test holds them equal to ``core.secrets``."""

    ALPACA = "alpaca"


Venue = Annotated[KeyVenue, typer.Argument(metavar="VENUE", help="Whose keys: alpaca.")]


@secrets_app.command("set")
def set_(venue: Venue) -> None:
    """Read the two keys and keep them in the OS keyring, or in a file of mode 0600.

    Example: tapewright secrets set alpaca
    """
    keys = VenueKeys(_ask("key id"), _ask("secret"), "your input")
    tell(f"{venue.value}: the keys are in {keys.store(venue.value)}")
    raise typer.Exit(DONE)


@secrets_app.command()
def show(venue: Venue) -> None:
    """Say where the keys are, never what they are; exits with 1 if there are none.

    Example: tapewright secrets show alpaca
    """
    keys = find_keys(venue.value)
    print(f"{venue.value}: {'no keys' if keys is None else f'keys in {keys.source}'}")
    raise typer.Exit(FAILED if keys is None else DONE)


@secrets_app.command()
def forget(venue: Venue) -> None:
    """Remove the keys from the OS keyring and from the file.

    Example: tapewright secrets forget alpaca
    """
    places = forget_keys(venue.value)
    tell(f"{venue.value}: {'removed from ' + ' and '.join(places) if places else 'had no keys'}")
    raise typer.Exit(DONE)


def _ask(what: str) -> str:
    """Return one line typed without echo, or the next line of a pipe."""
    if sys.stdin.isatty():
        return getpass.getpass(f"{what}: ").strip()
    line = sys.stdin.readline(2048)
    if not line:
        raise UserError(f"no {what} on standard input; write key id and secret, a line each")
    return line.strip()
