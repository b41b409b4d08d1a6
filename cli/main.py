"""The command line: what can be asked, and nothing of how it is done.

Every command imports its work when it is called, so that ``--help`` is quick and a command loads
only what it needs. stdout is data, stderr is narration; ``cli.exit`` has the exit codes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from cli.exit import DONE, close_stdout, exit_code_of
from cli.lazy import LazyCommand, LazyGroup, ReaderGone
from cli.options import Speed, Venue
from core.model.decision import Mode


class _Commands(LazyGroup):
    lazy: ClassVar[dict[str, LazyCommand]] = {
        "train": LazyCommand("cli.agents:train", "Train an agent (needs the extra `agents`)."),
        "agents": LazyCommand("cli.agents:agents_app", "List, show and evaluate agents."),
        "ledger": LazyCommand("cli.ledger:ledger_app", "Export, verify and explain the ledger."),
        "tape": LazyCommand("cli.tape:tape_app", "List, check and export the tapes of runs."),
        "position": LazyCommand(
            "cli.position:position_app", "Show, close, halve, reverse; move stop and target."
        ),
        "transfer": LazyCommand(
            "cli.transfer:transfer_app", "Book coins moved in from, or out to, another wallet."
        ),
        "secrets": LazyCommand("cli.secrets:secrets_app", "Store, show or forget a venue's keys."),
    }
    order: ClassVar[tuple[str, ...]] = (
        "run", "replay", "record", "backtest", "train", "agents", "ledger", "tape", "status",
        "position", "transfer", "reconcile",
        "kill", "rearm", "watchdog", "attach", "stop", "doctor", "bench", "secrets", "stub", "warm",
    )  # fmt: skip


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A trading workstation in a terminal. Example: tapewright run",
)

State = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="State directory (default: the user's own)."),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="TOML file that overrides what it names."),
]
Endpoint = Annotated[
    str | None,
    typer.Option(metavar="URL", help="WebSocket URL in place of the venue's own (test bed)."),
]
Seconds = Annotated[
    float | None, typer.Option("--duration", min=0, metavar="SECONDS", help="Stop after this long.")
]
Seed = Annotated[
    int | None, typer.Option(min=0, max=2**31 - 1, help="Seed of everything that is drawn.")
]
ModeOption = Annotated[
    Mode | None, typer.Option("--mode", help="observe: no orders; confirm: ask; auto: trade.")
]
Headless = Annotated[bool, typer.Option("--headless", help="The engine alone, without a screen.")]


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        print(f"tapewright {version('tapewright')}")
        raise typer.Exit(DONE)


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Take what stands before the command; --version ends in its callback."""
    del version


@app.command()
def run(
    *,
    venue: Annotated[
        list[Venue] | None,
        typer.Option(help="Where to trade; `sim` needs no net. May be repeated."),
    ] = None,
    symbol: Annotated[
        list[str] | None,
        typer.Option(
            metavar="S", help="The venue's spelling; VENUE:S of several. May be repeated."
        ),
    ] = None,
    mode: ModeOption = None,
    headless: Headless = False,
    duration: Seconds = None,
    seed: Seed = None,
    record: Annotated[
        bool | None, typer.Option("--record/--no-record", help="Keep the frames as a capture.")
    ] = None,
    state: State = None,
    config: Config = None,
    endpoint: Endpoint = None,
) -> None:
    """Run the engine with its screen.

    Example: tapewright run --venue coinbase --symbol BTC-USD --mode confirm
    """
    from cli.options import RunOptions
    from cli.run import run_command

    options = RunOptions(
        venues=tuple(venue) if venue else None,
        symbols=tuple(symbol) if symbol else None,
        mode=mode,
        headless=headless,
        duration_s=duration,
        seed=seed,
        record=record,
        state=state,
        config=config,
        endpoint=endpoint,
    )
    raise typer.Exit(run_command(options))


@app.command()
def replay(
    *,
    capture: Annotated[Path, typer.Argument(metavar="CAPTURE", help="A capture/1 file.")],
    speed: Annotated[
        Speed | None, typer.Option(help="Multiple of real time (default: 1; headless: max).")
    ] = None,
    headless: Headless = False,
    mode: ModeOption = None,
    summary: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Write what was seen as JSON.")
    ] = None,
    seed: Seed = None,
    state: State = None,
    config: Config = None,
) -> None:
    """Replay a capture through the engine that trades live.

    Example: tapewright replay day.jsonl.gz --speed max --headless --mode observe --summary -
    """
    from cli.options import ReplayOptions
    from cli.replay import replay_command

    options = ReplayOptions(
        capture=capture,
        speed=speed,
        headless=headless,
        mode=mode,
        summary=summary,
        seed=seed,
        state=state,
        config=config,
    )
    raise typer.Exit(replay_command(options))


@app.command()
def backtest(
    *,
    captures: Annotated[
        list[Path], typer.Argument(metavar="CAPTURE...", help="Files of capture/1.")
    ],
    json: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Write the report as JSON.")
    ] = None,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write one page with charts.")
    ] = None,
    mode: Annotated[
        Mode | None, typer.Option("--mode", help="auto (the default) trades; observe does not.")
    ] = None,
    seed: Seed = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=256, help="Files at a time (default: one a core).")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="DIR", help="Keep each file's ledger in a folder below."),
    ] = None,
    config: Config = None,
) -> None:
    """Run captures at full speed through the engine that trades live, and report.

    Example: tapewright backtest monday.jsonl.gz tuesday.jsonl.gz --html report.html
    """
    from cli.backtest import backtest_command
    from cli.options import BacktestOptions

    options = BacktestOptions(
        captures=tuple(captures),
        json=json,
        html=html,
        mode=mode,
        seed=seed,
        jobs=jobs,
        state=state,
        config=config,
    )
    raise typer.Exit(backtest_command(options))


@app.command()
def record(
    *,
    venue: Annotated[Venue, typer.Option(help="Where to listen.")],
    symbol: Annotated[
        list[str], typer.Option(metavar="S", help="The venue's spelling; may be repeated.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Capture to write, gzip.")],
    duration: Seconds = None,
    config: Config = None,
    endpoint: Endpoint = None,
) -> None:
    """Write a venue's frames to a capture, without trading.

    Example: tapewright record --venue binance --symbol BTCUSDT --out day.jsonl.gz --duration 60
    """
    from cli.options import RecordOptions
    from cli.record import record_command

    options = RecordOptions(
        venue=venue,
        symbols=tuple(symbol),
        out=out,
        duration_s=duration,
        config=config,
        endpoint=endpoint,
    )
    raise typer.Exit(record_command(options))


@app.command()
def attach(*, state: State = None, config: Config = None) -> None:
    """Put a screen on an engine that runs already.

    Closing the screen leaves the engine running.

    Example: tapewright attach
    """
    from cli.attach import attach_command
    from cli.options import AttachOptions

    raise typer.Exit(attach_command(AttachOptions(state=state, config=config)))


@app.command()
def stub(
    *,
    venue: Annotated[
        Venue | None, typer.Option(help="Whose protocol to speak (default: the capture's).")
    ] = None,
    symbol: Annotated[
        list[str] | None, typer.Option(metavar="S", help="The venue's spelling; may be repeated.")
    ] = None,
    capture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Tell this recording instead of a simulated market."),
    ] = None,
    speed: Annotated[
        str, typer.Option(metavar="N|max", help="Multiple of real time, or as fast as it is read.")
    ] = "1",
    loop: Annotated[
        bool, typer.Option("--loop", help="Begin the recording anew with every connection.")
    ] = False,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:VALUE]", help="What goes wrong; may be repeated."),
    ] = None,
    seed: Seed = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")] = 0,
    duration: Seconds = None,
) -> None:
    """Be a venue on this machine, for tests, with faults on request.

    The first line on stdout is the address; give it to --endpoint of run or record.

    Example: tapewright stub --venue binance --fault drop:0.01 --fault freeze:30s --seed 7
    """
    from cli.options import StubOptions
    from cli.stub import stub_command

    options = StubOptions(
        venue=venue,
        symbols=tuple(symbol or ()),
        capture=capture,
        speed=speed,
        loop=loop,
        faults=tuple(fault or ()),
        seed=seed or 0,
        port=port,
        duration_s=duration,
    )
    raise typer.Exit(stub_command(options))


@app.command()
def warm() -> None:
    """Compile the numba kernels, so that no start has to.

    Example: tapewright warm
    """
    from cli.warm import warm_command

    raise typer.Exit(warm_command())


@app.command()
def status(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, stable.")] = False,
    state: State = None,
) -> None:
    """Show what the engine sees and holds, and the kill latch.

    Example: tapewright status --json
    """
    from cli.status import status_command

    raise typer.Exit(status_command(state, as_json=as_json))


@app.command()
def kill(
    *,
    reason: Annotated[str, typer.Option(metavar="T", help="Why, for the ledger.")] = "asked by "
    "`tapewright kill`",
    instrument: Annotated[
        str | None, typer.Option(metavar="S", help="Halt this instrument alone.")
    ] = None,
    order: Annotated[
        str | None, typer.Option(metavar="ID", help="Cancel this order alone; halts nothing.")
    ] = None,
    strategy: Annotated[
        bool, typer.Option("--strategy", help="Halt what the strategy opens; exits go on.")
    ] = False,
    state: State = None,
) -> None:
    """Stop all trading now; a restart stays halted.

    Cancels our orders, closes positions if `[risk] kill_flattens`, and latches. Works without
    an engine too: the next one starts halted.

    Example: tapewright kill --reason "prices look wrong"
    """
    from cli.kill import kill_command, scope_of

    scope = scope_of(instrument=instrument, order=order, strategy=strategy)
    raise typer.Exit(kill_command(state, reason, scope))


@app.command()
def rearm(
    *,
    reason: Annotated[str, typer.Option(metavar="T", help="Why trading may go on; required.")],
    instrument: Annotated[
        str | None, typer.Option(metavar="S", help="The halt of this instrument alone.")
    ] = None,
    strategy: Annotated[
        bool, typer.Option("--strategy", help="The halt of the strategy alone.")
    ] = False,
    state: State = None,
) -> None:
    """Open the kill latch, with a reason for the ledger.

    Example: tapewright rearm --reason "venue is back, positions checked"
    """
    from cli.kill import rearm_command, scope_of

    scope = scope_of(instrument=instrument, order=None, strategy=strategy)
    raise typer.Exit(rearm_command(state, reason, scope))


@app.command()
def reconcile(
    *,
    adopt: Annotated[
        str | None, typer.Option(metavar="S", help="Take the broker's position in this instrument.")
    ] = None,
    cancel: Annotated[
        str | None, typer.Option(metavar="ID", help="Cancel this order, which we did not send.")
    ] = None,
    keep: Annotated[
        str | None, typer.Option(metavar="ID", help="Leave it alone; it counts in the exposure.")
    ] = None,
    mark: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Mark this order, which is not there, as ended."),
    ] = None,
    reason: Annotated[str, typer.Option(metavar="T", help="Why; goes to the ledger.")] = "",
    state: State = None,
) -> None:
    """Compare with the broker now; resolve one difference. Exit 1 while something differs.

    Example: tapewright reconcile --adopt SIM-USD --reason "filled while the ledger was restored"
    """
    from cli.reconcile import reconcile_command
    from core.model.difference import Remedy

    given = {Remedy.ADOPT: adopt, Remedy.CANCEL: cancel, Remedy.KEEP: keep, Remedy.MARK: mark}
    raise typer.Exit(reconcile_command(state, given, reason))


@app.command()
def watchdog(*, state: State = None, config: Config = None) -> None:
    """Watch the running engine, and stop it when it cannot stop itself.

    A run starts its own; this one takes its place when it has ended.

    Example: tapewright watchdog
    """
    from cli.watchdog import watchdog_command

    watchdog_command(state, config)


@app.command()
def stop(*, state: State = None) -> None:
    """Ask the running engine to end in order.

    Example: tapewright stop
    """
    from cli.kill import stop_command

    raise typer.Exit(stop_command(state))


@app.command()
def doctor(*, state: State = None, config: Config = None) -> None:
    """Check this machine and the state directory.

    Every problem comes with its remedy; exits with 1 when one of them is a FAIL.

    Example: tapewright doctor
    """
    from cli.doctor import doctor_command

    raise typer.Exit(doctor_command(state, config))


@app.command()
def bench(
    capture: Annotated[
        Path | None,
        typer.Argument(help="Measure with this recording instead of a simulated market."),
    ] = None,
    *,
    as_json: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="The figures as JSON.")
    ] = None,
    state: State = None,
) -> None:
    """Measure this machine: a frame, a decision, an order's intent on disk.

    Takes half a minute, needs no network and leaves nothing behind.

    Example: tapewright bench
    """
    from cli.bench import bench_command

    raise typer.Exit(bench_command(capture, as_json, state))


def main(args: list[str] | None = None) -> int:
    """Run one command line and return its exit code; the entry point of ``tapewright``."""
    words = sys.argv[1:] if args is None else args
    return exit_code_of(lambda: _dispatch(words), lambda: _state_dir_of(words))


def _dispatch(words: list[str]) -> int:
    try:
        typer.main.get_command(app)(words, prog_name="tapewright")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except (ReaderGone, BrokenPipeError):
        close_stdout()
        return DONE
    else:
        code = DONE
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        close_stdout()
    return code


def _state_dir_of(words: list[str]) -> Path:
    """Return the state directory that ``words`` name; for the crash log, so it never fails."""
    from core.state import resolve_state_dir

    for place, word in enumerate(words):
        if word.startswith("--state="):
            return resolve_state_dir(Path(word.removeprefix("--state=")))
        if word == "--state" and place + 1 < len(words):
            return resolve_state_dir(Path(words[place + 1]))
    return resolve_state_dir(None)


if __name__ == "__main__":
    sys.exit(main())
