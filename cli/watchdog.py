"""``tapewright watchdog``: become the small process that watches the running engine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

from cli.guard import watchdog_words
from core.config import load_settings
from core.errors import TryAgain
from core.state import StateDir, resolve_state_dir, running_engine


def watchdog_command(state_dir: Path | None, config: Path | None) -> NoReturn:
    """Put the watchdog in this process's place.

    Errors: ``TryAgain`` when no engine runs; ``UserError`` for a bad configuration.
    """
    settings = load_settings(config)
    state = StateDir(resolve_state_dir(state_dir))
    if running_engine(state) is None:
        raise TryAgain(f"no engine runs on {state.path}: nothing to watch")
    words = watchdog_words(state.path, settings.watchdog)
    # Nothing of the command line stays in it: it watches with as little as it can.
    os.execv(words[0], words)  # noqa: S606 (our own program, no shell)
