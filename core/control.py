"""Commands and replies between screen or command line and the engine.

Wire: 4-byte big-endian length, then msgpack, both ways, one reply a request, over the Unix
socket ``control.sock`` (0600) in the state directory. ``MAX_MESSAGE`` bounds both.
"""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec

from core.errors import TryAgain
from core.model.decision import Mode
from core.model.difference import Remedy
from core.model.exits import ExitKind
from core.model.transfer import TransferWay
from core.snapshot import Snapshot

SOCKET_NAME = "control.sock"
MAX_MESSAGE = 4 * 1024 * 1024


class Command(msgspec.Struct, frozen=True, tag_field="c"):
    """Root of all requests."""


class GetSnapshot(Command, frozen=True, tag="snapshot"):
    """Ask for the newest snapshot; ``is_screen`` marks a screen, whose loss matters."""

    is_screen: bool = False


class Confirm(Command, frozen=True, tag="confirm"):
    decision_id: str


class Reject(Command, frozen=True, tag="reject"):
    decision_id: str
    reason: str = ""


class CloseTrade(Command, frozen=True, tag="close"):
    """Kill one trade: cancel the instrument's orders and close its position."""

    instrument: str


class CancelOrder(Command, frozen=True, tag="cancel"):
    client_order_id: str


class ReducePosition(Command, frozen=True, tag="reduce"):
    """Close half of a position with one order."""

    instrument: str
    seen_lots: int | None = None
    """The position the trader saw; with another one the command is refused."""


class ReversePosition(Command, frozen=True, tag="reverse"):
    """Close a position, then enter the opposite one through the gate."""

    instrument: str
    seen_lots: int | None = None


class SetExit(Command, frozen=True, tag="exit"):
    """Move or cancel an attached exit: a price, ``off``, ``auto``, or ``even`` for a stop.

    A time stop takes seconds from now.
    """

    instrument: str
    kind: ExitKind
    value: str


class FlattenAll(Command, frozen=True, tag="flatten"):
    """Cancel all orders and close all positions; trading goes on."""


class KillAll(Command, frozen=True, tag="kill"):
    reason: str = "F12"
    actor: str = "human:trader"


class Kill(Command, frozen=True, tag="kill_scope"):
    """Kill one scope: ``strategy``, ``instrument:NAME`` or ``order:ID`` (``core.scopes``)."""

    scope: str
    reason: str
    actor: str = "human:trader"


class Rearm(Command, frozen=True, tag="rearm"):
    reason: str
    actor: str = "human:trader"
    scope: str = "all"


class Compare(Command, frozen=True, tag="compare"):
    """Compare with the broker now."""


class ResolveDifference(Command, frozen=True, tag="resolve"):
    """Say what to do about a difference from the broker; see ``core.reconcile``."""

    key: str
    """The difference: an instrument, or an order's client id."""
    remedy: Remedy
    reason: str
    actor: str = "human:trader"


class MoveCoins(Command, frozen=True, tag="transfer"):
    """Book coins that came from another wallet of the trader, or went to one.

    Numbers are plain decimal text; what is left empty is not said.
    """

    instrument: str
    way: TransferWay
    quantity: str
    wallet: str
    basis: str = ""
    """What coming coins cost in all, fees included, in quote currency."""
    acquired_ns: int = 0
    """When they were bought."""
    fee: str = "0"
    """Coins of this account that the transfer cost beside ``quantity``."""
    fee_value: str = ""
    """What those were worth; empty: at the mark."""
    note: str = ""


class SetMode(Command, frozen=True, tag="mode"):
    mode: Mode


class Stop(Command, frozen=True, tag="stop"):
    reason: str = "asked to stop"


AnyCommand = (
    GetSnapshot | Confirm | Reject | CloseTrade | ReducePosition | ReversePosition | SetExit
    | FlattenAll | CancelOrder | KillAll | Kill | Rearm | SetMode | Compare | ResolveDifference
    | MoveCoins
    | Stop
)  # fmt: skip


class Ack(msgspec.Struct, frozen=True, tag_field="r", tag="ack"):
    ok: bool
    text: str
    """What was done, or why not, for the trader to read."""


class Picture(msgspec.Struct, frozen=True, tag_field="r", tag="snapshot"):
    snapshot: Snapshot


Reply = Ack | Picture

command_decoder = msgspec.msgpack.Decoder(AnyCommand)
reply_decoder = msgspec.msgpack.Decoder(Reply)
encode = msgspec.msgpack.Encoder().encode


def frame(message: Command | Reply) -> bytes:
    """Return the message with its length before it."""
    body = encode(message)
    return len(body).to_bytes(4, "big") + body


def request(state_dir: Path, command: AnyCommand, timeout_s: float = 5.0) -> Reply:
    """Send one command over a fresh connection and return the reply; for the command line.

    Errors: ``TryAgain`` when no engine answers, or answers what this version cannot read.
    """
    path = state_dir / SOCKET_NAME
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            connection.sendall(frame(command))
            size = int.from_bytes(_receive(connection, 4), "big")
            reply: Reply = reply_decoder.decode(_receive(connection, min(size, MAX_MESSAGE)))
            return reply
    except OSError as error:
        raise TryAgain(f"no engine answers on {path} ({error.strerror or error})") from error
    except msgspec.DecodeError as error:
        raise TryAgain(f"the engine on {path} speaks another version ({error})") from error


def _receive(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise ConnectionError("the engine closed the connection")
        data += chunk
    return bytes(data)
