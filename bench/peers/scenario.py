"""What every contender is given: the depth messages of one capture and how its books begin.

Binance books begin with the REST snapshot of the capture and the messages that follow its update
id; Coinbase books with the snapshot frames. Everything up to the last beginning is ``opening``
and never timed. Coinbase frames are numbered anew, so that the book frames alone make a sequence
without gaps: nothing else in them is changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from core.feeds.capture import CaptureReader, Record
from core.model.instrument import Instrument

_SEQUENCE = re.compile(rb'"sequence_num":\d+')
_HEAD = 400
"""Bytes of a frame in which its channel and type stand."""


class Frame(NamedTuple):
    """One message and when the recorder received it."""

    ns: int
    data: bytes


class Scenario(msgspec.Struct, frozen=True):
    """The messages of one capture, split at the point from which all books are known."""

    name: str
    venue: str
    instruments: tuple[Instrument, ...]
    opening: list[Record]
    """Records that make the books live, as the socket would have brought them."""
    snapshots: dict[str, bytes]
    """Binance: body of the last REST snapshot of each symbol."""
    messages: list[Frame]
    """What is measured."""

    def stitched(self) -> Iterator[Frame]:
        """Yield the opening's messages that belong on top of the snapshots, in order.

        Binance: those with a last update id past the snapshot's. Coinbase: all of them.
        """
        ids = {name: json.loads(body)["lastUpdateId"] for name, body in self.snapshots.items()}
        for record in self.opening:
            if record.kind != "recv":
                continue
            if ids:
                event = json.loads(record.text)["data"]
                if event["u"] <= ids[event["s"]]:
                    continue
            yield Frame(record.ns, record.data)


def load(path: Path, limit: int) -> Scenario:
    """Read a Binance or Coinbase capture.

    Errors: ``CaptureError``; ``ValueError`` for a capture without depth messages or snapshots.
    """
    reader = CaptureReader(path)
    meta = reader.meta
    if meta.venue == "binance":
        records, begins = _binance(reader)
    elif meta.venue == "coinbase":
        records, begins = _coinbase(reader)
    else:
        raise ValueError(f"captures of {meta.venue} are not measured here")
    if not begins or begins[-1] == len(records) - 1:
        raise ValueError("the capture has no snapshot, or no depth message after it")
    snapshots = {
        re.sub(r".*symbol=(\w+).*", r"\1", records[at].url): records[at].data
        for at in begins
        if records[at].kind == "http"
    }
    rest = records[begins[-1] + 1 :]
    messages = [Frame(one.ns, one.data) for one in rest if one.kind == "recv"][:limit]
    opening = records[: begins[-1] + 1]
    return Scenario(path.name, meta.venue, meta.instruments, opening, snapshots, messages)


def _binance(reader: CaptureReader) -> tuple[list[Record], list[int]]:
    """Return depth frames and snapshots in order, and where the snapshots lie."""
    kept: list[Record] = []
    begins: list[int] = []
    for record in reader:
        if record.kind == "http" and "/depth?" in record.url:
            begins.append(len(kept))
        elif record.kind != "open" and not (
            record.kind == "recv" and "@depth" in record.text[:_HEAD].partition('","data"')[0]
        ):
            continue
        kept.append(record)
    return kept, begins


def _coinbase(reader: CaptureReader) -> tuple[list[Record], list[int]]:
    """Return book frames in order, numbered from 0, and where the snapshots lie."""
    kept: list[Record] = []
    begins: list[int] = []
    number = 0
    for record in reader:
        if record.kind == "recv":
            head = record.text[:_HEAD]
            if '"channel":"l2_data"' not in head:
                continue
            if '"type":"snapshot"' in head:
                begins.append(len(kept))
            data = _SEQUENCE.sub(b'"sequence_num":%d' % number, record.data, count=1)
            kept.append(Record("recv", record.ns, data.decode()))
            number += 1
        elif record.kind == "open":
            kept.append(record)
    return kept, begins
