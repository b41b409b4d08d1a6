"""What a kill halts, as text: ``all``, ``strategy``, ``instrument:NAME``, ``order:ID``.

The text goes over the control socket and into the ledger. An order is killed once and for all, so
only the other three are latched on disk; this module names their files.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

import msgspec

ALL = "all"
STRATEGY = "strategy"
_INSTRUMENT = "instrument"
_ORDER = "order"


class Scope(msgspec.Struct, frozen=True):
    """One scope, taken apart."""

    kind: str
    """``all``, ``strategy``, ``instrument`` or ``order``."""
    name: str = ""
    """The instrument or the client order id."""


def of_instrument(name: str) -> str:
    """Return the scope of one instrument."""
    return f"{_INSTRUMENT}:{name}"


def of_order(client_order_id: str) -> str:
    """Return the scope of one order."""
    return f"{_ORDER}:{client_order_id}"


def parse(text: str) -> Scope:
    """Return the scope that ``text`` means. Errors: ``ValueError`` saying what is allowed."""
    if text in {ALL, STRATEGY}:
        return Scope(text)
    kind, _, name = text.partition(":")
    if kind in {_INSTRUMENT, _ORDER} and name:
        return Scope(kind, name)
    raise ValueError(
        f"scope was {text!r:.60}, allowed is all, strategy, instrument:NAME or order:ID"
    )


def words(text: str) -> str:
    """Return a scope as a trader reads it."""
    scope = parse(text)
    return {ALL: "everything", STRATEGY: "the strategy"}.get(scope.kind, scope.name)


def file_of(scope: str) -> str:
    """Return the name of the file that latches a scope other than ``all``.

    A dot never stands in it, so that no instrument can be taken for a file half written.
    """
    kind, _, name = scope.partition(":")
    return f"{kind}-{quote(name, safe='').replace('.', '%2E')}" if name else kind


def of_file(name: str) -> str | None:
    """Return the scope that a latch file stands for, or None when its name says none."""
    kind, _, quoted = name.partition("-")
    scope = f"{kind}:{unquote(quoted)}" if quoted else kind
    is_ours = scope == STRATEGY or (kind == _INSTRUMENT and bool(quoted))
    return scope if is_ours and file_of(scope) == name else None
