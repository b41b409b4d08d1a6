"""``tapewright ledger keys``: which key signs, where it is, and changing it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.exit import tell
from core.clock import SystemClock
from core.errors import UserError
from core.state import EngineLock, StateDir, resolve_state_dir

keys_app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="The key that signs the ledger. Example: tapewright ledger keys show",
)

State = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="State directory (default: the user's own)."),
]


class Place(StrEnum):
    KEYRING = "keyring"
    FILE = "file"


@keys_app.command()
def show(*, state: State = None) -> None:
    """Print the fingerprint of the key, where its secret half is, and every rotation.

    Example: tapewright ledger keys show
    """
    from ledger.explain import safe
    from ledger.key_change import key_facts

    facts = key_facts(resolve_state_dir(state))
    if facts.public is None:
        raise UserError("this ledger has no key yet: its first start makes one")
    print(f"key {facts.public.fingerprint}")
    print(f"secret half: {facts.place}")
    for row in facts.rows:
        print(safe(f"since seq {row.since_seq}, {row.since_ts}: {row.name}, {row.reason}"))


@keys_app.command()
def rotate(
    *,
    reason: Annotated[str, typer.Option(metavar="T", help="Why, for the ledger.")],
    state: State = None,
) -> None:
    """Give the ledger a new key; the old and the new one sign where they change over.

    The old key is forgotten. Keep a checkpoint of before elsewhere, and compare the fingerprint.

    Example: tapewright ledger keys rotate --reason 'the laptop was lost'
    """
    from ledger.key_change import rotate as change

    now_ns = SystemClock().now_ns()
    seq, key = change(StateDir(resolve_state_dir(state)), reason, now_ns)
    print(f"key {key.fingerprint} since seq {seq}")
    tell("it is in its file; `tapewright ledger keys keep --in keyring` moves it")


@keys_app.command()
def keep(
    *,
    where: Annotated[Place, typer.Option("--in", help="Where the secret half is to be.")],
    state: State = None,
) -> None:
    """Move the secret half of the key into the OS keyring, or back into its file.

    Example: tapewright ledger keys keep --in keyring
    """
    from ledger import keys

    at = StateDir(resolve_state_dir(state))
    now_ns = SystemClock().now_ns()
    with EngineLock(at, venue="none", command="ledger keys keep", started_ns=now_ns):
        move = keys.to_keyring if where is Place.KEYRING else keys.to_file
        public = move(at.path)
    print(f"key {public.fingerprint} is in the {where.value}")
