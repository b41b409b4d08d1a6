"""One task owns all trading state and never waits inside a change of it: read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parents[2] / "core"
OWNERS = (
    "account", "attached", "commands", "context", "costs", "desk", "doubt", "engine", "execution",
    "gate", "kill", "lots", "orders", "positions", "proposals", "reconcile", "risk",
)  # fmt: skip
"""Modules that change trading state."""
WAITS = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.AsyncFunctionDef)


def tree_of(name: str) -> ast.Module:
    return ast.parse((CORE / f"{name}.py").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", OWNERS)
def test_nothing_that_changes_trading_state_can_wait(name: str) -> None:
    found = [node.lineno for node in ast.walk(tree_of(name)) if isinstance(node, WAITS)]
    assert not found, f"core/{name}.py waits at line {found}"


def test_the_session_waits_for_the_ledger_alone_and_looks_again_after_it() -> None:
    """An order is judged by ``leave`` after the wait; nothing read before it is used but itself."""
    waiting = [f for f in ast.walk(tree_of("session")) if isinstance(f, ast.AsyncFunctionDef)]
    assert [f.name for f in waiting] == ["settle_forever"]
    waits = [ast.unparse(n.value) for n in ast.walk(waiting[0]) if isinstance(n, ast.Await)]
    assert waits == ["self.wake.wait()", "asyncio.wrap_future(self.sink.flush())"]
    (submit,) = [f for f in ast.walk(tree_of("session"))
                 if isinstance(f, ast.FunctionDef) and f.name == "_submit"]  # fmt: skip
    first = next(node for node in submit.body if not isinstance(node, ast.Expr))
    assert "execution.leave" in ast.unparse(first), "an order leaves without a last look"


def test_a_status_is_moved_in_one_place_and_read_from_the_ledger_in_another() -> None:
    movers: dict[str, set[str]] = {}
    for path in CORE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            targets = node.targets if isinstance(node, ast.Assign) else []
            for target in targets:
                if isinstance(target, ast.Attribute) and target.attr == "status":
                    found = movers.setdefault(path.relative_to(CORE).as_posix(), set())
                    found.add(ast.unparse(node))
    assert movers == {"orders.py": {"state.status = found", "state.status = past"}}
