"""``tapewright backtest``: captures through the engine that trades live, and what came of it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from cli.backtest_file import FileJob
from cli.backtest_pool import run_files
from cli.backtest_table import table
from cli.exit import DONE, FAILED, USAGE, tell
from cli.options import BacktestOptions
from cli.report_html import page
from core.backtest_json import encode
from core.backtest_report import BadFile, FileReport, Report, Terms
from core.config import Settings, load_settings
from core.errors import UserError
from core.model.decision import Mode
from core.state import StateDir, resolve_state_dir
from core.versions import code_digest, version

ENDINGS = (".gz", ".jsonl", ".json")


def backtest_command(options: BacktestOptions) -> int:
    """Run every capture and report; return the exit code."""
    _check(options)
    settings = load_settings(options.config)
    mode = options.mode or Mode.AUTO
    seed = settings.run.seed if options.seed is None else options.seed
    with _termination_as_interrupt(), _root(options.state) as root:
        jobs = _jobs(options.captures, root, settings, mode, seed)
        done = run_files(jobs, options.jobs or len(os.sched_getaffinity(0)))
    report = Report(
        terms=_terms(settings, mode, seed),
        files=tuple(one for one in done if isinstance(one, FileReport)),
        bad_files=tuple(one for one in done if isinstance(one, BadFile)),
    )
    problems = [one.problem for one in done if one.problem]
    for problem in problems:
        tell(problem)
    _write(report, options)
    if not report.files:
        return USAGE
    return FAILED if problems else DONE


def _check(options: BacktestOptions) -> None:
    """Refuse what cannot be meant, before hours of work."""
    if options.mode is Mode.CONFIRM:
        raise UserError("--mode confirm: nobody is there to confirm; allowed are auto and observe")
    seen: set[Path] = set()
    for capture in options.captures:
        if capture.resolve() in seen:
            raise UserError(f"{capture}: was named twice")
        seen.add(capture.resolve())
    if options.html == "-":
        raise UserError("--html -: the page goes to a file; name one")
    for target in (options.json, options.html):
        if target not in {None, "-"} and not Path(str(target)).absolute().parent.is_dir():
            raise UserError(f"{target}: its folder is not there")


@contextlib.contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Take SIGTERM like Ctrl-C: children are ended and temporary ledgers removed."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _root(state: Path | None) -> Iterator[Path]:
    """Give the folder that holds one state directory a file; a temporary one is removed."""
    if state is not None:
        yield resolve_state_dir(state)
        return
    with tempfile.TemporaryDirectory(prefix="tapewright-backtest-") as folder:
        yield Path(folder)


def _jobs(
    captures: Sequence[Path], root: Path, settings: Settings, mode: Mode, seed: int
) -> list[FileJob]:
    models = StateDir(resolve_state_dir(None)).models
    jobs: list[FileJob] = []
    names: set[str] = set()
    for place, capture in enumerate(captures):
        name = _folder_name(capture, names)
        names.add(name)
        state = root / name
        if state.exists():
            raise UserError(
                f"{state}: is there already; a backtest begins with an empty ledger, so name "
                "another --state"
            )
        jobs.append(FileJob(place, capture, state, models, settings, mode, seed))
    return jobs


def _folder_name(capture: Path, taken: set[str]) -> str:
    """Return the capture's name without its endings, with a number if that is taken."""
    stem = capture.name
    for ending in ENDINGS:
        stem = stem.removesuffix(ending)
    stem = stem or "capture"
    name, count = stem, 1
    while name in taken:
        count += 1
        name = f"{stem}-{count}"
    return name


def _terms(settings: Settings, mode: Mode, seed: int) -> Terms:
    strategy = settings.strategy
    return Terms(
        program=version(),
        code=code_digest(),
        config=settings.digest(),
        mode=mode.value,
        seed=seed,
        is_practice=settings.is_practice,
        agent=settings.agent.id if settings.agent.enabled else "",
        horizon_s=strategy.horizon_s,
        threshold=strategy.threshold,
        min_edge_bps=strategy.min_edge_bps,
        min_skill=strategy.min_skill,
        order_notional=strategy.order_notional,
        latency_ms=settings.paper.latency_ms,
        report_latency_ms=settings.paper.report_latency_ms,
    )


def _write(report: Report, options: BacktestOptions) -> None:
    if options.json is not None and options.json != "-":
        _write_file(options.json, encode(report))
    if options.html is not None:
        _write_file(options.html, page(report).encode())
    if options.json == "-":
        sys.stdout.write(encode(report).decode())
    elif report.files:
        print(table(report))


def _write_file(target: str, data: bytes) -> None:
    try:
        Path(target).write_bytes(data)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror})") from error
    tell(f"report written to {target}")
