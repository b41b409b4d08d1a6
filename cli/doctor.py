"""``doctor``: is this machine fit to trade on? Each line is ok, warn or FAIL with its remedy.

It changes nothing on disk. Its one connection asks the venue whether keys that are stored are good.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from cli.check import Check, Level
from cli.doctor_keys import check_keys
from cli.exit import DONE, FAILED, plain
from core.config import load_settings
from core.errors import ConfigError
from core.latch import latched_scopes
from core.scopes import ALL, words
from core.state import StateDir, resolve_state_dir, running_engine

PYTHON_MIN = (3, 11)
PYTHON_BELOW = (3, 13)
FREE_MIB_MIN = 100
FREE_MIB_GOOD = 2048
SCREEN_MIN = (80, 24)
REMOTE_FILESYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "afs", "ceph", "lustre")
"""Locks and fsync over a network are not to be relied on (sqlite.org/lockingv3.html, section 6)."""
FORGETFUL_FILESYSTEMS = ("tmpfs", "ramfs")
_TIME_ERROR = 5
"""What adjtimex(2) returns while the kernel's clock is not synchronised."""


def doctor_command(state_dir: Path | None, config: Path | None) -> int:
    """Print all checks to stdout; return 1 when one of them is FAIL."""
    state = StateDir(resolve_state_dir(state_dir))
    checks = list(all_checks(state, config))
    for check in checks:
        print(plain(check.line()))
    return FAILED if any(check.level is Level.FAIL for check in checks) else DONE


def all_checks(state: StateDir, config: Path | None) -> Iterator[Check]:
    """Yield the checks in the order in which a problem is best looked at."""
    yield check_python(sys.version_info[:3])
    yield check_config(config)
    yield from check_keys(config)
    yield from check_state_dir(state)
    yield check_disk(shutil.disk_usage(_nearest(state.path)).free)
    yield check_filesystem(filesystem_of(state.path, Path("/proc/self/mounts")))
    yield check_latch(state)
    yield check_ledger(state)
    yield check_engine(state)
    yield check_kernels()
    yield check_agent(state)
    yield check_clock(_adjtimex())
    yield from check_terminal(dict(os.environ))


def check_python(version: tuple[int, ...]) -> Check:
    shown = ".".join(map(str, version))
    if PYTHON_MIN <= version[:2] < PYTHON_BELOW:
        return Check(Level.OK, "python", shown)
    return Check(Level.FAIL, "python", shown, "make a venv with Python 3.11 or 3.12")


def check_config(path: Path | None) -> Check:
    try:
        settings = load_settings(path)
    except ConfigError as error:
        first, *rest = error.findings
        more = f" (and {len(rest)} more)" if rest else ""
        return Check(Level.FAIL, "config", first + more, "correct the file")
    if settings.is_practice:
        return Check(
            Level.WARN, "config", "practice thresholds: it trades without an edge", "paper only"
        )
    return Check(Level.OK, "config", "the defaults" if path is None else str(path))


def check_state_dir(state: StateDir) -> Iterator[Check]:
    path = state.path
    if not path.exists():
        parent = _nearest(path)
        if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
            yield Check(Level.OK, "state", f"{path} (made by the first run)")
        else:
            yield Check(Level.FAIL, "state", f"{path} cannot be made", "choose another --state DIR")
        return
    if not path.is_dir() or not os.access(path, os.W_OK | os.X_OK):
        yield Check(
            Level.FAIL, "state", f"{path} is not a directory we can write", "choose another --state"
        )
        return
    loose = path.stat().st_mode & 0o077
    if loose:
        yield Check(Level.WARN, "state", f"{path} is open to others", f"chmod 700 {path}")
    else:
        yield Check(Level.OK, "state", str(path))


def check_disk(free_bytes: int) -> Check:
    free_mib = free_bytes // 2**20
    text = f"{free_mib} MiB free"
    if free_mib < FREE_MIB_MIN:
        return Check(Level.FAIL, "disk", text, "free some: a full disk stops all new orders")
    if free_mib < FREE_MIB_GOOD:
        return Check(Level.WARN, "disk", text, "captures need room: [feed] record_max_mib")
    return Check(Level.OK, "disk", text)


def check_filesystem(kind: str | None) -> Check:
    if kind is None:
        return Check(Level.WARN, "filesystem", "kind not known", "use a local disk")
    if kind in REMOTE_FILESYSTEMS:
        return Check(Level.FAIL, "filesystem", f"{kind} is remote", "use a local disk")
    if kind in FORGETFUL_FILESYSTEMS:
        return Check(Level.WARN, "filesystem", f"{kind} forgets at reboot", "use a disk")
    return Check(Level.OK, "filesystem", kind)


def filesystem_of(path: Path, mounts: Path) -> str | None:
    """Return the file system type that holds ``path``; None where the system does not say."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    place = _nearest(path).resolve()
    found: tuple[int, str] | None = None
    for line in lines:
        _, point, kind, *_ = [*line.split(), "", "", ""]
        # The kernel writes blanks in mount points as \040; proc(5).
        mount = Path(point.replace("\\040", " ") or "/nowhere")
        if place.is_relative_to(mount) and (found is None or len(mount.parts) >= found[0]):
            found = (len(mount.parts), kind)
    return found[1] if found else None


def check_latch(state: StateDir) -> Check:
    halts = latched_scopes(state.path)
    latch = halts.pop(ALL, None)
    if latch is not None:
        return Check(
            Level.WARN, "kill latch", f"HALTED: {latch.reason}", "tapewright rearm --reason T"
        )
    if halts:
        told = "; ".join(f"{words(scope)}: {each.reason}" for scope, each in halts.items())
        remedy = "tapewright rearm --reason T with --instrument S or --strategy"
        return Check(Level.WARN, "kill latch", f"HALTED: {told}", remedy)
    return Check(Level.OK, "kill latch", "open")


def check_ledger(state: StateDir) -> Check:
    if state.ledger_db.is_file():
        kib = state.ledger_db.stat().st_size // 1024
        return Check(Level.OK, "ledger", f"{kib} KiB; `tapewright ledger verify` checks it")
    if state.ledger_head.exists():
        return Check(
            Level.FAIL, "ledger", "its witness is here, the ledger is gone", "restore ledger.db"
        )
    return Check(Level.OK, "ledger", "none yet (made by the first run)")


def check_engine(state: StateDir) -> Check:
    holder = running_engine(state)
    return Check(Level.OK, "engine", "none runs here" if holder is None else f"runs: {holder}")


def check_kernels() -> Check:
    import core.kernels  # noqa: F401 (sets the cache folder)

    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    n_compiled = sum(1 for _ in folder.rglob("*.nbc"))
    if not n_compiled:
        return Check(Level.WARN, "kernels", "not compiled: the first start waits", "make warm")
    return Check(Level.OK, "kernels", f"{n_compiled} compiled in {folder}")


def check_agent(state: StateDir) -> Check:
    import agents

    shipped = Path(agents.__file__ or "").parent / "models"
    models = sorted(
        {
            path.parent.name
            for root in (shipped, state.models)
            for path in root.glob("*/*.safetensors")
        }
    )
    if not models:
        return Check(Level.WARN, "agent", "no model: the agent's pane stays empty", "train one")
    return Check(Level.OK, "agent", ", ".join(models))


def check_clock(result: int | None) -> Check:
    """Judge the return of adjtimex(2); None where it cannot be called."""
    if result is None:
        return Check(Level.WARN, "clock", "cannot be asked here", "run an NTP client")
    if result == _TIME_ERROR:
        return Check(
            Level.WARN, "clock", "not synchronised: feed latency means little", "run an NTP client"
        )
    return Check(Level.OK, "clock", "synchronised")


def check_terminal(environment: dict[str, str]) -> Iterator[Check]:
    size = shutil.get_terminal_size((0, 0))
    if not sys.stdout.isatty():
        yield Check(
            Level.WARN, "terminal", "stdout is not a terminal", "a screen needs one; or --headless"
        )
    elif size < SCREEN_MIN:
        yield Check(
            Level.WARN, "terminal", f"{size.columns}x{size.lines}", "the screen wants 80x24 or more"
        )
    else:
        yield Check(Level.OK, "terminal", f"{size.columns}x{size.lines}")
    term = environment.get("TERM", "")
    if term in ("", "dumb", "unknown"):
        yield Check(Level.WARN, "colours", f"TERM is {term!r}", "export TERM=xterm-256color")
    else:
        yield Check(Level.OK, "colours", f"{term} {environment.get('COLORTERM', '')}".strip())
    encoding = (sys.stdout.encoding or "").lower()
    if encoding.replace("-", "") != "utf8":
        yield Check(Level.WARN, "characters", encoding or "not known", "export LC_ALL=C.UTF-8")
    else:
        yield Check(Level.OK, "characters", "UTF-8")


def _adjtimex() -> int | None:
    """Return what adjtimex(2) says of the clock, changing nothing; None where there is none."""
    try:
        call = ctypes.CDLL(None).adjtimex
    except (AttributeError, OSError):
        return None
    # struct timex is 208 bytes on 64-bit Linux; modes = 0, the first field, asks and sets nothing.
    result = int(call(ctypes.create_string_buffer(512)))
    return None if result < 0 else result


def _nearest(path: Path) -> Path:
    """Return ``path`` or the first parent of it that exists."""
    return next(place for place in (path, *path.parents) if place.exists())
