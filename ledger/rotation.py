"""Changing the key of a ledger: the old and the new one sign the place where they change over.

A KEY_ROTATED event at seq N says that checkpoints over N events and more are of the new key. What
both sign names N and the hash of the event before, so a rotation fits one history only: who stole
the old key later cannot write the events before it anew.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

from core.errors import ValueRefused
from core.model.event import KeyRotated
from ledger import canonical
from ledger.keys import PublicKey, SigningKey, parse_vkey

FORM = "tapewright-rotation/1"


def statement(seq: int, prev: str, old: PublicKey, new: PublicKey, reason: str) -> bytes:
    """Return what both keys sign; ``prev`` is the hash of event ``seq - 1``, hex."""
    tree = {
        "form": FORM, "new_key": new.vkey, "old_key": old.vkey, "prev": prev, "reason": reason,
        "seq": seq,
    }  # fmt: skip
    return canonical.encode(tree)


def rotate(seq: int, prev: str, old: SigningKey, new: SigningKey, reason: str) -> KeyRotated:
    """Return the event by which ``new`` follows ``old`` at ``seq``."""
    said = statement(seq, prev, old.public, new.public, reason)
    return KeyRotated(
        old_key=old.public.vkey,
        new_key=new.public.vkey,
        reason=reason,
        old_signature=base64.b64encode(old.sign(said)).decode(),
        new_signature=base64.b64encode(new.sign(said)).decode(),
    )


class Turns:
    """Which key signs which part of a ledger, as its KEY_ROTATED events say."""

    def __init__(self) -> None:
        self._turns: list[tuple[int, PublicKey, PublicKey]] = []
        self._problems: list[tuple[int | None, str]] = []

    def take(self, seq: int, prev: str, event: KeyRotated) -> None:
        """Take a rotation, in order; what is wrong with it goes to ``problems``."""
        try:
            old, new = parse_vkey(event.old_key), parse_vkey(event.new_key)
        except ValueRefused as error:
            self._problems.append((seq, f"a key of this rotation cannot be read: {error}"))
            return
        said = statement(seq, prev, old, new, event.reason)
        signatures = ((old, event.old_signature, "old"), (new, event.new_signature, "new"))
        for key, signature, which in signatures:
            if not key.is_signed(said, _bytes(signature)):
                what = f"the signature of the {which} key, {key.name}, does not hold"
                self._problems.append((seq, f"{what}: this rotation was not made by its owner"))
        if self._turns and self._turns[-1][2] != old:
            before = self._turns[-1][2].name
            self._problems.append((seq, f"it rotates {old.name}, but the key was {before}"))
        self._turns.append((seq, old, new))

    @property
    def newest(self) -> PublicKey | None:
        """The key that the last rotation brought; None if there was none."""
        return self._turns[-1][2] if self._turns else None

    @property
    def since_seq(self) -> int:
        """The event at which the key in use came; 1 if it is the first."""
        return self._turns[-1][0] if self._turns else 1

    def key_at(self, size: int, key: PublicKey) -> PublicKey:
        """Return the key of checkpoints over ``size`` events; ``key`` is the ledger's now."""
        return next((old for seq, old, _ in self._turns if size < seq), key)

    def problems(self, key: PublicKey) -> Iterator[tuple[int | None, str]]:
        """Yield what is wrong with the rotations of a ledger whose key is ``key``."""
        yield from self._problems
        if self._turns and self._turns[-1][2] != key:
            seq, _, new = self._turns[-1]
            yield seq, f"the key became {new.name} here, but the ledger's is {key.name}"


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
