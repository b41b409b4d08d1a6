from __future__ import annotations

from core.border import Border
from core.errors import InvariantError


def broken() -> int:
    raise InvariantError("lots do not add up")


def test_what_works_is_returned() -> None:
    assert Border("P&L").ask(lambda: 3, 0) == 3


def test_the_first_failure_is_kept_with_its_trace_and_nothing_is_asked_again() -> None:
    border = Border("P&L")
    assert border.ask(broken, 7) == 7
    asked: list[int] = []
    assert border.ask(lambda: asked.append(1), None) is None
    assert asked == []
    assert border.failure == "P&L failed: InvariantError: lots do not add up"
    assert "in broken" in border.trace
