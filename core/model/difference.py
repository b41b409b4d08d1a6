"""A difference between what we believe and what the broker says, and what may be done about it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class DifferenceKind(StrEnum):
    POSITION = "position"
    """The broker holds another position than our fills add up to."""
    FILLS = "fills"
    """The broker has fills of which we were never told, and that leave the position as it is."""
    EXTERNAL_ORDER = "external_order"
    """An order works at the broker that we did not send."""
    MISSING_ORDER = "missing_order"
    """An order that we think open does not work at the broker, and nobody told its end."""
    BROKER = "broker"
    """The broker cannot be asked, or cannot be believed."""


class Remedy(StrEnum):
    """What the trader may say about a difference."""

    ADOPT = "adopt"
    """Take the broker's fills, and with them its position, as ours."""
    CANCEL = "cancel"
    """Cancel the external order."""
    KEEP = "keep"
    """Leave the external order alone; it counts in the exposure for the rest of the run."""
    MARK = "mark"
    """Mark the missing order as ended, on the trader's word."""


REMEDIES = {
    DifferenceKind.POSITION: (Remedy.ADOPT,),
    DifferenceKind.FILLS: (Remedy.ADOPT,),
    DifferenceKind.EXTERNAL_ORDER: (Remedy.CANCEL, Remedy.KEEP),
    DifferenceKind.MISSING_ORDER: (Remedy.MARK,),
    DifferenceKind.BROKER: (),
}


class Difference(msgspec.Struct, frozen=True):
    """One difference; ``key`` names it to the trader's commands."""

    kind: DifferenceKind
    key: str
    """The instrument of a position or of fills, the client order id of an order, ``broker``."""
    instrument: str
    """Empty if it is about no instrument in particular."""
    ours: str
    theirs: str

    @property
    def text(self) -> str:
        """Return the difference and its remedies in words."""
        what = self.kind.value.replace("_", " ")
        words = " or ".join(remedy.value for remedy in REMEDIES[self.kind])
        end = f" ({words})" if words else ""
        return f"{what} {self.key}: we say {self.ours}, the broker says {self.theirs}{end}"
