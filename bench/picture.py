"""Make docs/screen.svg from a running engine: python bench/picture.py STATE_DIR OUT [WIDTH HEIGHT].

The picture is what a trader sees; fonts are not fetched from anywhere.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from core.clock import SystemClock
from core.config import ScreenSettings
from core.control import SOCKET_NAME, GetSnapshot, Picture, request
from tui.app import TapewrightApp
from tui.source import SocketSource


async def picture(state: Path, size: tuple[int, int]) -> str:
    """Return the screen on the engine of ``state`` as SVG, once a proposal is on show."""
    source = SocketSource(state / SOCKET_NAME)
    app = TapewrightApp(source, ScreenSettings(), SystemClock())
    async with app.run_test(size=size) as pilot:
        for _ in range(600):
            await pilot.pause(0.1)
            reply = request(state, GetSnapshot())
            assert isinstance(reply, Picture)
            if reply.snapshot.proposals and reply.snapshot.fills:
                break
        await pilot.pause(0.5)
        return app.export_screenshot(title="tapewright")


def without_fonts(svg: str) -> str:
    """Drop the addresses of web fonts; any monospaced font will do."""
    svg = re.sub(r"@font-face\s*\{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code", "DejaVu Sans Mono, Menlo, Consolas")


if __name__ == "__main__":
    width, height = map(int, sys.argv[3:5] or ("120", "40"))
    text = without_fonts(asyncio.run(picture(Path(sys.argv[1]), (width, height))))
    Path(sys.argv[2]).write_text(text, encoding="utf-8")
