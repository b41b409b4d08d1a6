"""``tapewright attach``: a screen on an engine that runs already."""

from __future__ import annotations

from cli.options import AttachOptions
from cli.screen import story_of
from core.config import load_settings
from core.control import GetSnapshot, request
from core.state import resolve_state_dir


def attach_command(options: AttachOptions) -> int:
    """Put a screen on the running engine; closing it leaves the engine running.

    Errors: ``TryAgain`` when no engine runs on the state directory.
    """
    settings = load_settings(options.config)
    state_dir = resolve_state_dir(options.state)
    request(state_dir, GetSnapshot())
    from tui.app import run_screen

    return run_screen(state_dir, settings.screen, owns_engine=False, tell_story=story_of(state_dir))
