"""What each front door loads, seen in a fresh Python: the static import graph cannot see it.

The screen library costs a headless engine a tenth of a second and memory; torch costs everyone
seconds and gigabytes. import-linter (in ``make lint``) holds the rest.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LEARNING = frozenset({"torch", "stable_baselines3", "gymnasium"})
SCREEN = frozenset({"textual", "rich"})
FRONT_DOOR = """
import sys
from cli.main import main
code = main(sys.argv[1:])
sys.stderr.write("\\nLOADED " + " ".join(sorted({name.partition(".")[0] for name in sys.modules})))
sys.exit(code)
"""
IMPORT = """
import importlib, sys
importlib.import_module(sys.argv[1])
sys.stderr.write("\\nLOADED " + " ".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""
CAPTURE = (
    {
        "k": "meta",
        "format": "capture/1",
        "venue": "binance",
        "symbols": ["BTCUSDT"],
        "instruments": {"BTCUSDT": {"price_increment": "0.01", "size_increment": "0.00001"}},
    },
    {"k": "open", "ns": 1_723_075_200_000_000_000, "url": "wss://data-stream.binance.vision/ws"},
    {"k": "close", "ns": 1_723_075_201_000_000_000, "why": "end"},
)

pytestmark = pytest.mark.slow


def loaded_by(script: str, *words: str) -> tuple[int, set[str], str]:
    """Return exit code, top-level modules loaded, and stdout."""
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
    )
    assert "LOADED " in done.stderr, done.stderr
    return done.returncode, set(done.stderr.rpartition("LOADED ")[2].split()), done.stdout


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Settings without an agent and without a past, to be quick."""
    file = tmp_path / "config.toml"
    file.write_text("[agent]\nenabled = false\n[sim]\nhistory_s = 0\n", encoding="utf-8")
    return str(file)


def test_help_loads_nothing_heavy() -> None:
    code, loaded, out = loaded_by(FRONT_DOOR, "--help")
    assert code == 0
    assert "Commands:" in out
    assert not loaded & (LEARNING | SCREEN | {"numpy", "numba", "polars", "sqlite3", "asyncio"})


@pytest.mark.parametrize(
    "words", [["status"], ["kill"], ["rearm", "--reason", "x"], ["stop"], ["watchdog"]]
)
def test_commands_of_an_emergency_load_no_kernels(words: list[str], tmp_path: Path) -> None:
    code, loaded, _ = loaded_by(FRONT_DOOR, *words, "--state", str(tmp_path))
    assert code in {0, 3}
    assert not loaded & (LEARNING | SCREEN | {"numba", "polars", "sqlite3"})


def test_ledger_verify_loads_no_screen_and_no_torch(tmp_path: Path) -> None:
    code, loaded, _ = loaded_by(FRONT_DOOR, "ledger", "verify", "--state", str(tmp_path))
    assert code in {1, 2}, "there is no ledger here"
    assert "sqlite3" in loaded
    assert not loaded & (LEARNING | SCREEN | {"numba"})


def test_headless_replay_loads_no_screen_and_no_torch(tmp_path: Path, config: str) -> None:
    capture = tmp_path / "short.jsonl.gz"
    with gzip.open(capture, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in CAPTURE)
    words = ["replay", str(capture), "--mode", "observe", "--headless", "--summary", "-"]
    code, loaded, out = loaded_by(
        FRONT_DOOR, *words, "--config", config, "--state", str(tmp_path / "state")
    )
    assert code == 0
    assert json.loads(out)["frames"] == 0
    assert {"numba", "sqlite3"} <= loaded
    assert not loaded & (LEARNING | SCREEN)


def test_headless_run_loads_no_screen_and_no_torch(tmp_path: Path, config: str) -> None:
    words = ["run", "--headless", "--duration", "0.1", "--no-record"]
    code, loaded, out = loaded_by(
        FRONT_DOOR, *words, "--config", config, "--state", str(tmp_path / "state")
    )
    assert code == 0
    assert out == ""
    assert not loaded & (LEARNING | SCREEN)


def test_screen_loads_no_torch_no_ledger_and_no_kernels() -> None:
    code, loaded, _ = loaded_by(IMPORT, "tui.app")
    assert code == 0
    assert "textual" in loaded
    assert not loaded & (LEARNING | {"numba", "sqlite3", "ledger", "agents"})


@pytest.mark.parametrize("place", ["core.engine", "core.session", "cli.wiring", "agents.registry"])
def test_engine_and_what_it_wires_load_no_screen_and_no_torch(place: str) -> None:
    code, loaded, _ = loaded_by(IMPORT, place)
    assert code == 0
    assert not loaded & (LEARNING | SCREEN)
