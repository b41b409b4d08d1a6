"""The whole ledger verified beside an engine that started quickly.

A start that went on from ``ledger.resume`` has not seen every old event. This verifies all of it
in a process of its own, at low priority; what it finds fails the writer, and so stops the trading.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from core.errors import Failed, TapewrightError

NICENESS = 15
_TEXT_CHARS_MAX = 500
_FOUND = 1


class Audit:
    """A verification that runs in another process."""

    def __init__(self, state_dir: Path) -> None:
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "ledger.audit", str(state_dir)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    @property
    def is_over(self) -> bool:
        return self._process is None

    def check(self) -> None:
        """Look whether it is done. Errors: ``Failed`` with what it found, or that it died."""
        if self._process is None or self._process.poll() is None:
            return
        process, self._process = self._process, None
        assert process.stdout is not None
        with process.stdout as pipe:
            text = pipe.read().decode(errors="replace")[:_TEXT_CHARS_MAX].strip()
        if process.returncode == _FOUND:
            raise Failed(
                f"the ledger does not verify: {text}; run: tapewright ledger verify, then put back "
                "a copy that verifies"
            )
        if process.returncode != 0:
            raise Failed(f"the ledger could not be verified (exit code {process.returncode})")

    def close(self) -> None:
        """End it if it still runs."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def main(state_dir: Path) -> int:
    """Verify; print the first finding."""
    from ledger.verify import verify

    os.nice(NICENESS)
    try:
        findings = verify(state_dir).findings
    except TapewrightError as error:
        sys.stdout.write(str(error))
        return _FOUND
    if findings:
        sys.stdout.write(findings[0].text)
    return _FOUND if findings else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
