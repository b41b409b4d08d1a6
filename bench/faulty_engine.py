"""The engine with one fault built in, which begins when a file named ``FAULT`` appears.

python bench/faulty_engine.py block_python|block_c|pnl|lots|none WORDS...

``block_python`` sleeps in the loop, ``block_c`` holds the interpreter in C code that no signal
handler interrupts, ``pnl`` raises in everything that counts profit, ``lots`` half way
through counting any fill, in the engine and in the ledger's tables. WORDS are tapewright's.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cli.main import main
from core.account import QuoteAccount
from core.engine import Engine
from core.lots import FifoBook

MARK = "FAULT"


def has_begun(words: list[str]) -> bool:
    return (Path(words[words.index("--state") + 1]) / MARK).exists()


def block(words: list[str], *, in_c: bool) -> None:
    """Block the loop for good, once the mark is there."""
    advance = Engine.advance

    def blocked(self: Engine, now_ns: int) -> None:
        if has_begun(words):
            if in_c:
                deque(itertools.repeat(None, 10**15), maxlen=0)
            while True:
                time.sleep(0.01)
        advance(self, now_ns)

    Engine.advance = blocked  # type: ignore[method-assign]


def break_profit(words: list[str]) -> None:
    """Let every question about profit raise, once the mark is there."""

    def breaking(kind: type, name: str) -> None:
        member = getattr(kind, name)
        work = member.fget if isinstance(member, property) else member

        def broken(self: Any, *given: Any) -> Any:
            if has_begun(words):
                raise ArithmeticError("profit cannot be counted")
            return work(self, *given)

        setattr(kind, name, property(broken) if isinstance(member, property) else broken)

    for name in ("realized", "fees", "unrealized", "exposure", "today", "sample_curve"):
        breaking(QuoteAccount, name)
    breaking(FifoBook, "unrealized")


def break_lots(words: list[str]) -> None:
    """Let every fill raise while it is counted into lots, once the mark is there."""
    apply = FifoBook.apply

    def broken(self: FifoBook, *given: Any) -> Any:
        if has_begun(words):
            self.open_lots.clear()
            raise ArithmeticError("a lot without a price")
        return apply(self, *given)

    FifoBook.apply = broken  # type: ignore[method-assign]


if __name__ == "__main__":
    fault, words = sys.argv[1], sys.argv[2:]
    match fault:
        case "block_python" | "block_c":
            block(words, in_c=fault == "block_c")
        case "pnl":
            break_profit(words)
        case "lots":
            break_lots(words)
    sys.exit(main(words))
