from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import get_args, get_type_hints

import msgspec
import pytest
import typer

from cli.lazy import LazyGroup
from cli.main import _Commands, app, main
from cli.options import (
    AttachOptions,
    RecordOptions,
    ReplayOptions,
    RunOptions,
    Speed,
    Venue,
)
from core.config import RunSettings
from core.errors import ConfigError, TryAgain
from core.model.decision import Mode


def commands() -> list[str]:
    group = typer.main.get_command(app)
    assert isinstance(group, LazyGroup)
    return group.list_commands(None)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, msgspec.Struct]:
    """Put a recorder in place of the work of the long-running commands."""
    seen: dict[str, msgspec.Struct] = {}
    for name in ("run", "replay", "record", "attach"):
        fake = ModuleType(f"cli.{name}")

        def work(options: msgspec.Struct, name: str = name) -> int:
            seen[name] = options
            return 0

        setattr(fake, f"{name}_command", work)
        monkeypatch.setitem(sys.modules, f"cli.{name}", fake)
    return seen


def test_venues_and_modes_are_those_of_the_settings() -> None:
    hints = get_type_hints(RunSettings, include_extras=True)
    assert tuple(Venue) == get_args(hints["venue"])
    assert tuple(Mode) == get_args(hints["mode"])


def test_run_without_options_leaves_all_to_the_settings(asked: dict[str, msgspec.Struct]) -> None:
    assert main(["run"]) == 0
    assert asked["run"] == RunOptions()


def test_run_takes_every_option(asked: dict[str, msgspec.Struct]) -> None:
    words = "run --venue coinbase-exchange --symbol BTC-USD --symbol ETH-USD --mode auto --headless"
    more = "--duration 1.5 --seed 9 --no-record --state s --config c.toml --endpoint ws://[::1]:1"
    assert main(f"{words} {more}".split()) == 0
    assert asked["run"] == RunOptions(
        venues=(Venue.COINBASE_EXCHANGE,),
        symbols=("BTC-USD", "ETH-USD"),
        mode=Mode.AUTO,
        headless=True,
        duration_s=1.5,
        seed=9,
        record=False,
        state=Path("s"),
        config=Path("c.toml"),
        endpoint="ws://[::1]:1",
    )


def test_run_takes_several_venues(asked: dict[str, msgspec.Struct]) -> None:
    words = "run --venue binance --venue coinbase --symbol binance:BTCUSDT"
    assert main(words.split()) == 0
    assert asked["run"] == RunOptions(
        venues=(Venue.BINANCE, Venue.COINBASE), symbols=("binance:BTCUSDT",)
    )


def test_replay_takes_every_option(asked: dict[str, msgspec.Struct]) -> None:
    words = "replay day.gz --speed max --headless --mode observe --summary - --seed 7 --state s"
    assert main([*words.split(), "--config", "c.toml"]) == 0
    assert asked["replay"] == ReplayOptions(
        capture=Path("day.gz"),
        speed=Speed.MAX,
        headless=True,
        mode=Mode.OBSERVE,
        summary="-",
        seed=7,
        state=Path("s"),
        config=Path("c.toml"),
    )


def test_replay_without_options_leaves_all_to_the_command(asked: dict[str, msgspec.Struct]) -> None:
    assert main(["replay", "day.gz"]) == 0
    assert asked["replay"] == ReplayOptions(capture=Path("day.gz"), speed=None)


def test_record_takes_every_option(asked: dict[str, msgspec.Struct]) -> None:
    words = "record --venue binance --symbol BTCUSDT --out d.gz --duration 60 --endpoint ws://x"
    assert main(words.split()) == 0
    assert asked["record"] == RecordOptions(
        venue=Venue.BINANCE,
        symbols=("BTCUSDT",),
        out=Path("d.gz"),
        duration_s=60,
        endpoint="ws://x",
    )


def test_attach_takes_every_option(asked: dict[str, msgspec.Struct]) -> None:
    assert main(["attach", "--state", "s"]) == 0
    assert asked["attach"] == AttachOptions(state=Path("s"))


@pytest.mark.parametrize(
    "words",
    [
        "bogus",
        "run --venue nyse",
        "run --mode yolo",
        "run --seed -1",
        "run --seed 2147483648",
        "run --duration -1",
        "run --duration soon",
        "run extra",
        "run --bogus",
        "replay",
        "replay a --speed 2",
        "record --venue binance --out x",
        "rearm",
    ],
)
def test_wrong_usage_is_code_2_on_stderr_alone(
    words: str, asked: dict[str, msgspec.Struct], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Error" in shown.err
    assert asked == {}


def test_unknown_command_is_told_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    main(["lodger"])
    assert "no command 'lodger'; there are: run, replay, record," in capsys.readouterr().err


def test_no_command_shows_the_help_and_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr()
    assert "Commands:" in shown.out + shown.err


def test_version_is_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tapewright ")


def test_help_lists_every_command_in_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in commands():
        (line,) = [line for line in lines if line.startswith(f"  {name} ")]
        assert len(line.split()) > 2, "a line of help"
        assert not line.endswith("...")


@pytest.mark.parametrize("name", [name for name in commands() if name not in _Commands.lazy])
def test_every_command_has_help_with_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0
    assert f"Example: tapewright {name}" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", list(_Commands.lazy))
def test_every_lazy_command_loads_and_has_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0
    assert f"Example: tapewright {name}" in " ".join(capsys.readouterr().out.split())


def test_exit_code_of_the_work_is_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = ModuleType("cli.run")
    answers: list[int | Exception] = [0, 1, 3, ConfigError(["c: x"]), TryAgain("later")]

    def run_command(options: RunOptions) -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    fake.run_command = run_command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cli.run", fake)
    assert [main(["run"]) for _ in range(5)] == [0, 1, 3, 2, 3]


@pytest.mark.parametrize("words", [["--state", "{}"], ["--state={}"]])
def test_crash_goes_to_the_state_directory_that_was_named(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake = ModuleType("cli.run")

    def run_command(options: RunOptions) -> int:
        raise ZeroDivisionError("of ours")

    fake.run_command = run_command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cli.run", fake)
    assert main(["run", *(word.format(tmp_path) for word in words)]) == 1
    assert "ZeroDivisionError: of ours" in (tmp_path / "logs" / "crash.log").read_text()
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
def test_interrupt_is_code_130_without_a_traceback() -> None:
    code = "import sys, types; from cli.main import main; fake = types.ModuleType('cli.run')\n"
    code += "def stop(options): raise KeyboardInterrupt\n"
    code += "fake.run_command = stop; sys.modules['cli.run'] = fake; sys.exit(main(['run']))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
