"""Pauses: how long nothing is proposed for an instrument, and after what.

Exits are never slower than entries: a trade holds back new risk only. What was turned down is not
asked again at once, and exits that find no fill are not sent without end.
"""

from __future__ import annotations

from core.clock import NS_PER_S

FAILED_EXITS_MAX = 3
"""Exits in a row that may find no fill before the next one waits."""


class Pauses:
    """The pauses of one run, by instrument; times are engine time."""

    def __init__(self, cooldown_ns: int) -> None:
        self._cooldown_ns = cooldown_ns
        self._no_entry_until: dict[str, int] = {}
        self._no_exit_until: dict[str, int] = {}
        self._no_proposal_until: dict[str, int] = {}

    def after_trade(self, name: str, now_ns: int) -> None:
        """An order of ours moved: no entry for a while."""
        self._no_entry_until[name] = now_ns + self._cooldown_ns

    def after_failed_exit(self, name: str, now_ns: int) -> None:
        """Exits fail again and again: no exit for a while, a second at least."""
        self._no_exit_until[name] = now_ns + max(self._cooldown_ns, NS_PER_S)

    def after_refusal(self, name: str, now_ns: int) -> None:
        """A proposal was turned down or lapsed: none of any kind for a while."""
        self._no_proposal_until[name] = now_ns + self._cooldown_ns

    def left_ns(self, name: str, now_ns: int, *, is_held: bool) -> int:
        """Return how long to wait; not above zero when there is no pause."""
        pauses = self._no_exit_until if is_held else self._no_entry_until
        return max(self._no_proposal_until.get(name, 0), pauses.get(name, 0)) - now_ns


class Stops:
    """What may not be entered for a while, by instrument, and why.

    Limits make them, such as slippage; the gate denies by them, and the screen tells them.
    """

    def __init__(self) -> None:
        self._stops: dict[str, tuple[int, str]] = {}

    def stop(self, name: str, until_ns: int, why: str) -> None:
        """Stop entries; one that lasts longer is not cut short."""
        if until_ns > self._stops.get(name, (0, ""))[0]:
            self._stops[name] = (until_ns, why)

    def why(self, name: str, now_ns: int) -> str:
        """Return why ``name`` is stopped and for how long; empty when it is not."""
        until_ns, why = self._stops.get(name, (0, ""))
        left_ns = until_ns - now_ns
        return f"{why}, {-(-left_ns // NS_PER_S)} s left" if left_ns > 0 else ""
