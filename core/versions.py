"""What a run was computed with: digests of code and lock file, versions of what computes."""

from __future__ import annotations

import hashlib
import platform
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("core", "agents", "ledger", "tui", "cli")
LOCK_NAME = "constraints.txt"
LIBRARIES = ("numpy", "numba", "llvmlite", "msgspec")
"""Libraries that a decision goes through."""


def version() -> str:
    """Return the program's version."""
    return metadata.version("tapewright")


def code_digest() -> str:
    """Return the sha256 over every source file of the program, in hex."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def lock_digest() -> str:
    """Return the sha256 of the lock file in hex; empty where the program came without it."""
    try:
        return hashlib.sha256((ROOT / LOCK_NAME).read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def versions() -> dict[str, str]:
    """Return interpreter, machine and libraries; nothing that changes without an installation."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    return found | {name: metadata.version(name) for name in LIBRARIES}
