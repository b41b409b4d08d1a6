"""The one gate: every order passes ``check``, and a refusal is final.

Every control is evaluated and recorded, passed or not. Orders that can only reduce a position
are spared the controls that limit new risk, never those that guard the price.
Source: reliability of controls after RTS 6 Art. 15 and SEC 15c3-5 (pre-trade, blocking).
"""

from __future__ import annotations

import msgspec

from core.config import RiskSettings
from core.limits.agree import AGREE
from core.limits.loss import LOSS, SETTINGS, STOP
from core.limits.market import BOOK, MARKET
from core.limits.own import OWN
from core.limits.pace import PACE
from core.limits.size import EXIT, SIZE
from core.limits.view import Case, GateView
from core.model.decision import LimitCheck
from core.model.order import Order

CONTROLS = (SETTINGS, *BOOK, *OWN, *AGREE, *STOP, *SIZE, *MARKET, *LOSS, *PACE, *EXIT)
"""All controls, in the order in which they are evaluated; ``docs/risk.md`` shows this table."""
_OF_ENTRIES = tuple(control for control in CONTROLS if control.of_entries)
_OF_EXITS = tuple(control for control in CONTROLS if control.of_exits)


class GateVerdict(msgspec.Struct, frozen=True):
    allowed: bool
    code: str
    """Name of the first control that failed; empty when allowed."""
    checks: tuple[LimitCheck, ...]

    @property
    def why(self) -> str:
        """Return the failed controls in words."""
        return "; ".join(
            f"{c.control} was {c.value}, limit {c.limit}" for c in self.checks if not c.passed
        )


def check(order: Order, view: GateView, limits: RiskSettings) -> GateVerdict:
    """Evaluate every control that applies to ``order``.

    With a limit missing nothing else can be judged, and nothing may leave, not even an exit: the
    settings cannot be loaded so (``core.config``), and what is left is a mistake of ours.
    """
    case = Case(order, view, limits)
    checks: list[LimitCheck] = []
    for control in _OF_EXITS if order.reduces else _OF_ENTRIES:
        found = control.check(case)
        if found is not None:
            checks.append(found)
        if control is SETTINGS and found is not None and not found.passed:
            break
    failed = [one for one in checks if not one.passed]
    return GateVerdict(not failed, failed[0].control if failed else "", tuple(checks))


def table() -> str:
    """Return the table of controls as Markdown, as it stands in ``docs/risk.md``."""
    rows = ["| control | refused when | entry | exit |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{c.code}` | {c.refused_when} | {'x' if c.of_entries else ''} | "
        f"{'x' if c.of_exits else ''} |"
        for c in CONTROLS
    ]
    return "\n".join(rows)
