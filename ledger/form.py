"""The form of an event, proved quickly: canonical bytes that fit their schema.

For each event type a twin of its Struct is made whose fields hold the *text forms* of the ledger
(a float is text of at most 9 digits, a decimal is plain text, a large integer is text). A body
that the twin decodes and writes again byte for byte, with sorted keys, is what ``seal`` would have
written. All of it runs in C: 4 us an event in place of 24. The quick way may say no to a sound
body (an unusual number, a type with free fields); ``ledger.envelope.unseal`` then decides, and
says what is wrong. It never says yes where ``unseal`` says no: a property test holds that.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Annotated, Any, Union

import msgspec
from msgspec import UNSET, Meta, UnsetType

from core.errors import InvariantError, ValueRefused
from core.model.event import LedgerEvent
from ledger import envelope
from ledger.canonical import BODY_BYTES_MAX, INT_MAX
from ledger.envelope import Envelope, check_fields, unseal

_FLOAT = (
    r"^(?:0|-?[1-9]\d{0,8}|-?0\.0{0,6}(?=\d{1,9}\Z)\d*[1-9]"
    r"|-?(?=[\d.]{3,10}\Z)[1-9]\d*\.\d*[1-9])\Z"
)
"""What ``canonical.float_text`` writes, for numbers of ordinary size."""
_DECIMAL = r"^(?:0|-?(?=[\d.]*[1-9])(?:0|[1-9]\d{0,29})(?:\.\d{0,28}[1-9])?)\Z"
_LONG_INT = r"^-?[1-8]\d{16,18}\Z"
"""An integer beyond 2**53 - 1 that 64 bits hold."""
_INT = Annotated[int, Meta(ge=-INT_MAX, le=INT_MAX)] | Annotated[str, Meta(pattern=_LONG_INT)]
_SIMPLE: dict[Any, Any] = {
    str: str,
    bool: bool,
    type(None): type(None),
    int: _INT,
    float: Annotated[str, Meta(pattern=_FLOAT)],
    Decimal: Annotated[str, Meta(pattern=_DECIMAL)],
}

_TYPE, _END = b'"type":"', b'","v":"ev/1"}'

_encode = msgspec.json.Encoder(order="sorted").encode


class _NoTwinError(Exception):
    """A schema that has no twin; such events are proved the slow way."""


class _Located(msgspec.Struct, frozen=True):
    """What projecting an event needs of its envelope."""

    ts: str
    run: str
    payload: Any


def is_in_form(body: bytes, kind: str) -> bool:
    """Tell whether ``body`` is surely the canonical form of an event of type ``kind``.

    False says nothing: ask ``unseal``.
    """
    decode = _prover(kind)
    # Keys must be ASCII; where all is ASCII nothing has to be looked at for that.
    if decode is None or len(body) > BODY_BYTES_MAX or not body.isascii():
        return False
    try:
        twin = decode(body)
        if _encode(twin) != body or twin.type != kind:
            return False
        check_fields(twin)
    except (ValueError, ValueRefused):
        return False
    return True


def kind_of(body: bytes) -> str:
    """Return the type at the end of a body; nonsense for one that does not end like an event."""
    return body[body.rfind(_TYPE) + len(_TYPE) : -len(_END)].decode(errors="replace")


def read(body: bytes, kind: str) -> _Located:
    """Return time, run and event of a body whose form is proved elsewhere, without proving it.

    Errors: ``ValueRefused``.
    """
    try:
        return _reader(kind)(body)
    except (KeyError, ValueError, ArithmeticError, RecursionError, InvariantError):
        found, event = unseal(body)  # says what is wrong
        return _Located(found.ts, found.run, event)


def event_of(body: bytes, kind: str) -> LedgerEvent:
    """Return the event in a body that our own code has just sealed."""
    event: LedgerEvent = read(body, kind).payload
    return event


@cache
def _reader(kind: str) -> Callable[[bytes], _Located]:
    located = msgspec.defstruct(
        f"Located_{kind}",
        [("ts", str), ("run", str), ("payload", envelope.KINDS[kind])],
        bases=(_Located,),
        frozen=True,
    )
    decode: Callable[[bytes], _Located] = msgspec.json.Decoder[Any](located, strict=False).decode
    return decode


@cache
def _prover(kind: str) -> Callable[[bytes], Any] | None:
    if kind not in envelope.KINDS:
        return None
    hints = typing.get_type_hints(Envelope, include_extras=True)
    try:
        hints["payload"] = _twin_of(envelope.KINDS[kind])
        twin = msgspec.defstruct(
            f"Envelope_{kind}", list(hints.items()), forbid_unknown_fields=True
        )
        return msgspec.json.Decoder(twin).decode
    except (_NoTwinError, TypeError):
        return None


@cache
def _twin_of(struct: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """Return the Struct whose fields are the text forms of ``struct``'s.

    A field with a default may be missing: older events do not have it.
    """
    config = struct.__struct_config__
    is_event = issubclass(struct, LedgerEvent)
    if config.array_like or hasattr(struct, "__post_init__") or (config.tag and not is_event):
        raise _NoTwinError(struct.__name__)
    hints = typing.get_type_hints(struct, include_extras=True)
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(struct):
        if field.encode_name != field.name:
            raise _NoTwinError(field.name)
        form = _form_of(hints[field.name])
        fields.append(
            (field.name, form) if field.required else (field.name, form | UnsetType, UNSET)
        )
    fields.sort(key=len)  # those that may be missing go last
    return msgspec.defstruct(f"{struct.__name__}Twin", fields, forbid_unknown_fields=True)


def _form_of(kind: Any) -> Any:
    """Return the type of the text form of ``kind``."""
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        forms = [_form_of(item) for item in inner]
        return Union[tuple(forms)]  # noqa: UP007 - made while running
    if origin is tuple and len(inner) == 2 and inner[1] is Ellipsis:
        return list[_form_of(inner[0])]  # type: ignore[misc]
    if origin is tuple:
        return tuple[tuple(_form_of(item) for item in inner)]  # type: ignore[misc]
    if origin is list:
        return list[_form_of(inner[0])]  # type: ignore[misc]
    if origin is dict and inner[0] is str:
        return dict[str, _form_of(inner[1])]  # type: ignore[misc]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _twin_of(kind)
    if isinstance(kind, type) and issubclass(kind, Enum) and issubclass(kind, str):
        return kind
    raise _NoTwinError(str(kind))
