from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.errors import UserError
from core.metrics import Metrics, MetricsServer, start_metrics
from core.snapshot import Snapshot
from tests.core.sample import SNAPSHOT

Labels = tuple[tuple[str, str], ...]


def read(metrics: Metrics) -> dict[tuple[str, Labels], float]:
    """Return value by name and labels, as Prometheus itself would parse the text."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def seen(snapshot: Snapshot, name: str, **labels: str) -> float | None:
    metrics = Metrics()
    metrics.update(snapshot)
    return read(metrics).get((f"tapewright_{name}", tuple(sorted(labels.items()))))


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("pnl_realized", {"currency": "USD"}, -1.25),
        ("pnl_unrealized", {"currency": "USD"}, 0.5),
        ("exposure", {"currency": "USD"}, 500.0),
        ("drawdown", {"currency": "USD"}, 0.75),
        ("volatility_bps", {"instrument": "SIM-USD"}, 1.75),
        ("forecast_probability", {"instrument": "SIM-USD", "horizon": "5s"}, 0.58),
        ("signal_skill", {"instrument": "SIM-USD", "horizon": "5s"}, 0.012),
        ("policy_entropy", {"instrument": "SIM-USD"}, 0.93),
        ("feed_latency_seconds", {"instrument": "SIM-USD"}, 0.0125),
        ("feed_state", {"instrument": "SIM-USD", "state": "live"}, 1.0),
        ("feed_state", {"instrument": "SIM-USD", "state": "stale"}, 0.0),
        ("feed_state", {"instrument": "NEW-USD", "state": "connecting"}, 1.0),
        ("feed_gaps_total", {"venue": "sim"}, 3.0),
        ("feed_changes_total", {"instrument": "SIM-USD", "cause": "gap"}, 3.0),
        ("feed_checks_failed_total", {"venue": "sim"}, 5.0),
        ("feed_connects_total", {"venue": "sim"}, 8.0),
        ("clients_cut_total", {"why": "displaced"}, 3.0),
        ("tape_rows_lost_total", {}, 11.0),
        ("records_dropped_total", {}, 12.0),
        ("disk_bytes", {"kind": "tape"}, 5e6),
        ("decision_latency_seconds", {"quantile": "0.5"}, 55e-6),
        ("decision_latency_seconds", {"quantile": "0.99"}, 210e-6),
        ("kill_halted", {}, 0.0),
        ("ledger_seq", {}, 42.0),
        ("queue_depth", {}, 2.0),
        ("queue_bound", {}, 4096.0),
        ("open_orders", {}, 1.0),
        ("snapshot_time_seconds", {}, 1_767_268_860.0),
    ],
)
def test_value_of_the_snapshot_is_found(name: str, labels: dict[str, str], value: float) -> None:
    assert seen(SNAPSHOT, name, **labels) == pytest.approx(value)


@pytest.mark.parametrize(
    "name", ["volatility_bps", "policy_entropy", "feed_latency_seconds", "forecast_probability"]
)
def test_what_is_not_known_is_absent(name: str) -> None:
    metrics = Metrics()
    metrics.update(SNAPSHOT)
    labels = [dict(labels) for (found, labels) in read(metrics) if found == f"tapewright_{name}"]
    assert [label["instrument"] for label in labels] == ["SIM-USD"]


def test_unknown_money_is_absent_and_never_zero() -> None:
    pnl = msgspec.structs.replace(SNAPSHOT.pnl, unrealized=None, total=None, exposure=None)
    unmarked = msgspec.structs.replace(SNAPSHOT, pnl=pnl)
    for name in ("pnl_unrealized", "exposure", "drawdown"):
        assert seen(unmarked, name, currency="USD") is None
    assert seen(unmarked, "pnl_realized", currency="USD") == -1.25


def test_halt_is_shown() -> None:
    risk = msgspec.structs.replace(SNAPSHOT.risk, is_halted=True)
    assert seen(msgspec.structs.replace(SNAPSHOT, risk=risk), "kill_halted") == 1.0


def test_before_the_first_snapshot_there_is_nothing() -> None:
    assert read(Metrics()) == {}


def test_drawdown_is_from_the_peak_of_the_run() -> None:
    metrics = Metrics()
    falls = []
    for total in ("-3", "5", "2.5", "9", "9", "8"):
        pnl = msgspec.structs.replace(SNAPSHOT.pnl, total=total)
        metrics.update(msgspec.structs.replace(SNAPSHOT, pnl=pnl))
        falls.append(metrics.drawdown)
    assert falls == [3.0, 0.0, 2.5, 0.0, 0.0, 1.0]


def test_orders_are_counted_by_status() -> None:
    metrics = Metrics()
    counts = {"FILLED": 2, "DENIED": 1}
    metrics.update(SNAPSHOT, counts)
    counts["FILLED"] = 99
    values = read(metrics)
    assert values[("tapewright_orders_total", (("status", "FILLED"),))] == 2
    assert values[("tapewright_orders_total", (("status", "DENIED"),))] == 1


def test_hostile_instrument_name_stays_a_label() -> None:
    name = 'x"} 1\ntapewright_kill_halted 1'
    hostile = msgspec.structs.replace(SNAPSHOT.instruments[0], name=name)
    snapshot = msgspec.structs.replace(SNAPSHOT, instruments=(hostile,))
    assert seen(snapshot, "kill_halted") == 0.0
    assert seen(snapshot, "volatility_bps", instrument=name) == 1.75


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    metrics = Metrics()
    metrics.update(SNAPSHOT)
    with MetricsServer(metrics, 0) as server:
        yield server


def ask(
    server: MetricsServer, host: str | None, path: str = "/metrics", method: str = "GET"
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.putrequest(method, path, skip_host=True)
        if host is not None:
            connection.putheader("Host", host.format(port=server.port))
        connection.endheaders()
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}"])
def test_scrape_gives_the_metrics(server: MetricsServer, host: str) -> None:
    status, body = ask(server, host)
    assert status == 200
    assert b"tapewright_ledger_seq 42.0" in body


@pytest.mark.parametrize(
    "host",
    [None, "", "127.0.0.1", "evil.example:{port}", "127.0.0.1:1", "127.0.0.1.evil.example:{port}"],
)
def test_other_host_names_get_nothing(server: MetricsServer, host: str | None) -> None:
    status, body = ask(server, host)
    assert status == 421
    assert b"tapewright_" not in body


def test_other_paths_and_methods_get_nothing(server: MetricsServer) -> None:
    assert ask(server, "127.0.0.1:{port}", path="/")[0] == 404
    assert ask(server, "127.0.0.1:{port}", method="POST")[0] == 405


def test_server_listens_on_loopback_alone(server: MetricsServer) -> None:
    # The kernel's own table: local address of each listening socket, little-endian hex; proc(5).
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f"{server.port:04X}")]
    assert listening == [f"0100007F:{server.port:04X}"]


def test_port_is_free_again_after_the_end() -> None:
    with MetricsServer(Metrics(), 0) as server:
        port = server.port
    with MetricsServer(Metrics(), port) as again:
        assert again.port == port


def test_port_zero_is_off_and_another_is_served() -> None:
    with start_metrics(Metrics(), 0) as nothing:
        assert nothing is None
    with MetricsServer(Metrics(), 0) as server:
        port = server.port
    with start_metrics(Metrics(), port) as served:
        assert isinstance(served, MetricsServer)


def test_taken_port_is_the_users_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"\[metrics\] port was {port}.*0 for none"):
            MetricsServer(Metrics(), port)
