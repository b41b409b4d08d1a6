"""Controls of loss, and of what stops trading: the kill, a pause, a limit that is none."""

from __future__ import annotations

import math
from decimal import Decimal
from functools import lru_cache

import msgspec

from core.config import RiskSettings
from core.limits.view import UNKNOWN, Case, Control
from core.model.instrument import plain

Found = tuple[str, str, bool]


@lru_cache(maxsize=4)  # a quarter of the gate's time otherwise, and they never change in a run
def unset_limits(limits: RiskSettings) -> tuple[str, ...]:
    """Return the limits that limit nothing: missing, not a number, or not above zero.

    A share of 0 is a limit (nothing at all); a switch and a list are told by their own control.
    """
    return tuple(
        name
        for name, value in msgspec.structs.asdict(limits).items()
        if value is None
        or (isinstance(value, int | float | Decimal) and not isinstance(value, bool)
            and not _limits(name, value))
    )  # fmt: skip


def _limits(name: str, value: float | Decimal) -> bool:
    if not math.isfinite(value):
        return False
    return value >= 0 if name.endswith("_share") else value > 0


def _limits_set(case: Case) -> Found:
    unset = unset_limits(case.limits)
    return ", ".join(unset) or "all", "all", not unset


def _kill_latch(case: Case) -> Found:
    is_halted = case.view.is_halted
    return case.view.halt_reason if is_halted else "armed", "armed", not is_halted


def _pause(case: Case) -> Found:
    return case.view.pause or "none", "none", not case.view.pause


def _lost(money: Decimal | None, most: Decimal) -> Found:
    if money is None:
        return UNKNOWN, plain(-most), False
    return plain(money), plain(-most), money > -most


def _max_daily_loss(case: Case) -> Found:
    return _lost(case.view.today, case.limits.max_daily_loss)


def _max_session_loss(case: Case) -> Found:
    return _lost(case.view.session, case.limits.max_session_loss)


def _max_drawdown(case: Case) -> Found:
    fallen, most = case.view.drawdown, case.limits.max_drawdown
    if fallen is None:
        return UNKNOWN, plain(most), False
    return plain(fallen), plain(most), fallen < most


def _max_consecutive_losses(case: Case) -> Found:
    most = case.limits.max_consecutive_losses
    return str(case.view.losses_in_a_row), str(most), case.view.losses_in_a_row < most


SETTINGS = Control(
    "limits_set", "a limit is missing, is no number or is not above zero", _limits_set,
    of_exits=True,
)  # fmt: skip
STOP = (
    Control("kill_latch", "the kill is latched", _kill_latch),
    Control("pause", "the instrument is paused after orders that slipped", _pause),
)
LOSS = (
    Control("max_daily_loss", "today's loss has reached the limit, or cannot be told",
            _max_daily_loss),
    Control("max_session_loss", "the loss since the start of the run has reached the limit, or "
            "cannot be told", _max_session_loss),
    Control("max_drawdown", "the run has fallen this far from its peak, or that cannot be told",
            _max_drawdown),
    Control("max_consecutive_losses", "this many round trips in a row lost",
            _max_consecutive_losses),
)  # fmt: skip
