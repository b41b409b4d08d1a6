"""What a command hands out as JSON: to a file, or to the terminal."""

from __future__ import annotations

from pathlib import Path

import msgspec

from core.errors import CaptureError


def hand_out(value: object, target: str) -> None:
    """Write a value as one line of JSON to the file ``target``, or print it where that is ``-``.

    Errors: ``CaptureError`` if the file cannot be written.
    """
    text = msgspec.json.encode(value).decode()
    if target == "-":
        print(text)
        return
    try:
        Path(target).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise CaptureError(f"{target}: cannot be written ({error.strerror})") from error
