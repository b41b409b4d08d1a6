"""Damaged capture lines and control commands, held to a plain reading of the same bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import msgspec

from core.control import (
    MAX_MESSAGE,
    Ack,
    AnyCommand,
    CancelOrder,
    CloseTrade,
    Confirm,
    GetSnapshot,
    KillAll,
    Rearm,
    Reject,
    Reply,
    SetMode,
    Stop,
    frame,
)
from core.errors import UserError
from core.feeds.capture import KINDS, CaptureReader
from core.model.decision import Mode
from core.server import ControlServer, _Connection
from tests.faults.damage import Tally
from tests.faults.wounds import Draws, damage, damage_packed

_BATCH = 12
"""Lines of a capture file, one of them damaged."""
_META = (
    b'{"k":"meta","format":"capture/1","venue":"binance","symbols":["BTCUSDT"],'
    b'"instruments":{"BTCUSDT":{"price_increment":"0.01","size_increment":"0.00001"}}}'
)
_LINES = (
    b'{"k":"open","ns":1723161253937085768,"url":"wss://venue.example/stream"}',
    b'{"k":"send","ns":1723161253937085769,"d":"{\\"method\\":\\"SUBSCRIBE\\"}"}',
    b'{"k":"recv","ns":1723161253937085770,"d":"{\\"stream\\":\\"btcusdt@depth\\",\\"data\\":{}}"}',
    b'{"k":"http","ns":1723161253937085771,"url":"https://venue.example/x","d":"{\\"bids\\":[]}"}',
    b'{"k":"recv","ns":1723161253937085772,"d":"caf\\u00e9 \\ud83d\\ude00"}',
    b'{"k":"later","ns":1723161253937085773,"new":{"a":[1,2.5,null]}}',
    b'{"k":"close","ns":1723161253937085774,"why":"the end"}',
)
_FIELDS = {"k": str, "ns": int, "d": str, "url": str, "why": str}
_COMMANDS: tuple[AnyCommand, ...] = (
    GetSnapshot(is_screen=True), Confirm("cafe0123-d1"), Reject("cafe0123-d1", "no"),
    CloseTrade("BTCUSDT"), CancelOrder("cafe0123-o1"), KillAll(), Rearm("all is well"),
    SetMode(Mode.AUTO), Stop(),
)  # fmt: skip


class _InMemory:
    """As much of a path as the reader uses: files of a hunt need no disk."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def open(self, _: str) -> BytesIO:
        return BytesIO(self._text)


def hunt_captures(seed: int, n_damaged: int, tally: Tally) -> None:
    """Read capture files with one damaged line each."""
    draws = Draws(seed)
    until = tally.damaged + n_damaged
    while tally.damaged < until and not tally.wrong:
        lines = [draws.pick(_LINES) for _ in range(_BATCH)]
        at = draws.below(_BATCH + 1)
        if at == _BATCH:
            text = b"\n".join([damage(_META, _LINES[0], draws), *lines]) + b"\n"
        else:
            lines[at] = damage(lines[at], draws.pick(_LINES), draws)
            text = b"\n".join([_META, *lines]) + b"\n"
        tally.damaged += 1
        tally.frames += _BATCH + 1
        _judge_capture(text, tally)


def _judge_capture(text: bytes, tally: Tally) -> None:
    seen: list[tuple[Any, ...]] = []
    is_refused = False
    try:
        for record in CaptureReader(cast("Path", _InMemory(text))):
            seen.append((record.kind, record.ns, record.text, record.url, record.why))
            record.data  # noqa: B018 (text that is no Unicode would raise here)
    except UserError:
        is_refused = True
    tally.refused += is_refused
    tally.compared += 1
    plain = _plain_records(text)
    if seen != plain[: len(seen)] or (not is_refused and len(seen) < len(plain)):
        tally.wrong.append(f"read otherwise than json: {text[:400]!r}")
    # The damage is in one line: what stands before it comes out whatever the line says.
    tally.taken += len(seen)


def _plain_records(text: bytes) -> list[tuple[Any, ...]]:
    """Return the records up to the first that json, or a record's shape, refuses."""
    records = []
    for each in _plain_values(text):
        if not isinstance(each, dict) or not {"k", "ns"} <= set(each):
            break
        values = [each.get(key, kind()) for key, kind in _FIELDS.items()]
        shapes = zip(values, _FIELDS.values(), strict=True)
        if not all(type(value) is kind for value, kind in shapes) or not 0 <= values[1] < 2**63:
            break
        if values[0] in KINDS:
            records.append(tuple(values))
    return records


def _plain_values(text: bytes) -> Iterator[Any]:
    """Yield the values behind the first line, one a line, until a line cannot be read so."""
    for raw in text.split(b"\n")[1:]:
        if not raw:
            continue
        # Bytes that are no UTF-8 may lie in what nobody reads.
        line = raw.decode("utf-8", "replace").strip(" \t\r")
        try:
            value, end = _DECODER.raw_decode(line)
        except (ValueError, RecursionError):
            return
        if end < len(line):
            return
        yield value


def _int(text: str) -> int:
    # Python refuses to read thousands of digits, the reader only where it needs the number.
    return int(text) if len(text) < 100 else 2**64


_DECODER = json.JSONDecoder(parse_int=_int)


class _Pipe(asyncio.Transport):
    """A transport that keeps what is written and knows when it was cut."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0
        self.is_cut = False

    def write(self, data: Any) -> None:
        self.sent += len(data)

    def abort(self) -> None:
        self.is_cut = True

    def is_closing(self) -> bool:
        return self.is_cut

    def get_write_buffer_size(self) -> int:
        return 0


def hunt_commands(seed: int, n_damaged: int, tally: Tally) -> None:
    """Give damaged command frames to connections of the control server."""
    draws = Draws(seed)
    carried: list[AnyCommand] = []

    def handle(command: AnyCommand) -> Reply:
        carried.append(command)
        return Ack(ok=True, text="")

    server = ControlServer(Path("unused.sock"), handle)
    until = tally.damaged + n_damaged
    while tally.damaged < until and not tally.wrong:
        good = [draws.pick(_COMMANDS) for _ in range(draws.below(3))]
        source = frame(draws.pick(_COMMANDS))
        if draws.unit() < 0.2:
            bad = damage_packed(source, frame(draws.pick(_COMMANDS)), draws)
        else:
            body = damage_packed(source[4:], b"", draws)
            bad = len(body).to_bytes(4, "big") + body
        carried.clear()
        tally.damaged += 1
        tally.frames += len(good) + 1
        _judge_commands(server, good, bad, carried, draws, tally)


def _judge_commands(
    server: ControlServer,
    good: list[AnyCommand],
    bad: bytes,
    carried: list[AnyCommand],
    draws: Draws,
    tally: Tally,
) -> None:
    connection, pipe = _Connection(server), _Pipe()
    connection.connection_made(pipe)
    for command in good:
        connection.data_received(frame(command))
    at = draws.below(len(bad) + 1)
    for part in (bad[:at], bad[at:]):
        if part and not pipe.is_cut:
            connection.data_received(part)
    tally.refused += pipe.is_cut
    tally.taken += len(carried)
    tally.compared += 1
    # One chunk at a time comes in, so order is kept; a kill overtakes within a chunk only.
    first = carried[: len(good)]
    if first != good:
        tally.wrong.append(f"whole commands before {bad[:200]!r} became {first!r}"[:600])
    for command in carried[len(good) :]:
        if not any(_says(bad[start:], command) for start in range(len(bad))):
            tally.wrong.append(f"{command!r} was carried out and not in {bad[:200]!r}"[:600])
    if not pipe.is_cut:
        connection.connection_lost(None)
    if len(connection._buffer) > 4 + MAX_MESSAGE:
        tally.wrong.append(f"the buffer kept {len(connection._buffer)} bytes")


def _says(data: bytes, command: AnyCommand) -> bool:
    """Return whether the bytes are a whole frame that says this command, read without types."""
    size = int.from_bytes(data[:4], "big")
    if len(data) < 4 + size:
        return False
    try:
        message = msgspec.msgpack.decode(data[4 : 4 + size])
    except UnicodeDecodeError:
        # In a key that nobody reads, which a reading without types cannot skip.
        return str(type(command).__struct_config__.tag).encode() in data
    except (msgspec.DecodeError, RecursionError):
        return False
    if not isinstance(message, dict) or message.get("c") != type(command).__struct_config__.tag:
        return False
    return all(
        message.get(key, value) == value for key, value in msgspec.structs.asdict(command).items()
    )
