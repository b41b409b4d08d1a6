"""``tapewright transfer``: book coins that came from, or went to, another wallet of the trader.

The coins were moved at the venue; here the running engine is told of it, and the ledger with it.
What comes in is sold like any other position, so that asks first, or is told ``--yes``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.position import ask, say
from core.clock import NS_PER_S
from core.control import MoveCoins
from core.errors import UserError
from core.model.transfer import TransferWay

transfer_app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Book coins moved between the account and another wallet of yours. "
    "Example: tapewright transfer out SIM-USD 0.5 --wallet ledger-nano",
)
Name = Annotated[str, typer.Argument(metavar="INSTRUMENT", help="As the screen names it.")]
Quantity = Annotated[str, typer.Argument(metavar="QTY", help="Coins, the fee not counted.")]
Wallet = Annotated[
    str, typer.Option("--wallet", metavar="NAME", help="The other end, in your words.")
]
Fee = Annotated[
    str, typer.Option("--fee", metavar="QTY", help="Coins of this account paid for it.")
]
FeeValue = Annotated[
    str,
    typer.Option(metavar="MONEY", help="What they were worth, in quote currency (default: mark)."),
]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="For the ledger.")]
State = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="State directory (default: the user's own)."),
]


@transfer_app.command("in")
def in_(
    name: Name,
    quantity: Quantity,
    *,
    wallet: Wallet,
    basis: Annotated[
        str,
        typer.Option(metavar="MONEY", help="What all of them cost, fees included; quote currency."),
    ],
    acquired: Annotated[
        str, typer.Option(metavar="DATE", help="When they were bought; a time has its UTC offset.")
    ],
    fee: Fee = "0",
    fee_value: FeeValue = "",
    note: Note = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    state: State = None,
) -> None:
    """Book coins that came into the account, with the basis and date they have. Asks first.

    They are part of the position from then on: the strategy, stops that are set, flatten and kill
    sell them too.

    Example: tapewright transfer in SIM-USD 0.5 --wallet cold --basis 40.20 --acquired 2024-05-01
    """
    command = MoveCoins(
        name, TransferWay.IN, quantity, wallet, basis, _ns_of(acquired), fee, fee_value, note
    )
    question = (
        f"{name}: {quantity} from {wallet}, basis {basis}, acquired {acquired}.\n"
        "They become part of the position: strategy, stops, flatten and kill sell them. Book them?"
    )
    ask(question, yes=yes)
    say(state, command)


@transfer_app.command()
def out(
    name: Name,
    quantity: Quantity,
    *,
    wallet: Wallet,
    fee: Fee = "0",
    fee_value: FeeValue = "",
    note: Note = "",
    state: State = None,
) -> None:
    """Book coins that left the account: the oldest lots go, with their basis and date.

    Example: tapewright transfer out SIM-USD 0.5 --wallet cold --fee 0.001
    """
    command = MoveCoins(
        name, TransferWay.OUT, quantity, wallet, fee=fee, fee_value=fee_value, note=note
    )
    say(state, command)


def _ns_of(text: str) -> int:
    """Return a date (its midnight) or time; without an offset it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.year < datetime(1970, 1, 2, tzinfo=UTC).year:
        raise UserError(
            f"--acquired was {text[:40]!r}; allowed is a date or time such as 2024-05-01 or "
            "2024-05-01T09:30:00-05:00"
        )
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * NS_PER_S
