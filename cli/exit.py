"""The one place where an exception becomes an exit code and a line on the screen.

Exit codes are API: 0 done, 1 failed or found wrong, 2 usage or configuration, 3 try again,
130 interrupted. What we did not expect goes to ``logs/crash.log`` in the state directory with
its traceback; the screen gets one line.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from core.clock import SystemClock, iso_ns
from core.errors import Failed, TryAgain, UserError, ValueRefused

DONE = 0
FAILED = 1
USAGE = 2
TRY_AGAIN = 3
INTERRUPTED = 130
CRASH_LOG_BYTES_MAX = 1024 * 1024
LINE_CHARS_MAX = 2000


def exit_code_of(work: Callable[[], int], state_dir: Callable[[], Path]) -> int:
    """Return the exit code of ``work``; tell its errors on stderr.

    ``state_dir`` names the state directory, asked for only when a crash log is written.
    """
    try:
        return work()
    except (UserError, ValueRefused) as error:
        return _told(error, USAGE)
    except TryAgain as error:
        return _told(error, TRY_AGAIN)
    except Failed as error:
        return _told(error, FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 (the command line border: traceback kept in a file)
        place = _keep_traceback(error, state_dir)
        tell(f"unexpected {type(error).__name__}: {error} (traceback in {place})")
        return FAILED


def tell(text: str) -> None:
    """Write each line of ``text`` to stderr as ours, without what a terminal would obey."""
    for line in text.splitlines() or [""]:
        print(f"tapewright: {plain(line)}", file=sys.stderr, flush=True)


def plain(text: str) -> str:
    """Return ``text`` with every unprintable character replaced, cut to one bounded line."""
    shown = "".join(c if c.isprintable() else "�" for c in text[:LINE_CHARS_MAX])
    encoding = sys.stderr.encoding or "ascii"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def close_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush finds no broken pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _told(error: Exception, code: int) -> int:
    tell(str(error))
    return code


def _keep_traceback(error: Exception, state_dir: Callable[[], Path]) -> Path | str:
    text = "".join(traceback.format_exception(error))
    try:
        return _append(state_dir() / "logs", text)
    except (OSError, UserError):
        pass
    try:
        return _append(Path(tempfile.mkdtemp(prefix="tapewright-")), text)
    except OSError:
        return "no file: none could be written"


def _append(folder: Path, text: str) -> Path:
    """Append to the crash log; a full one becomes ``crash.1.log``, and the one before it goes."""
    path = folder / "crash.log"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > CRASH_LOG_BYTES_MAX:
        path.replace(folder / "crash.1.log")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with open(fd, "w", encoding="utf-8", errors="backslashreplace") as file:  # noqa: PTH123 (a descriptor)
        # Not the whole command line: an endpoint may carry a key.
        when = iso_ns(SystemClock().now_ns())
        file.write(f"--- {when} pid {os.getpid()} {sys.argv[1:2]}\n{text}")
    return path
