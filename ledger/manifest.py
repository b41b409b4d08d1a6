"""What a run's manifest takes from the ledger before it, and the settings that it holds."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from core.config import Settings
from core.errors import Failed, ValueRefused
from ledger.checkpoint import parse_note, parse_text
from ledger.coverage import stored_notes
from ledger.store import DB_NAME, reading

RUNS = "runs"
"""Folder of the notes about runs; what they say is checked by digest, never believed."""


def previous_checkpoint(state_dir: Path) -> dict[str, str]:
    """Return size and root (hex) of the newest checkpoint; empty where there is none.

    Key and signature are left out: two equal replays under different keys stay equal.
    Errors: ``Failed`` for a ledger that cannot be read.
    """
    if not (state_dir / DB_NAME).is_file():
        return {}
    with reading(state_dir) as connection:
        stored = stored_notes(connection)
    if not stored:
        return {}
    try:
        checkpoint = parse_text(parse_note(stored[-1].note).text)
    except ValueRefused as error:
        raise Failed(f"the newest checkpoint cannot be read: {error}") from error
    return {"size": str(checkpoint.size), "root": checkpoint.root.hex()}


def note_input_file(state_dir: Path, run_id: str, path: Path) -> None:
    """Note where the input of a run was, for ``ledger replay``; no evidence, and may fail."""
    folder = state_dir / RUNS
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / f"{run_id}.json").write_bytes(
            msgspec.json.encode({"input": str(path.absolute())})
        )


def noted_input_file(state_dir: Path, run_id: str) -> Path | None:
    """Return what ``note_input_file`` noted, or None."""
    try:
        noted = msgspec.json.decode((state_dir / RUNS / f"{run_id}.json").read_bytes())
        return Path(noted["input"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def settings_tree(settings: Settings) -> dict[str, Any]:
    """Return the settings for a manifest: floats as the text that reads back as the same bits."""
    tree: dict[str, Any] = _exact(msgspec.to_builtins(settings, str_keys=True))
    return tree


def _exact(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(item) for item in value]
    return format(Decimal(repr(value)), "f") if isinstance(value, float) else value


def settings_of(tree: dict[str, Any]) -> Settings:
    """Return the settings that a manifest holds. Errors: ``Failed`` for another program's."""
    try:
        return msgspec.convert(tree, Settings, strict=False)
    except (msgspec.ValidationError, ArithmeticError) as error:
        raise Failed(f"the settings of the run cannot be read by this program: {error}") from error
