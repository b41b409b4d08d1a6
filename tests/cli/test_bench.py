"""``tapewright bench`` measures by the product's own path and leaves nothing behind."""

from __future__ import annotations

import json

import pytest

from cli import measuring
from cli.main import main

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("MADE_SECONDS", 20), ("COMMITS", 3), ("EVENTS", 2_000)):
        monkeypatch.setattr(measuring, name, value)


def test_without_a_capture_a_simulated_market_is_measured(tmp_path, capsys):
    assert main(["bench", "--state", str(tmp_path / "state")]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == ["machine", "feed", "engine", "ledger", "memory"]
    assert "x json.loads" in told[1]
    assert list(tmp_path.rglob("*")) == []


def test_figures_as_json_are_of_every_frame_of_the_capture(tmp_path, capsys):
    path = measuring.make_capture(tmp_path / "made.jsonl.gz")
    assert main(["bench", str(path), "--json", "-", "--state", str(tmp_path)]) == 0
    figures = json.loads(capsys.readouterr().out)
    records = list(measuring.read_capture(path))
    assert figures["frames"] == sum(record.kind == "recv" for record in records)
    assert figures["source"] == "made.jsonl.gz"
    assert 0 < figures["frame_us_p50"] <= figures["frame_us_p99"]
    assert figures["decisions"] > 0
    assert [each.name for each in tmp_path.iterdir()] == ["made.jsonl.gz"]


def test_market_that_is_made_is_live_to_its_end(tmp_path):
    reader = measuring.read_capture(measuring.make_capture(tmp_path / "made.jsonl.gz"))
    protocol = measuring.protocol_for(
        "binance", list(reader.meta.instruments), measuring.Settings()
    )
    for record in measuring.without_last_close(reader):
        measuring.give(protocol, record)
    counters = protocol.counters
    assert protocol.instruments[0].state.value == "live"
    assert (counters.refused, counters.gaps, counters.checks_failed) == (0, 0, 0)


def test_capture_that_is_not_there_is_told_in_one_line(tmp_path, capsys):
    assert main(["bench", str(tmp_path / "none.gz")]) == 2
    told = capsys.readouterr().err.splitlines()
    assert "none.gz" in told[-1]


def test_result_that_cannot_be_written_names_the_file(tmp_path, capsys):
    assert main(["bench", "--json", str(tmp_path / "no" / "f.json"), "--state", str(tmp_path)]) == 2
    assert "f.json: cannot be written" in capsys.readouterr().err
