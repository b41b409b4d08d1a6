"""The envelope ``ev/1``: what stands around every event, all of it inside the hash.

``seal`` makes the body of an event, ``unseal`` reads one back strictly. ``tail_of`` reads the
fixed end of a body without parsing it, which is what makes the chain check at start quick.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, get_args

import msgspec

from core.clock import iso_ns
from core.errors import InvariantError, ValueRefused
from core.model.event import (
    Answered,
    AnyEvent,
    CancelIntended,
    CommandRefused,
    Decided,
    DecisionsTaken,
    DifferenceResolved,
    ExitsSet,
    ExitTriggered,
    FeedChanged,
    Filled,
    InputTaken,
    KillTripped,
    LedgerEvent,
    ModeChanged,
    NotDecided,
    OrderChanged,
    OrderIntended,
    Rearmed,
    Reconciled,
    RiskChecked,
    Transferred,
)
from core.model.order import OrderStatus
from ledger import canonical

VERSION = "ev/1"
_OURS = frozenset({OrderStatus.DENIED, OrderStatus.SUBMITTED, OrderStatus.PENDING_CANCEL})
"""Order statuses that we set ourselves; the rest is what the venue said."""
_TS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", re.ASCII)
_TAIL = re.compile(
    rb'"prev":"([0-9a-f]{64})","run":"((?:[^"\\]|\\.)*)","seq":(\d{1,16}),"ts":"([^"]{30})",'
    rb'"type":"([A-Z_]+)","v":"ev/1"}\Z'
)


KINDS: dict[str, type[LedgerEvent]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(AnyEvent)
}
"""Event types by tag; asked for one type instead of the union, msgspec is 5 times as quick."""


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One event as stored."""

    v: str
    seq: int
    ts: str
    """Engine time, ISO 8601 with nanoseconds, UTC."""
    type: str
    run: str
    cause: int | None
    """The seq of the event that led to this one."""
    actor: str
    prev: str
    """Hash of the event before, hex."""
    payload: dict[str, Any]


class Tail(NamedTuple):
    """The end of a body, as bytes: what the chain needs."""

    prev: bytes
    run: bytes
    seq: bytes
    ts: bytes
    type: bytes


def actor_of(event: LedgerEvent, venue: str) -> str:
    """Return who acted: ``human:...``, ``algo:...``, ``venue:...`` or ``system``."""
    match event:
        case (
            Answered() | CancelIntended() | KillTripped() | Rearmed() | ModeChanged()
            | CommandRefused() | InputTaken() | ExitsSet() | DifferenceResolved()
            | Transferred()
        ):  # fmt: skip
            return event.actor
        case Decided() | DecisionsTaken() | NotDecided() | OrderIntended():
            return "algo:strategy"
        case ExitTriggered():
            return "algo:exits"
        case RiskChecked():
            return "algo:risk"
        case OrderChanged() if event.status in _OURS:
            return "system"
        case OrderChanged() | Filled() | FeedChanged() | Reconciled():
            return f"venue:{venue}"
        case _:
            return "system"


def type_of(event: LedgerEvent) -> str:
    """Return the event's type tag, such as ``FILL``."""
    return str(type(event).__struct_config__.tag)


def seal(
    event: LedgerEvent,
    *,
    seq: int,
    ts_ns: int,
    run: str,
    cause: int | None,
    actor: str,
    prev: str,
) -> bytes:
    """Return the canonical body of an event.

    Errors: ``InvariantError`` for a cause that is not before it, or no canonical form.
    """
    if cause is not None and not 0 < cause < seq:
        raise InvariantError(f"cause of seq {seq} was {cause}, allowed is 1 to {seq - 1}")
    return canonical.encode_checked(
        {
            "v": VERSION,
            "seq": seq,
            "ts": iso_ns(ts_ns),
            "type": type_of(event),
            "run": run,
            "cause": cause,
            "actor": actor,
            "prev": prev,
            "payload": canonical.payload_of(event),
        }
    )


def tail_of(body: bytes) -> Tail | None:
    """Return the end of a body, or None if it does not end like one.

    ``"prev":"`` cannot stand inside a JSON text (its quotes would be escaped), and after the
    envelope's own ``prev`` come scalars only, so the last one found is the right one.
    """
    match = _TAIL.match(body, max(0, body.rfind(b'"prev":"')))
    return Tail(*match.groups()) if match else None


def unseal(body: bytes) -> tuple[Envelope, LedgerEvent]:
    """Return envelope and event of a body, every field checked against its schema.

    A body that our own code writes again byte for byte is canonical and fits its schema: that is
    the quick way. The slow way takes what an older schema wrote, and says what is wrong.
    Errors: ``ValueRefused``.
    """
    try:
        envelope = msgspec.json.decode(body, type=Envelope)
        event = _event_of(envelope)
        if _written_again(envelope, event) == body:
            check_fields(envelope)
            return envelope, event
    except (ValueError, ArithmeticError, RecursionError, InvariantError, ValueRefused):
        pass  # the slow way says what is wrong
    return _unseal_slowly(body)


def _event_of(envelope: Envelope) -> LedgerEvent:
    kind = KINDS.get(envelope.type)
    if kind is None:
        raise ValueRefused(f"type was {envelope.type!r:.40}, which this program does not know")
    return msgspec.convert(envelope.payload, kind, strict=False)


def _written_again(envelope: Envelope, event: LedgerEvent) -> bytes:
    fields = msgspec.structs.asdict(envelope) | {"payload": canonical.payload_of(event)}
    return canonical.encode_checked(fields)


def _unseal_slowly(body: bytes) -> tuple[Envelope, LedgerEvent]:
    tree = canonical.read(body)
    try:
        envelope = msgspec.convert(tree, Envelope)
        event = _event_of(envelope)
        again = canonical.payload_of(event)
    except (ValueError, ArithmeticError, RecursionError, InvariantError) as error:
        raise ValueRefused(f"event did not fit its schema: {error}") from error
    check_fields(envelope)
    if not _is_same(again, envelope.payload):
        raise ValueRefused(f"a field of {envelope.type} was not written as its schema says")
    return envelope, event


def check_fields(envelope: Envelope) -> None:
    if envelope.v != VERSION:
        raise ValueRefused(f"version was {envelope.v!r:.20}, this program reads {VERSION}")
    if not 0 < envelope.seq <= canonical.INT_MAX:
        raise ValueRefused(f"seq was {envelope.seq}, allowed is 1 to 2**53 - 1")
    if not _TS.fullmatch(envelope.ts):
        raise ValueRefused(f"ts was {envelope.ts!r:.40}, allowed is ISO time with nanoseconds")
    if envelope.cause is not None and not 0 < envelope.cause < envelope.seq:
        raise ValueRefused(f"cause was {envelope.cause}, allowed is 1 to {envelope.seq - 1}")


def _is_same(again: Any, stored: Any) -> bool:
    """Compare a re-encoded payload with the stored one, kind by kind (1 is not true).

    Fields added to a schema later may be missing in an older event; none may be unknown.
    """
    if type(again) is not type(stored):
        return False
    if isinstance(stored, dict):
        return all(key in again and _is_same(again[key], item) for key, item in stored.items())
    if isinstance(stored, list):
        return len(again) == len(stored) and all(map(_is_same, again, stored))
    return bool(again == stored)
