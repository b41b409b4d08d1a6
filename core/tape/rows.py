"""Packs MarketState rows for the tape and unpacks them, bit for bit.

Each column becomes differences between neighbours (rows of one instrument stand together), each
difference a count of its bits and the bits below the first one; the counts are deflated. Nothing
is rounded. Columns that follow from others are stored as their distance from what follows: 0.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping

import numpy as np

from core.model.market import MARKET_STATE

ROWS_MAX = 4096
"""Rows packed at a time; unpacking takes about 1 KiB of memory a row."""

_HEAD = struct.Struct("<BI")
"""How ``ts_event_ns`` is stored, and the bytes of the deflated bit counts."""
_LAG = 255
"""Event times are stored as receive time less event time, not as multiples of a power of ten."""
_EXPONENTS = (9, 6, 3, 0)
"""Powers of ten tried as the unit of a venue's event times: seconds, ms, us, ns."""
_NAMES = MARKET_STATE.names or ()
_TIMES = ("ts_recv_ns", "ts_event_ns", "instrument")
_PLAIN = tuple(name for name in _NAMES if name not in _TIMES)
_N_COLUMNS = len(_NAMES)
_PLACES = np.arange(64, dtype=np.int16)
"""Places of the bits of a column's number, the highest first."""
_RAW_DEFLATE = -15


class BadRows(Exception):
    """Bytes that no ``pack_rows`` made."""


def pack_rows(rows: np.ndarray) -> bytes:
    """Return MARKET_STATE[n] packed, n from 1 to ``ROWS_MAX``."""
    order = np.argsort(rows["instrument"], kind="stable")
    together = rows[order]
    columns = {name: _as_int64(together[name]) for name in _NAMES}
    event, mode = _event_steps(columns)
    steps = [_steps(_steps(rows["ts_recv_ns"])), event, _steps(_as_int64(rows["instrument"]))]
    for name in _PLAIN:
        if name in _FOLLOWS:
            steps.append(columns[name] - _FOLLOWS[name](columns))
        else:
            steps.append(_steps(columns[name] - _beside(columns, name)))
    bits_of = _zigzag(np.concatenate(steps))
    counts = _bit_counts(bits_of)
    deflated = _deflate(counts.tobytes())
    places = np.unpackbits(bits_of.astype(">u8").view(np.uint8)).reshape(-1, 64)
    below_first = _below_first(counts)
    return _HEAD.pack(mode, len(deflated)) + deflated + np.packbits(places[below_first]).tobytes()


def unpack_rows(data: bytes, count: int) -> np.ndarray:
    """Return the ``count`` rows that were packed, MARKET_STATE[count]. Errors: ``BadRows``."""
    if len(data) < _HEAD.size or not 0 < count <= ROWS_MAX:
        raise BadRows(f"{len(data)} bytes for {count} rows")
    mode, size = _HEAD.unpack_from(data)
    counts = _inflate(data[_HEAD.size : _HEAD.size + size], count * _N_COLUMNS)
    below_first = _below_first(counts)
    wanted = int(below_first.sum())
    packed = np.frombuffer(data, np.uint8, offset=min(len(data), _HEAD.size + size))
    if len(packed) != -(-wanted // 8):
        raise BadRows(f"{len(packed)} bytes for {wanted} bits")
    places = np.zeros((len(counts), 64), np.uint8)
    places[below_first] = np.unpackbits(packed, count=wanted)
    has_first = np.flatnonzero(counts)
    places[has_first, 64 - counts[has_first].astype(np.int16)] = 1
    bits_of = np.packbits(places).view(">u8").astype(np.uint64)
    return _rows_of(_unzigzag(bits_of).reshape(_N_COLUMNS, count), mode)


def _rows_of(steps: np.ndarray, mode: int) -> np.ndarray:
    rows = np.zeros(steps.shape[1], MARKET_STATE)
    received = np.cumsum(np.cumsum(steps[0]))
    instrument = np.cumsum(steps[2])
    order = np.argsort(instrument, kind="stable")
    columns = {"ts_recv_ns": received[order], "instrument": instrument[order]}
    columns["ts_event_ns"] = _event_times(np.cumsum(steps[1]), mode, columns["ts_recv_ns"])
    late = []
    for name, own in zip(_PLAIN, steps[len(_TIMES) :], strict=True):
        if name in _FOLLOWS:
            late.append((name, own))
        else:
            columns[name] = np.cumsum(own) + _beside(columns, name)
    for name, own in late:
        columns[name] = own + _FOLLOWS[name](columns)
    for name in _NAMES:
        is_float = MARKET_STATE[name].kind == "f"
        rows[name][order] = columns[name].view(np.float64) if is_float else columns[name]
    return rows


# --- columns -------------------------------------------------------------------------------------


def _as_int64(column: np.ndarray) -> np.ndarray:
    """Return integers as they are and floats as their bits."""
    if column.dtype.kind == "f":
        return np.ascontiguousarray(column).view(np.int64)
    return column.astype(np.int64)


def _steps(column: np.ndarray) -> np.ndarray:
    """Return first the value, then each one less the one before, modulo 2**64."""
    return np.diff(column, prepend=np.int64(0))


def _event_steps(columns: Mapping[str, np.ndarray]) -> tuple[np.ndarray, int]:
    """Return event times as the shorter of two: steps in the venue's unit, or lags behind us."""
    event = columns["ts_event_ns"]
    exponent = next(e for e in _EXPONENTS if not np.any(event % 10**e))
    own = _steps(event // 10**exponent)
    lag = _steps(columns["ts_recv_ns"] - event)
    if _bit_counts(_zigzag(lag)).sum(dtype=np.int64) < _bit_counts(_zigzag(own)).sum(
        dtype=np.int64
    ):
        return lag, _LAG
    return own, exponent


def _event_times(summed: np.ndarray, mode: int, received: np.ndarray) -> np.ndarray:
    if mode != _LAG and mode not in _EXPONENTS:
        raise BadRows(f"event times in mode {mode}")
    times: np.ndarray = received - summed if mode == _LAG else summed * 10**mode
    return times


def _beside(columns: Mapping[str, np.ndarray], name: str) -> np.ndarray | int:
    """Return the earlier column that ``name`` moves with; its distance from it is stored."""
    return columns[_BESIDE[name]] if name in _BESIDE else 0


def _weighted_mid(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    bid, ask = columns["bid_ticks"], columns["ask_ticks"]
    bid_lots, ask_lots = columns["bid_lots"], columns["ask_lots"]
    best = bid_lots + ask_lots
    is_whole = (bid != 0) & (ask != 0) & (best != 0)
    return _quotient(bid * ask_lots + ask * bid_lots, best, is_whole)


def _imbalance_l1(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    bid_lots, ask_lots = columns["bid_lots"], columns["ask_lots"]
    return _quotient(bid_lots - ask_lots, bid_lots + ask_lots, bid_lots + ask_lots != 0)


def _imbalance_l10(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    bid_lots, ask_lots = columns["depth_bid_lots"], columns["depth_ask_lots"]
    return _quotient(bid_lots - ask_lots, bid_lots + ask_lots, bid_lots + ask_lots != 0)


def _quotient(above: np.ndarray, below: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return the bits of ``above / below``: one rounding, the same on every machine."""
    out = np.zeros(len(above), np.float64)
    np.divide(above, below, out=out, where=where)
    return out.view(np.int64)


_BESIDE = {
    "ask_ticks": "bid_ticks",
    "depth_bid_lots": "bid_lots",
    "depth_ask_lots": "ask_lots",
}
_FOLLOWS: Mapping[str, Callable[[Mapping[str, np.ndarray]], np.ndarray]] = {
    "weighted_mid_ticks": _weighted_mid,
    "imbalance_l1": _imbalance_l1,
    "imbalance_l10": _imbalance_l10,
}
"""What ``core.market_row`` computes from integers of the same row."""


# --- bits ----------------------------------------------------------------------------------------


def _zigzag(steps: np.ndarray) -> np.ndarray:
    """Return small unsigned numbers for numbers near 0, int64[n] to uint64[n]."""
    return ((steps << 1) ^ (steps >> 63)).view(np.uint64)


def _unzigzag(numbers: np.ndarray) -> np.ndarray:
    return (numbers >> np.uint64(1)).view(np.int64) ^ -(numbers & np.uint64(1)).view(np.int64)


def _bit_counts(numbers: np.ndarray) -> np.ndarray:
    """Return the place of each number's first bit, 1 for the lowest, 0 for none, uint8[n]."""
    high = numbers >> np.uint64(32)
    # Halves of 32 bits are exact as floats, whole numbers are not.
    halves = np.where(high > 0, high, numbers & np.uint64(0xFFFF_FFFF)).astype(np.float64)
    counts = np.frexp(halves)[1] + np.where(high > 0, 32, 0)
    return counts.astype(np.uint8)


def _below_first(counts: np.ndarray) -> np.ndarray:
    """Return which places stand below each number's first bit, bool[n, 64]."""
    begins = 65 - counts.astype(np.int16)
    return begins[:, None] <= _PLACES


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, _RAW_DEFLATE, 9)
    return packer.compress(data) + packer.flush()


def _inflate(data: bytes, wanted: int) -> np.ndarray:
    unpacker = zlib.decompressobj(_RAW_DEFLATE)
    try:
        plain = unpacker.decompress(data, wanted + 1)
    except zlib.error as error:
        raise BadRows(str(error)) from error
    counts = np.frombuffer(plain, np.uint8)
    if len(counts) != wanted or not unpacker.eof or counts.max() > 64:
        raise BadRows(f"{len(counts)} bit counts for {wanted}")
    return counts
