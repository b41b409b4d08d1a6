"""Everything that is counted of feeds, sockets, tape and clients, in words.

The screen's sheet and ``status`` show the same lines. Reads a snapshot and nothing else.
"""

from __future__ import annotations

from core.clock import short_time
from core.model.market import FeedState
from core.snapshot import ConnectionView, InstrumentView, RecordingView, Snapshot

UNKNOWN = "—"
NAME_CELLS = 13


def feed_lines(snapshot: Snapshot | None) -> list[str]:
    """Return one line or more for each: venues, instruments, recordings, clients."""
    if snapshot is None:
        return ["no picture from the engine yet"]
    lines: list[str] = []
    for connection in snapshot.connections:
        lines += [*_connection(connection, snapshot), ""]
    # What is not live comes first: of ten instruments it is the one that is looked for.
    for view in sorted(snapshot.instruments, key=lambda one: one.feed.state is FeedState.LIVE):
        lines += _instrument(view)
    lines += ["", *_recording(snapshot.recording)]
    clients = snapshot.clients
    lines.append(
        _row("clients", f"cut off: {clients.slow} slow, {clients.displaced} displaced; "
             f"{clients.bad_frames} bad frames")
    )  # fmt: skip
    return lines


def _row(name: str, text: str) -> str:
    return f"{name:<{NAME_CELLS}} {text}"


def _connection(view: ConnectionView, snapshot: Snapshot) -> list[str]:
    # One rate for all venues: frames are counted together.
    rate = UNKNOWN if snapshot.frames_per_s is None else f"{snapshot.frames_per_s:,.1f}/s"
    both = " all venues" if len(snapshot.connections) > 1 else ""
    lines = [
        _row(view.venue, _socket(view)),
        _row("  frames", f"{view.frames:,} ({rate}{both}), refused {view.refused:,}, "
             f"ignored {view.ignored:,}"),
        _row("  lost", f"gaps {view.gaps:,}, trades {view.trades_lost:,}, "
             f"heartbeats {view.heartbeats_lost:,}; resyncs {view.resyncs:,}"),
        _row("  checks", f"{view.checks:,} best prices compared, {view.checks_failed:,} differed"),
    ]  # fmt: skip
    if view.last_error:
        lines.append(_row("  last error", view.last_error))
    return lines


def _socket(view: ConnectionView) -> str:
    if not view.has_socket:
        return "no socket: replay or simulated market"
    state = "connected" if view.is_connected else f"not connected, {view.attempts} attempts"
    if view.next_attempt_ms is not None:
        state += f", next in {short_time(view.next_attempt_ms)}"
    handed = f", {view.handovers} handed over" if view.handovers else ""
    failed = f", {view.handovers_failed} not" if view.handovers_failed else ""
    fetched = f"; {view.fetches} fetches, {view.fetch_failures} failed" if view.fetches else ""
    return f"{state}; {view.connects} connections{handed}{failed}{fetched}"


def _instrument(view: InstrumentView) -> list[str]:
    feed = view.feed
    since = "" if feed.since_ms is None else f" {short_time(feed.since_ms)}"
    age = UNKNOWN if feed.age_ms is None else short_time(feed.age_ms)
    lag = UNKNOWN if feed.latency_ms is None else f"{feed.latency_ms:,.0f} ms"
    counts = f"trades {feed.trades:,}, crossed {feed.crossed:,}"
    lines = [_row(view.name, f"{feed.state.value}{since}, age {age}, lag {lag}, {counts}")]
    if feed.reason:
        lines.append(_row("  because", feed.reason))
    if feed.causes:
        lines.append(_row("  changes", ", ".join(f"{k} {n:,}" for k, n in feed.causes.items())))
    if feed.bids_known_to is not None or feed.asks_known_to is not None:
        bids, asks = feed.bids_known_to or "the end", feed.asks_known_to or "the end"
        lines.append(_row("  book", f"known from {bids} to {asks}; unknown beyond"))
    if feed.unseen_s is not None:
        how_long = short_time(feed.unseen_s * 1000)
        words = f"not numbered by the venue: a lost level may stay unseen for {how_long}"
        lines.append(_row("  unproven", words))
    if feed.floored:
        lines.append(_row("  off lot", f"{feed.floored:,} quantities taken down to whole lots"))
    return lines


def _recording(view: RecordingView | None) -> list[str]:
    if view is None:
        return [_row("tape", "none: a replay keeps nothing")]
    recording = "recording" if view.is_recording else "not recording"
    lines = [
        _row("tape", f"{view.tape_rows:,} rows in {_size(view.tape_bytes)}, "
             f"lost {view.tape_rows_lost:,}; all tapes {_size(view.tapes_bytes)} "
             f"of {_size(view.tapes_bound)}"),
        _row("capture", f"{recording}, {view.records:,} records, dropped "
             f"{view.records_dropped:,}; all captures {_size(view.captures_bytes)} "
             f"of {_size(view.captures_bound)}"),
    ]  # fmt: skip
    if view.files_removed:
        lines.append(_row("bounds", f"{view.files_removed:,} oldest files removed by this run"))
    if view.trouble:
        lines.append(_row("TROUBLE", view.trouble))
    return lines


def _size(n_bytes: int) -> str:
    if n_bytes >= 10**9:
        return f"{n_bytes / 1e9:.1f} GB"
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 10**6 else f"{n_bytes / 1e3:.1f} kB"
