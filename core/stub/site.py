"""Where faults happen: one connection, or one run, with its chance, its time and its settings.

Faults read and set this and nothing else, so that the same fault plays in a trial without
sockets and behind the stub venue's server.
"""

from __future__ import annotations

import msgspec
import numpy as np

from core.stub.venue import Sent, VenueModel

FOREVER_NS = 2**62


class Delivery(msgspec.Struct):
    """A frame as it will arrive."""

    data: bytes
    sent: Sent
    is_intact: bool = True
    extra_ns: int = 0
    """How much later than it would."""
    cut_at: int | None = None
    """The connection breaks inside this frame, after so many bytes of it."""
    close_code: int | None = None
    """The venue closes the connection with this code and the frame is never sent."""


class Reply(msgspec.Struct):
    """What becomes of one HTTP request."""

    failure: str = ""
    """``HTTP`` and a status, ``TimeoutError`` or ``ConnectError``; empty for none."""
    extra_ns: int = 0
    is_old: bool = False
    """The body is the one served before."""
    silence_ns: int = 0
    """Retry-After of a 429."""


class Site:
    """What a fault sees of the place it acts on.

    Args:
        venue: The venue behind it.
        generator: The one source of chance.
        share: Chance of each act in place of the fault's own.
        lasts_ns: Length of each act in place of the fault's own.
    """

    def __init__(
        self,
        venue: VenueModel,
        generator: np.random.Generator,
        share: float | None = None,
        lasts_ns: int | None = None,
    ) -> None:
        self.venue = venue
        self.generator = generator
        self.now_ns = venue.now_ns
        self.held: Delivery | None = None
        """A frame kept back to be sent after the next one."""
        self.mode = self.below(4)
        """One flavour of the fault for the whole site, where it has some."""
        self.frozen_until_ns = 0
        self.stalled_until_ns = 0
        self.harmed_ns: int | None = None
        """When something was first done that a reader ought to notice."""
        self.n_acts = 0
        """How often the fault acted."""
        self._share = share
        self._lasts_ns = lasts_ns

    @property
    def is_frozen(self) -> bool:
        """True while nothing more is sent on this connection, which stays open."""
        return self.now_ns < self.frozen_until_ns

    def reconnected(self) -> None:
        """A fresh connection: nothing is held, nothing is frozen."""
        self.held = None
        self.frozen_until_ns = 0

    def happens(self, share: float) -> bool:
        """Return whether the fault acts now; ``share`` unless the site was given its own."""
        is_now = bool(self.generator.random() < (share if self._share is None else self._share))
        self.n_acts += is_now
        return is_now

    def lasts(self, ns: int) -> int:
        """Return how long an act lasts; ``ns`` unless the site was given its own."""
        return ns if self._lasts_ns is None else self._lasts_ns

    def below(self, count: int) -> int:
        return int(self.generator.integers(0, count)) if count else 0

    def bytes(self, count: int) -> bytes:
        return self.generator.bytes(count)

    def harm(self) -> None:
        """Note that something was done that a reader ought to notice."""
        if self.harmed_ns is None:
            self.harmed_ns = self.now_ns
