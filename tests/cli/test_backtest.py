"""``tapewright backtest`` short of the runs: what is asked, refused, shown and written."""

from __future__ import annotations

import re
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from typing_extensions import override

from cli import backtest as command
from cli.backtest import backtest_command
from cli.backtest_file import FileJob, run_file
from cli.backtest_table import table
from cli.main import main
from cli.options import BacktestOptions
from cli.report_html import BARS_MAX, page
from core.backtest_report import (
    BadFile,
    Baseline,
    Feed,
    FileReport,
    Head,
    Reason,
    Report,
    Result,
    RoundTrip,
    SignalPnl,
    Skill,
    Terms,
)
from core.config import Settings
from core.curve import CurvePoint, Reach
from core.errors import UserError
from core.model.decision import Mode
from core.quality import Markout, Quality

S = 1_000_000_000
ZERO = Decimal(0)


def result(currency: str = "USDT", pnl: str = "-179.9112") -> Result:
    value = Decimal(pnl)
    return Result(
        currency=currency,
        instruments=("BTCUSDT",),
        pnl=value,
        realized=value,
        fees=Decimal("180.5"),
        max_drawdown=Decimal("180.0083"),
        turnover=Decimal("180954.33"),
        fills=4,
        round_trips=2,
        wins=1,
        slippage=Decimal("0.5"),
        decided_notional=Decimal(10_000),
        span_ns=100 * S,
        in_market_ns=25 * S,
        exposure_max=Decimal(1000),
        exposure_ns=Decimal(25_000 * S),
        open_positions={"BTCUSDT": "-0.5"},
        buy_and_hold=Baseline(Decimal("-4.5894"), Decimal(1), Decimal(1000)),
        signals=(SignalPnl("queue imbalance", value, 2),),
        reach=Reach(value, ZERO, value, -value),
    )


def file_report(name: str = "day.jsonl.gz", problem: str = "", trips: int = 2) -> FileReport:
    curve = tuple(
        CurvePoint(n * S, Decimal(-n), Decimal(n), Decimal(n) / 2, Decimal(n)) for n in range(5)
    )
    return FileReport(
        name=name,
        sha256="ab" * 32,
        venue="binance",
        begin="2024-08-08T23:54:13.000000000Z",
        end="2024-08-09T00:05:04.000000000Z",
        fee_bps=Decimal("10.0"),
        maker_fee_bps=Decimal("8.0"),
        feed=Feed(frames=99_573, gaps=1),
        proposals=3,
        orders=4,
        results=(result(),),
        reasons=(Reason("no_edge", 135, 6, "edge 0.35 bps does not pay <b>its</b> cost"),),
        skills=(Skill("BTCUSDT", 5, None, 90, 0.5, 1.0, 0.5, None, None),),
        no_trade="",
        trips=tuple(
            RoundTrip("BTCUSDT", "LONG", n * S, (n + 1) * S, Decimal(1), Decimal(n - 1), f"d{n}")
            for n in range(trips)
        ),
        curves={"USDT": curve},
        ledger=Head(42, "cd" * 32),
        problem=problem,
    )


def report(*files: FileReport, bad: tuple[BadFile, ...] = ()) -> Report:
    terms = Terms(
        program="0.1.0",
        code="c0de" * 16,
        config="f00d" * 16,
        mode="auto",
        seed=7,
        is_practice=True,
        agent="",
        horizon_s=5,
        threshold=0.02,
        min_edge_bps=-1000,
        min_skill=-1,
        order_notional=Decimal(1000),
        latency_ms=20,
        report_latency_ms=15,
    )
    return Report(terms, files or (file_report(),), bad)


# --- what is asked ------------------------------------------------------------------------------


def test_every_option_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[BacktestOptions] = []
    monkeypatch.setattr(command, "backtest_command", lambda options: asked.append(options) or 0)
    words = "backtest a.gz b.gz --json - --html r.html --mode observe --seed 9 --jobs 3 --state s"
    assert main([*words.split(), "--config", "c.toml"]) == 0
    assert asked == [
        BacktestOptions(
            captures=(Path("a.gz"), Path("b.gz")),
            json="-",
            html="r.html",
            mode=Mode.OBSERVE,
            seed=9,
            jobs=3,
            state=Path("s"),
            config=Path("c.toml"),
        )
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("backtest", "CAPTURE"),
        ("backtest a.gz --jobs 0", "--jobs"),
        ("backtest a.gz --mode confirm", "nobody is there to confirm"),
        ("backtest a.gz ./a.gz", "named twice"),
        ("backtest a.gz --html -", "names a file|name one"),
        ("backtest a.gz --json no/such/folder.json", "folder is not there"),
        ("backtest a.gz --config missing.toml", "missing.toml"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_runs(
    words: str, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.search(says, shown.err)


def test_a_state_directory_that_was_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept" / "day").mkdir(parents=True)
    options = BacktestOptions(captures=(Path("x/day.jsonl.gz"),), state=tmp_path / "kept")
    with pytest.raises(UserError, match="is there already"):
        backtest_command(options)


def test_files_of_one_name_get_folders_of_their_own(tmp_path: Path) -> None:
    paths = [Path("a/day.jsonl.gz"), Path("b/day.jsonl"), Path("c/day.gz"), Path("d/.jsonl")]
    jobs = command._jobs(paths, tmp_path, Settings(), Mode.AUTO, 7)
    assert [job.state.name for job in jobs] == ["day", "day-2", "day-3", "capture"]
    assert [job.place for job in jobs] == [0, 1, 2, 3]


# --- bad files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.jsonl.gz", None, "cannot be read"),
        ("empty.jsonl", b"", "is empty"),
        ("noise.jsonl", b"hello\n", "line 1"),
        ("venue.jsonl", b'{"k":"meta","format":"capture/1","venue":"nyse"}\n', "nyse"),
    ],
)
def test_a_file_that_is_no_capture_is_told_in_one_line(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    job = FileJob(0, path, tmp_path / "s", tmp_path / "m", Settings(), Mode.AUTO, 7)
    found = run_file(job, lambda _records, _bytes: None)
    assert isinstance(found, BadFile)
    assert found.name == name
    assert says in found.problem
    assert str(path) in found.problem
    assert "\n" not in found.problem


def test_only_bad_files_are_exit_code_2_and_one_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["backtest", str(tmp_path / "a"), str(tmp_path / "b"), "--jobs", "1"]
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 2


# --- the table ----------------------------------------------------------------------------------


def test_the_table_shows_each_file_its_baselines_and_the_total() -> None:
    text = table(report(file_report("a.jsonl.gz"), file_report("b.jsonl.gz")))
    rows = [line.split() for line in text.splitlines()]
    (first,) = [row for row in rows if row[:1] == ["a"]]
    (total,) = [row for row in rows if row[:2] == ["total", "USDT"]]
    assert first == [
        "a", "-179.9112", "USDT", "0.5888", "-179.9112", "0.0000", "180.5000", "180.0083",
        "180,954.33", "2", "50%", "0.50", "25%", "-4.5894",
    ]  # fmt: skip
    assert total[2:5] == ["-359.8224", "USDT", "1.1776"]
    assert "PRACTICE" in text
    assert "comes to 0" in text
    assert "135 s     6x  no_edge" in text


def test_what_a_terminal_would_obey_is_not_passed_on() -> None:
    text = table(report(file_report("a\x1b[31m.jsonl.gz", problem="bad \x07 line")))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "NOT TO ITS END: bad" in text


def test_one_file_has_no_total() -> None:
    assert "total" not in table(report())


def test_a_currency_that_one_file_alone_has_needs_no_total() -> None:
    one, other = file_report("a.jsonl.gz"), file_report("b.jsonl.gz")
    euro = msgspec.structs.replace(other.results[0], currency="EUR")
    other = msgspec.structs.replace(
        other, results=(euro,), curves={"EUR": other.curves[other.results[0].currency]}
    )
    assert "total" not in table(report(one, other))
    assert 'class="total"' not in page(report(one, other))


def test_execution_is_told_in_table_and_page_as_it_was_measured() -> None:
    measured = Quality(
        3, Decimal(20_000), Decimal(2), Decimal(1), (Markout(1, 2, Decimal(-4), -3),)
    )
    plain = file_report("a.jsonl.gz")
    result = msgspec.structs.replace(plain.results[0], quality=measured)
    one = report(msgspec.structs.replace(plain, results=(result,)))
    assert (
        "slippage of 3 orders against the mid on arrival: 1.00 bps, 0.50 expected by the book; "
        "2.0000 USDT; markout 1 s: -1.50 bps, -4.0000 USDT"
    ) in table(one)
    assert "<td>markout 1 s after the fill</td><td>2</td><td>-1.50</td><td>-4.0000</td>" in page(
        one
    )
    assert "Execution" not in page(report(plain))


# --- the page -----------------------------------------------------------------------------------


class _Outside(HTMLParser):
    """Collects everything that could load something, and whether tags are balanced."""

    VOID = frozenset({"meta", "line", "br", "path", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "link", "img", "iframe", "object", "embed", "image", "use"}:
            self.loads.append(tag)
        self.loads += [name for name, _ in attrs if name in {"src", "href", "xlink:href", "onload"}]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    @override
    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_loads_nothing_from_outside_and_is_well_formed() -> None:
    html = page(
        report(file_report("<script>alert(1)</script>", "<i>cut"), bad=(BadFile("x", "no <b>"),))
    )
    seen = _Outside()
    seen.feed(html)
    assert seen.loads == []
    assert seen.open == []
    assert not re.search(r"url\(|@import|https?://", html)
    assert "&lt;script&gt;" in html
    assert "<i>" not in html
    assert "prefers-color-scheme:dark" in html


def test_the_page_has_its_charts_and_tables() -> None:
    html = page(report())
    assert html.count("<svg") == 3, "P&L, drawdown, round trips"
    for text in ("-179.9112 USDT", "buy and hold", "queue imbalance", "no_edge", "unproven"):
        assert text in html


def test_very_many_round_trips_are_drawn_in_runs() -> None:
    html = page(report(file_report(trips=1000)))
    assert "P&amp;L of each 5 round trips" in html
    assert html.count("<rect") == 200 <= BARS_MAX


def test_a_file_without_trades_says_so_and_draws_no_drawdown() -> None:
    import msgspec

    flat = Result("USDT", ("BTCUSDT",))
    quiet = msgspec.structs.replace(
        file_report(), results=(flat,), trips=(), no_trade="no trade: no_signal 100%"
    )
    html = page(report(quiet))
    assert "no trade: no_signal 100%" in html
    assert html.count("<svg") == 1
