"""Numba kernels: pure functions over arrays, compiled once and cached on disk.

Import ``jit`` from here. Numba's own cache does not notice a change in a called function of
another file, so the cache folder is named by a digest of every source that can hold a kernel.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import platformdirs

_ROOT = Path(__file__).resolve().parents[2]
_SOURCES = ("core/kernels", "core/sim", "agents")


def _cache_dir() -> Path:
    digest = hashlib.sha256()
    for folder in _SOURCES:
        for source in sorted((_ROOT / folder).glob("*.py")):
            digest.update(source.read_bytes())
    return Path(platformdirs.user_cache_dir("tapewright")) / f"kernels-{digest.hexdigest()[:12]}"


os.environ.setdefault("NUMBA_CACHE_DIR", str(_cache_dir()))
CACHE_DIR = Path(os.environ["NUMBA_CACHE_DIR"])
"""Where this version's compiled kernels lie."""

from numba import njit  # noqa: E402 (the cache folder must be set before numba reads it)


def jit(function: Any) -> Any:
    """Compile ``function`` with the house settings: cached, numpy errors, no fast maths.

    It may make no array, list or set, and return none: without reference counting a call costs
    0.1 us less, and every call inside it that passes an array two locked instructions less.
    """
    return njit(cache=True, error_model="numpy", _nrt=False)(function)


def jit_making(function: Any) -> Any:
    """Compile as ``jit`` does, for a function that makes arrays."""
    return njit(cache=True, error_model="numpy", _nrt=True)(function)


def jit_inline(function: Any) -> Any:
    """Compile as ``jit`` does, into the caller: for small functions and those that return views."""
    return njit(error_model="numpy", inline="always")(function)
