"""Backtests from the command line: the run is the replay's, the report adds up, bytes repeat."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.program import CAPTURES, practice, sim_capture, start, tapewright

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("captures")
    return [
        sim_capture(folder / "a.jsonl.gz", seconds=150),
        sim_capture(folder / "b.jsonl.gz", seconds=90, seed=5),
    ]


def report_of(*words: str | Path, code: int = 0) -> dict[str, Any]:
    done = tapewright("backtest", *words, "--json", "-")
    assert done.returncode == code, done.stderr
    tree: dict[str, Any] = json.loads(done.stdout)
    return tree


def test_the_same_captures_give_the_same_bytes_whatever_runs_beside_what(
    captures: list[Path], tmp_path: Path
) -> None:
    config = practice(tmp_path)
    texts = [
        tapewright("backtest", *captures, "--json", "-", "--config", config, "--jobs", jobs).stdout
        for jobs in ("1", "2", "1")
    ]
    assert texts[0] == texts[1] == texts[2]
    tree = json.loads(texts[0])
    assert [file["name"] for file in tree["files"]] == ["a.jsonl.gz", "b.jsonl.gz"]
    assert all(file["results"][0]["fills"] for file in tree["files"])
    total = sum(Decimal(file["results"][0]["pnl"]) for file in tree["files"])
    assert Decimal(tree["total"][0]["pnl"]) == total


def ended_before(capture: Path, end_ns: int, target: Path) -> Path:
    """Write the records of ``capture`` before ``end_ns``."""
    lines = gzip.decompress(capture.read_bytes()).splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line).get("ns", 0) < end_ns]
    target.write_bytes(b"".join(kept))
    return target


def test_the_run_is_the_one_that_replay_does_to_the_last_hash(
    captures: list[Path], tmp_path: Path
) -> None:
    """Of a whole capture, and of one that ends while an order is on its way."""
    config = practice(tmp_path)

    def run(capture: Path) -> dict[str, Any]:
        (file,) = report_of(capture, "--config", config, "--seed", "7")["files"]
        state = tmp_path / f"replayed-{capture.name}"
        done = tapewright("replay", capture, "--headless", "--mode", "auto", "--seed", "7",
                          "--config", config, "--state", state)  # fmt: skip
        assert done.returncode == 0, done.stderr
        head = json.loads(tapewright("ledger", "head", "--state", state).stdout)
        assert file["ledger"] == head
        found: dict[str, Any] = file
        return found

    whole = run(captures[0])
    first_fill_ns = whole["trips"][0]["opened_ns"]
    short = run(ended_before(captures[0], first_fill_ns, tmp_path / "short.jsonl"))
    assert (short["orders"], short["results"][0]["fills"]) == (1, 0)


def test_the_report_adds_up_with_the_ledger_it_keeps(captures: list[Path], tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    words = [captures[0], "--config", practice(tmp_path), "--state", kept]
    (file,) = report_of(*words)["files"]
    (result,) = file["results"]
    assert tapewright("ledger", "verify", "--state", kept / "a").returncode == 0
    text = tapewright("ledger", "export", "--table", "fills", "--out", "-",
                      "--state", kept / "a").stdout  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(text)))
    money = {name: sum(Decimal(row[name]) for row in rows)
             for name in ("realized_pnl", "fee", "notional")}  # fmt: skip
    assert len(rows) == result["fills"] > 4
    assert money["realized_pnl"] == Decimal(result["realized"])
    assert money["fee"] == Decimal(result["fees"])
    assert money["notional"] == Decimal(result["turnover"])
    assert Decimal(result["pnl"]) == Decimal(result["realized"]) + Decimal(result["unrealized"])
    attributed = sum(Decimal(one["realized"]) for one in result["signals"])
    assert attributed == Decimal(result["realized"])
    again = tapewright("backtest", *words)
    assert again.returncode == 2
    assert "is there already" in again.stderr


def test_bad_files_get_a_line_each_and_the_others_still_run(
    captures: list[Path], tmp_path: Path
) -> None:
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(captures[0].read_bytes()[: captures[0].stat().st_size // 2])
    noise = tmp_path / "noise.jsonl"
    noise.write_text("hello\n", encoding="utf-8")
    words = [tmp_path / "missing.gz", cut, noise, captures[1]]
    done = tapewright("backtest", *words, "--json", "-")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    for line, path, says in zip(lines, words, ("cannot be read", "cut after", "line 1"),
                                strict=False):  # fmt: skip
        assert str(path) in line
        assert says in line
    tree = json.loads(done.stdout)
    assert [file["name"] for file in tree["files"]] == ["cut.jsonl.gz", "b.jsonl.gz"]
    assert [bad["name"] for bad in tree["bad_files"]] == ["missing.gz", "noise.jsonl"]
    assert "cut after" in tree["files"][0]["problem"]
    assert tree["files"][0]["feed"]["frames"] > 100


def test_a_page_and_a_table_are_written(captures: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "r.html"
    done = tapewright("backtest", captures[1], "--html", target, "--config", practice(tmp_path))
    assert done.returncode == 0
    assert "P&L net" in done.stdout
    assert "no trade" not in done.stdout
    assert target.read_text("utf-8").count("<svg") >= 3
    assert done.stderr.count("\n") == 1, "no progress where nobody looks"


@pytest.fixture
def running(
    captures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Give a backtest of two files in its midst, and the folder of its temporary files."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    process = start("backtest", *captures, "--jobs", "2")
    until(lambda: bool(list(folder.glob("*/*/ledger.db"))) or process.poll() is not None)
    assert process.poll() is None
    yield process, folder
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)


def until(is_so: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def group_is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize(
    ("send", "number"),
    [(os.kill, signal.SIGINT), (os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)],
)
def test_an_interrupt_is_code_130_and_leaves_nothing_behind(
    send: Callable[[int, int], None], number: int, running: tuple[subprocess.Popen[str], Path]
) -> None:
    process, folder = running
    send(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")
    assert list(folder.iterdir()) == []
    until(lambda: group_is_gone(process.pid))


def test_a_parent_that_is_killed_takes_its_children_along(
    running: tuple[subprocess.Popen[str], Path],
) -> None:
    process, _ = running
    process.kill()
    process.communicate(timeout=60)
    until(lambda: group_is_gone(process.pid))


@pytest.mark.captures
def test_a_real_market_trades_nothing_by_default_and_says_why(tmp_path: Path) -> None:
    path = CAPTURES / "binance_btcusdt_2024-08-08.jsonl.gz"
    if not path.exists():
        pytest.skip("the capture is not beside this checkout")
    (file,) = report_of(path)["files"]
    assert file["feed"]["frames"] == 99_573
    (result,) = file["results"]
    assert (result["pnl"], result["fills"]) == ("0", 0)
    assert "no_edge" in file["no_trade"]
    assert Decimal(result["buy_and_hold"]["pnl"]) < 0
    (traded,) = report_of(path, "--config", practice(tmp_path))["files"]
    assert traded["results"][0]["round_trips"] > 10
    assert Decimal(traded["results"][0]["pnl"]) < 0, "it pays the fees without an edge"
