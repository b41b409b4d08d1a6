"""Metrics for Prometheus, read from the newest snapshot when they are scraped.

Nothing is on the hot path: ``update`` keeps a reference once a second, and the text is made by
the scrape, in the server's own thread. What the snapshot does not know is absent, never zero.
P&L becomes float here: for dashboards, not for accounts.

The endpoint is off by default, read-only, without CORS, and listens on 127.0.0.1 only; there is
no option for more. The ``Host`` header is checked, so that a web page cannot read it through a
name that it rebinds to 127.0.0.1.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from socketserver import TCPServer
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from typing_extensions import override

from core.clock import NS_PER_S
from core.errors import UserError
from core.model.market import FeedState
from core.snapshot import InstrumentView, RecordingView, Snapshot

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

LOOPBACK = "127.0.0.1"
REQUEST_S = 2.0
"""One request at a time, each at most this long without a byte."""
POLL_S = 0.1
"""How long the end of the server may wait for its thread."""


_COUNTS = (
    ("frames", "Frames received"),
    ("refused", "Frames that could not be used"),
    ("ignored", "Well-formed messages of a kind that is not used"),
    ("gaps", "Sequence gaps"),
    ("resyncs", "Times a book became live again"),
    ("checks", "Best prices compared with an independent message"),
    ("checks_failed", "Best prices that differed from it"),
    ("trades_lost", "Trades that the venue numbered and that never came"),
    ("heartbeats_lost", "Heartbeats that the venue numbered and that never came"),
)
"""Fields of ``ConnectionView`` that are counters by venue."""


class Metrics:
    """The newest snapshot as Prometheus metrics, all named ``tapewright_*``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.snapshot: Snapshot | None = None
        self.orders: dict[str, int] = {}
        """Orders that reached each status since the start."""
        self.drawdown: float | None = None
        """Fall of total P&L from its peak in this run, quote currency, at least 0."""
        self._peak = 0.0
        self.registry.register(_Collector(self))

    def update(self, snapshot: Snapshot, orders: Mapping[str, int] | None = None) -> None:
        """Take the newest snapshot; cheap, meant for once a second.

        ``orders`` counts those that reached each status since the start: the snapshot shows only
        the orders of now.
        """
        if snapshot.pnl.total is not None:
            total = float(snapshot.pnl.total)
            self._peak = max(self._peak, total)
            self.drawdown = self._peak - total
        if orders is not None:
            # A new dict: the scrape's thread may be reading the old one.
            self.orders = dict(orders)
        self.snapshot = snapshot

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Collector(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    @override
    def collect(self) -> Iterable[Metric]:
        yield from _orders(self._metrics.orders)
        snapshot = self._metrics.snapshot
        if snapshot is None:
            return
        yield from _money(snapshot, self._metrics.drawdown)
        yield from _health(snapshot)
        yield from _feeds(snapshot.instruments)
        yield from _connections(snapshot)
        yield from _recording(snapshot.recording)
        yield from _markets(snapshot.instruments)


def _orders(orders: dict[str, int]) -> Iterator[Metric]:
    family = CounterMetricFamily(
        "tapewright_orders", "Orders that reached a status since the start", labels=["status"]
    )
    for status in sorted(orders):
        family.add_metric([status], orders[status])
    yield family


def _money(snapshot: Snapshot, drawdown: float | None) -> Iterator[Metric]:
    pnl = snapshot.pnl
    for name, text, value in (
        ("pnl_realized", "Realized P&L, fees included", pnl.realized),
        ("pnl_unrealized", "Unrealized P&L at the mark", pnl.unrealized),
        ("exposure", "Signed notional of all positions at the mark", pnl.exposure),
        ("drawdown", "Fall of total P&L from its peak in this run", drawdown),
    ):
        family = GaugeMetricFamily(
            f"tapewright_{name}", f"{text}, quote currency", labels=["currency"]
        )
        if value is not None:
            family.add_metric([pnl.currency], float(value))
        yield family


def _health(snapshot: Snapshot) -> Iterator[Metric]:
    health = snapshot.health
    for name, text, value in (
        ("kill_halted", "1 while the kill latch holds", float(snapshot.risk.is_halted)),
        ("ledger_seq", "Sequence number of the newest ledger event", health.ledger_seq),
        ("queue_depth", "Orders and cancels waiting for the broker", health.queue_depth),
        ("queue_bound", "Most events that may wait", health.queue_bound),
        ("queue_age_seconds", "Waiting of the oldest order", health.queue_waiting_ms / 1000),
        ("queue_longest_seconds", "Longest wait of an order", health.queue_longest_ms / 1000),
        ("queue_deepest", "Most events that ever waited", health.queue_deepest),
        ("queue_refused", "Orders denied for a full queue", health.queue_refused),
        ("queue_overtaken", "Cancels that went before an order", health.queue_overtaken),
        ("fills_repeated", "Fills told again and counted once", health.fills_repeated),
        ("orders_in_doubt", "Orders the venue is asked about", health.orders_in_doubt),
        ("differences", "Where the broker says other than we", len(snapshot.risk.differences)),
        ("open_orders", "Orders that are working now", len(snapshot.orders)),
        ("snapshot_time_seconds", "Unix time of these values", snapshot.made_ns / NS_PER_S),
    ):
        yield GaugeMetricFamily(f"tapewright_{name}", text, value=value)
    latency = GaugeMetricFamily(
        "tapewright_decision_latency_seconds",
        "Market message to decision inside the engine, by quantile",
        labels=["quantile"],
    )
    for quantile, micros in (("0.5", health.decision_us_p50), ("0.99", health.decision_us_p99)):
        if micros is not None:
            latency.add_metric([quantile], micros / 1e6)
    yield latency


def _feeds(instruments: tuple[InstrumentView, ...]) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "tapewright_feed_state", "1 for the state the feed is in", labels=["instrument", "state"]
    )
    latency = GaugeMetricFamily(
        "tapewright_feed_latency_seconds",
        "Our receive time minus the venue's time of the last message (clocks differ)",
        labels=["instrument"],
    )
    changes = CounterMetricFamily(
        "tapewright_feed_changes",
        "Changes of the feed's state or its reason since the start, by cause",
        labels=["instrument", "cause"],
    )
    for view in instruments:
        for known in FeedState:
            state.add_metric([view.name, known.value], float(view.feed.state == known))
        if view.feed.latency_ms is not None:
            latency.add_metric([view.name], view.feed.latency_ms / 1e3)
        for cause, count in view.feed.causes.items():
            changes.add_metric([view.name, cause], count)
    yield from (state, latency, changes)


def _markets(instruments: tuple[InstrumentView, ...]) -> Iterator[Metric]:
    volatility = GaugeMetricFamily(
        "tapewright_volatility_bps",
        "Standard deviation of one-second mid returns, bps",
        labels=["instrument"],
    )
    probability = GaugeMetricFamily(
        "tapewright_forecast_probability",
        "Probability that the mid is higher after the horizon, given that it moves",
        labels=["instrument", "horizon"],
    )
    skill = GaugeMetricFamily(
        "tapewright_signal_skill",
        "Rolling Brier skill of the forecast over the base rate",
        labels=["instrument", "horizon"],
    )
    entropy = GaugeMetricFamily(
        "tapewright_policy_entropy", "Entropy of the agent's view, 0 to 1", labels=["instrument"]
    )
    for view in instruments:
        if view.volatility_bps is not None:
            volatility.add_metric([view.name], view.volatility_bps)
        for forecast in view.forecasts:
            where = [view.name, f"{forecast.horizon_s}s"]
            probability.add_metric(where, forecast.p_up)
            if forecast.skill is not None:
                skill.add_metric(where, forecast.skill)
        if view.agent is not None:
            entropy.add_metric([view.name], view.agent.entropy)
    yield from (volatility, probability, skill, entropy)


def _connections(snapshot: Snapshot) -> Iterator[Metric]:
    for name, text in _COUNTS:
        family = CounterMetricFamily(
            f"tapewright_feed_{name}", f"{text}, since the start", labels=["venue"]
        )
        for view in snapshot.connections:
            family.add_metric([view.venue], getattr(view, name))
        yield family
    connected = GaugeMetricFamily(
        "tapewright_feed_connected", "1 while the venue's socket is up", labels=["venue"]
    )
    connects = CounterMetricFamily(
        "tapewright_feed_connects", "Connections made since the start", labels=["venue"]
    )
    for view in snapshot.connections:
        if view.has_socket:
            connected.add_metric([view.venue], float(view.is_connected))
            connects.add_metric([view.venue], view.connects)
    yield from (connected, connects)
    cut = CounterMetricFamily(
        "tapewright_clients_cut", "Clients cut off at the control socket", labels=["why"]
    )
    cut.add_metric(["slow"], snapshot.clients.slow)
    cut.add_metric(["displaced"], snapshot.clients.displaced)
    yield cut


def _recording(view: RecordingView | None) -> Iterator[Metric]:
    if view is None:
        return
    for name, text, count in (
        ("tape_rows", "Rows on the tape", view.tape_rows),
        ("tape_rows_lost", "Rows that no tape took", view.tape_rows_lost),
        ("records", "Records in the capture", view.records),
        ("records_dropped", "Records that no capture took", view.records_dropped),
        ("files_removed", "Recordings removed to keep the disk bound", view.files_removed),
    ):
        yield CounterMetricFamily(f"tapewright_{name}", f"{text}, in this run", value=count)
    disk = GaugeMetricFamily(
        "tapewright_disk_bytes", "Bytes of recordings of all runs, as measured", labels=["kind"]
    )
    disk.add_metric(["tape"], view.tapes_bytes)
    disk.add_metric(["capture"], view.captures_bytes)
    yield disk


class MetricsServer:
    """``GET /metrics`` on 127.0.0.1, in a thread of its own; use it as a context manager.

    ``port`` 0 takes a free one (tests); the setting ``[metrics] port = 0`` means off and is the
    caller's to honour: see ``start_metrics``.
    """

    def __init__(self, metrics: Metrics, port: int) -> None:
        try:
            self._server = _Server((LOOPBACK, port), _Handler)
        except OSError as error:
            raise UserError(
                f"[metrics] port was {port}, which cannot be opened on {LOOPBACK} "
                f"({error.strerror}); choose another, or 0 for none"
            ) from error
        self.port: int = self._server.server_port
        self._metrics = metrics
        self._server.set_app(self._answer)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_S,), name="metrics", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        status, body = self._page(environ)
        start(status, [("Content-Type", CONTENT_TYPE_LATEST), ("Content-Length", str(len(body)))])
        return [body]

    def _page(self, environ: WSGIEnvironment) -> tuple[str, bytes]:
        allowed = {f"{name}:{self.port}" for name in (LOOPBACK, "localhost")}
        if environ.get("HTTP_HOST", "") not in allowed:
            return "421 Misdirected Request", b"ask for 127.0.0.1 by its own name\n"
        if environ["REQUEST_METHOD"] != "GET":
            return "405 Method Not Allowed", b"only GET\n"
        if environ["PATH_INFO"] != "/metrics":
            return "404 Not Found", b"only /metrics\n"
        return "200 OK", self._metrics.text()


def start_metrics(metrics: Metrics, port: int) -> AbstractContextManager[object]:
    """Return a server for the setting ``[metrics] port``; for 0, which is off, one that does none.

    Errors: ``UserError`` when the port cannot be opened.
    """
    return MetricsServer(metrics, port) if port else nullcontext()


class _Server(WSGIServer):
    @override
    def server_bind(self) -> None:
        # The library's own asks the resolver for our name, which can take seconds without a net.
        TCPServer.server_bind(self)
        self.server_name = LOOPBACK
        self.server_port = self.server_address[1]
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    timeout: ClassVar[float | None] = REQUEST_S

    @override
    def log_message(self, format: str, *args: object) -> None:
        # Scrapes are no news, and the terminal belongs to the screen.
        del format, args
