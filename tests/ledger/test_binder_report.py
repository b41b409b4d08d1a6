"""The report: nothing runs off a page, and what there is not is called so."""

from __future__ import annotations

import re
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.event import (
    ClockRead,
    FileRecorded,
    LedgerEvent,
    MarkedOut,
    RunEnded,
    SlippageMeasured,
)
from ledger.binder.gather import TOLD_MAX, Gathering, told_of, without_numbers
from ledger.binder.paper import Column, Paper, latin
from ledger.binder.tables import thinned
from tests.ledger import binding, factory


def paper() -> Paper:
    made = Paper("t", "head", "foot", datetime(2026, 1, 1, tzinfo=UTC))
    made.add_page()
    made.set_font("Helvetica", "", 8)
    return made


def words_in(pdf: bytes) -> str:
    """Return the text that a PDF of ours shows, line by line."""
    streams = re.findall(rb"stream\n(.*?)\nendstream", pdf, re.DOTALL)
    shown = []
    for stream in streams:
        try:
            page = zlib.decompress(stream)
        except zlib.error:
            continue
        for text in re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", page):
            shown.append(re.sub(rb"\\(.)", rb"\1", text).decode("latin-1"))
    return "\n".join(shown)


@pytest.mark.slow
@given(st.text(max_size=300), st.floats(8, 170))
def test_no_line_is_wider_than_its_place(text: str, width: float) -> None:
    sheet = paper()
    lines = sheet.wrap(text, width)
    assert all(sheet.get_string_width(line) <= width for line in lines if len(line) > 1)
    assert "".join(lines).replace(" ", "") == "".join(latin(text).split())


@given(st.text(max_size=60))
def test_text_is_shown_as_one_line_of_what_the_fonts_have(text: str) -> None:
    assert latin(text).isprintable() or "\xa0" in latin(text)
    latin(text).encode("latin-1")


@pytest.mark.slow
def test_table_that_is_longer_than_a_page_has_its_head_on_each() -> None:
    sheet = paper()
    rows = [(f"{number}", "x" * 200, f"note {number}") for number in range(120)]
    sheet.grid([Column("Number", 20, is_number=True), Column("Digest", 60)], rows)
    shown = words_in(bytes(sheet.output())).splitlines()
    assert sheet.pages_count > 3
    assert shown.count("Digest") == sheet.pages_count
    assert [line for line in shown if line.startswith("note ")] == [
        f"note {number}" for number in range(120)
    ]


def test_report_tells_verdict_fingerprint_trades_blocks_and_kills(tmp_path: Path) -> None:
    copies = binding.copies(tmp_path)
    shown = words_in((copies.one.folder / "report.pdf").read_bytes())
    spaced = " ".join(copies.one.fingerprint[n : n + 4] for n in range(0, 32, 4))
    for part in (
        "THE LEDGER HOLDS", spaced, "It does not prove", "max_daily_loss", "KILL",
        "All trading in this binder was paper or simulated. No money was traded.",
        "tied: card, weights and training data have the digests that the runs named",
        "P(up) 0.573. because of d-run-1-in",
        "No reading of the clock's quality was recorded in this range",
    ):  # fmt: skip
        assert part in shown.replace("\n", " "), part


def test_time_without_trades_says_so(tmp_path: Path) -> None:
    day = factory.day()
    factory.write(tmp_path / "state", [day[0], day[-1]._replace(cause=None)])
    made = binding.made(tmp_path / "state", tmp_path / "out")
    shown = words_in((made.folder / "report.pdf").read_bytes())
    assert "Nothing was filled in this time." in shown
    assert binding.faults(made.folder)[0] == 0


def test_clock_recordings_slippage_and_markouts_are_told(tmp_path: Path) -> None:
    day = factory.day()
    measured: list[LedgerEvent] = [
        ClockRead("adjtimex", is_synchronized=False, tier="red", max_error_us=16_000_000),
        SlippageMeasured(
            "o-run-1-in", "d-run-1-in", "SIM-USD", 10_000, "100.015", 0.9, 1.1, "0.011", "USD",
            is_bad=True, bad_in_a_row=1,
        ),
        MarkedOut("f-run-1-in-1", "o-run-1-in", "SIM-USD", 10, "100.03", 1.5, "0.004", "USD"),
        MarkedOut("f-run-1-in-2", "o-run-1-in", "SIM-USD", 10, None, None, None, "USD"),
        FileRecorded("tape", "sim-2026.tape", "ab" * 32, 12_345),
    ]  # fmt: skip
    later = [factory.Dated(event, day[-2].ts_ns) for event in measured]
    factory.write(tmp_path / "state", [*day[:-1], *later, day[-1]._replace(cause=None)])
    made = binding.made(tmp_path / "state", tmp_path / "out")
    assert binding.faults(made.folder)[0] == 0
    shown = words_in((made.folder / "report.pdf").read_bytes()).splitlines()
    place = shown.index("Markout 10 s")
    assert shown[place + 1 : place + 7] == [
        "SIM-USD", "1", "+0.900", "+1.100", "1", "+1.500 (1 not known)",
    ]  # fmt: skip
    for part in ("red", "CLOCK", "sim-2026.tape", "12,345"):
        assert part in shown, part
    assert not any("No reading of the clock" in line for line in shown)


def test_incidents_beyond_what_a_report_tells_are_counted() -> None:
    gathering = Gathering()
    tree = {
        "seq": 1, "ts": "2026", "type": "KILL", "actor": "human:trader",
        "payload": {"scope": "all", "actor": "human:trader", "reason": "F12"},
    }  # fmt: skip
    for _ in range(TOLD_MAX + 5):
        gathering.take(tree)
    assert (gathering.incidents.count, len(gathering.incidents.items)) == (TOLD_MAX + 5, TOLD_MAX)
    assert told_of(tree).text == "reason F12; scope all"


def test_event_of_a_type_that_comes_later_is_told_as_an_incident(tmp_path: Path) -> None:
    gathering = Gathering()
    gathering.take(
        {"seq": 9, "ts": "2030", "type": "NEVER_SEEN", "actor": "system", "payload": {"x": ["a"]}}
    )
    assert gathering.incidents.items[0].type == "NEVER_SEEN"
    assert gathering.incidents.items[0].text == "x a"


def test_run_that_began_before_the_range_gets_its_end(tmp_path: Path) -> None:
    gathering = Gathering()
    for seq, event in enumerate((factory.run_started("run-9"), RunEnded("run-9", "done", {})), 1):
        from ledger.canonical import payload_of

        payload = payload_of(event)
        kind = str(type(event).__struct_config__.tag)
        tree = {"seq": seq, "ts": f"t{seq}", "type": kind, "actor": "system", "payload": payload}
        gathering.take(tree)
    assert gathering.runs["run-9"].reason == "done"


@pytest.mark.parametrize("size", [0, 1, 399, 400, 401, 10_000])
def test_curve_is_thinned_to_what_a_page_shows_and_keeps_its_ends(size: int) -> None:
    values = [float(number) for number in range(size)]
    shown = thinned(values, 400)
    assert len(shown) == min(size, 400)
    assert shown[:1] + shown[-1:] == values[:1] + values[-1:]


def test_reasons_that_differ_in_their_numbers_alone_count_together() -> None:
    assert without_numbers("edge 0.10 bps does not pay") == "edge # bps does not pay"
