"""Replay from the command line: the same tape gives the same ledger, and the ledger adds up."""

from __future__ import annotations

import csv
import gzip
import io
import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests.journeys.program import CAPTURES, practice, sim_capture, tapewright

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sim_capture(tmp_path_factory.mktemp("capture") / "sim.jsonl.gz", seconds=150)


def replay(capture: Path, state: Path, config: Path, *more: str) -> None:
    done = tapewright(
        "replay", capture, "--headless", "--mode", "auto", "--seed", "7",
        "--state", state, "--config", config, *more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def fills_of(state: Path) -> list[dict[str, str]]:
    text = tapewright("ledger", "export", "--table", "fills", "--format", "csv", "--out", "-",
                      "--state", state).stdout  # fmt: skip
    return list(csv.DictReader(io.StringIO(text)))


def test_the_same_tape_and_seed_give_the_same_ledger_head(capture: Path, tmp_path: Path) -> None:
    config = practice(tmp_path)
    heads = []
    for name in ("a", "b"):
        replay(capture, tmp_path / name, config)
        heads.append(tapewright("ledger", "head", "--state", tmp_path / name).stdout)
    assert heads[0] == heads[1]
    assert json.loads(heads[0])["seq"] > 20
    verified = tapewright("ledger", "verify", "--state", tmp_path / "a")
    assert verified.returncode == 0
    assert verified.stdout.startswith("ok")


def test_the_exported_fills_add_up_to_the_profit_in_the_status(
    capture: Path, tmp_path: Path
) -> None:
    """Cash flow of all fills = sum of realized_pnl, when the position is flat at the end."""
    state = tmp_path / "state"
    replay(capture, state, practice(tmp_path))
    rows = fills_of(state)
    assert len(rows) > 4
    position = Decimal(0)
    cash = realized_when_flat = Decimal(0)
    realized = Decimal(0)
    for row in rows:
        sign = 1 if row["side"] == "BUY" else -1
        position += sign * Decimal(row["quantity"])
        cash -= sign * Decimal(row["notional"]) + Decimal(row["fee"])
        realized += Decimal(row["realized_pnl"])
        if position == 0:
            realized_when_flat = realized
            assert realized == cash
    assert realized_when_flat != 0
    assert all(row["rationale"] for row in rows)


def test_a_decision_is_explained_in_words(capture: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    replay(capture, state, practice(tmp_path))
    row = fills_of(state)[0]
    told = tapewright("ledger", "explain", row["decision_id"], "--state", state)
    assert told.returncode == 0
    assert row["price"] in told.stdout
    assert "P(up)" in told.stdout


def test_the_summary_has_the_contracts_keys_and_stdout_is_nothing_else(
    capture: Path, tmp_path: Path
) -> None:
    done = tapewright("replay", capture, "--headless", "--mode", "observe", "--summary", "-",
                      "--state", tmp_path / "s")  # fmt: skip
    seen = json.loads(done.stdout)
    assert set(seen) == {"venue", "frames", "refused", "gaps", "resyncs", "instruments"}
    assert set(seen["instruments"]["SIM-USD"]) == {
        "state", "bids", "asks", "trades", "buy_volume", "sell_volume", "unknown_volume",
        "last_trade", "crossed",
    }  # fmt: skip
    assert len(seen["instruments"]["SIM-USD"]["bids"]) == 10


def test_a_cut_capture_is_replayed_to_the_cut_and_then_reported(
    capture: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.jsonl.gz"
    data = capture.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    done = tapewright("replay", cut, "--headless", "--mode", "observe", "--summary", "-",
                      "--state", tmp_path / "s")  # fmt: skip
    assert done.returncode == 1
    assert json.loads(done.stdout)["frames"] > 100
    assert "cut after" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.jsonl.gz", None, "cannot be read"),
        ("empty.jsonl", b"", "empty"),
        ("other.jsonl", b'{"k":"meta","format":"capture/2","venue":"sim"}\n', "capture/2"),
        ("venue.jsonl", b'{"k":"meta","format":"capture/1","venue":"nyse"}\n', "nyse"),
        ("noise.jsonl", b"hello\n", "line 1"),
    ],
)
def test_a_file_that_is_no_capture_gets_one_line_and_exit_code_2(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    done = tapewright("replay", path, "--headless", "--state", tmp_path / "s")
    assert done.returncode == 2
    assert says in done.stderr
    assert str(path) in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_bad_line_in_the_middle_is_named_and_what_came_before_is_kept(
    capture: Path, tmp_path: Path
) -> None:
    lines = gzip.decompress(capture.read_bytes()).split(b"\n")
    lines[200] = b"{not json"
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(b"\n".join(lines))
    done = tapewright("replay", bad, "--headless", "--state", tmp_path / "s")
    assert done.returncode == 2
    assert "line 201" in done.stderr
    assert tapewright("ledger", "verify", "--state", tmp_path / "s").returncode == 0


@pytest.mark.captures
@pytest.mark.parametrize(
    "name",
    ["binance_btcusdt_2024-08-08", "binance_us_2021-10-11", "coinbase_2026-08-09_first600"],
)
def test_real_captures_give_live_uncrossed_books(name: str, tmp_path: Path) -> None:
    path = CAPTURES / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{name} is not beside this checkout")
    done = tapewright("replay", path, "--headless", "--mode", "observe", "--summary", "-",
                      "--state", tmp_path / "s")  # fmt: skip
    assert done.returncode == 0, done.stderr
    for instrument in json.loads(done.stdout)["instruments"].values():
        assert instrument["state"] == "live"
        assert Decimal(instrument["bids"][0][0]) < Decimal(instrument["asks"][0][0])
