"""Canonical JSON: one value has exactly one form in bytes, so that a hash means something.

A restricted profile of RFC 8785: ASCII keys, no floats, integers within 2**53 - 1. What does not
fit becomes text by the rules below; the event's schema says what the text means. In this profile
sorted compact JSON equals RFC 8785, and a test holds the two equal. Not a general JSON library.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from core.errors import InvariantError, ValueRefused
from core.model.event import LedgerEvent
from core.model.instrument import plain

INT_MAX = 2**53 - 1
"""Largest integer that every JSON reader keeps exact (RFC 8785, 3.2.2.3); beyond it is text."""
FLOAT_DIGITS = 9
"""Significant digits a float keeps in the ledger."""
DECIMAL_DIGITS_MAX = 60
"""Longest decimal; the arithmetic of ``core.lots`` is exact to this many digits."""
BODY_BYTES_MAX = 1 << 20
"""Largest event; a bigger one is a bug of ours, not something to store."""

_KEPT = (Decimal, bytes)
"""Kinds msgspec would turn into text its own way: decimals get ours, bytes are refused."""

_dump = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"), check_circular=False
).encode


def float_text(value: float) -> str:
    """Return the fixed decimal text of a float: 9 significant digits, no exponent, no ``-0``.

    Reading the text as a float and calling this again gives the same text.
    Errors: ``InvariantError`` for NaN and infinities.
    """
    if not math.isfinite(value):
        raise InvariantError(f"float was {value}, a ledger event holds finite numbers only")
    text = format(value, f".{FLOAT_DIGITS}g")
    if "e" in text:
        text = format(Decimal(text), "f")
    return "0" if text == "-0" else text


def decimal_text(value: Decimal) -> str:
    """Return plain decimal text without exponent and trailing zeros.

    Errors: ``InvariantError`` for NaN, infinities and more than ``DECIMAL_DIGITS_MAX`` digits.
    """
    if not value.is_finite() or abs(value.adjusted()) > DECIMAL_DIGITS_MAX:
        raise InvariantError(f"decimal was {value:.30}, allowed is finite and not this far from 1")
    text = plain(value)
    if len(text) > 2 * DECIMAL_DIGITS_MAX:
        raise InvariantError(f"decimal had {len(text)} characters, allowed are 120")
    return text


def payload_of(event: LedgerEvent) -> dict[str, Any]:
    """Return the event's fields as a canonical tree, without the type tag.

    Errors: ``InvariantError`` for anything that has no canonical form.
    """
    tree = msgspec.to_builtins(
        event, builtin_types=_KEPT, enc_hook=_plain_number, order="deterministic"
    )
    del tree["type"]
    payload: dict[str, Any] = _canonical(tree)
    return payload


def _plain_number(value: Any) -> Any:
    """Let numpy scalars in as the Python numbers they are; features come out of numpy."""
    if isinstance(value, np.generic):
        return value.item()
    raise InvariantError(f"{type(value).__name__} has no canonical form")


def _canonical(value: Any) -> Any:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is float:
        return float_text(value)
    if kind is int:
        return value if -INT_MAX <= value <= INT_MAX else str(value)
    if kind is dict:
        return {_key(key): _canonical(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_canonical(item) for item in value]
    if kind is Decimal:
        return decimal_text(value)
    raise InvariantError(f"{kind.__name__} has no canonical form")


def _key(key: Any) -> str:
    if type(key) is not str or not key.isascii():
        raise InvariantError(f"key was {key!r:.40}, allowed is ASCII text")
    return key


def encode(tree: Any, bytes_max: int | None = BODY_BYTES_MAX) -> bytes:
    """Return the canonical bytes of a tree of text, booleans, None, integers, lists and dicts.

    ``bytes_max`` None is for files, which are no events.
    Errors: ``InvariantError`` for floats, large integers, other keys, lone surrogates.
    """
    _check(tree)
    return encode_checked(tree, bytes_max)


def encode_checked(tree: Any, bytes_max: int | None = BODY_BYTES_MAX) -> bytes:
    """Return the canonical bytes of a tree that ``payload_of`` made or ``read`` returned."""
    try:
        data = _dump(tree).encode()
    except UnicodeEncodeError as error:
        raise InvariantError("text held a lone surrogate") from error
    if bytes_max is not None and len(data) > bytes_max:
        raise InvariantError(f"event had {len(data)} bytes, allowed are {bytes_max}")
    return data


def _check(value: Any) -> None:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return
    if kind is int:
        if not -INT_MAX <= value <= INT_MAX:
            raise InvariantError("an integer was beyond 2**53 - 1; write it as text")
    elif kind is dict:
        for key, item in value.items():
            _key(key)
            _check(item)
    elif kind is list:
        for item in value:
            _check(item)
    else:
        raise InvariantError(f"{kind.__name__} has no canonical form")


def read(data: bytes) -> Any:
    """Return the tree of canonical bytes, and refuse every other spelling of it.

    Repeated keys, spaces, unsorted keys, NaN, floats and bad UTF-8 all differ from what
    ``encode`` would write, so equality with it is the whole test.
    Errors: ``ValueRefused``.
    """
    if len(data) > BODY_BYTES_MAX:
        raise ValueRefused(f"body had {len(data)} bytes, allowed are {BODY_BYTES_MAX}")
    try:
        tree = msgspec.json.decode(data)
        is_canonical = encode(tree) == data
    except (ValueError, RecursionError, InvariantError) as error:
        raise ValueRefused(f"body was not canonical JSON: {error}") from error
    if not is_canonical:
        raise ValueRefused("body was JSON, but not in canonical form")
    return tree
