"""The key in a real keyring: GNOME's over D-Bus where it is installed, and a file back end.

What the user reads when a keyring is absent, locked, denies or keeps plain text.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, NoKeyringError, PasswordSetError

from core.errors import Failed, UserError
from core.state import StateDir
from ledger import keys
from ledger.key_change import key_facts, rotate
from ledger.verify import verify
from ledger.writer import LedgerWriter
from tests.ledger import factory

NS = factory.START_NS
PROGRAM = """
import sys
from cli.main import main
for words in sys.argv[2:]:
    code = main(["ledger", "keys", *words.split(), "--state", sys.argv[1]])
    print(f"[{code}]", flush=True)
"""
NEEDED = ("dbus-run-session", "gnome-keyring-daemon")
MISSING = [name for name in NEEDED if shutil.which(name) is None]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    factory.write_day(tmp_path / "state")
    return tmp_path / "state"


class Failing:
    """A keyring that fails in one way, whatever is asked."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def get_password(self, service: str, name: str, /) -> str | None:
        raise self.error

    def set_password(self, service: str, name: str, text: str, /) -> None:
        raise self.error

    def delete_password(self, service: str, name: str, /) -> None:
        raise self.error


@pytest.fixture
def use() -> Iterator[object]:
    """Make a back end the one that ``keyring`` finds."""
    before = keyring.get_keyring()
    yield keyring.set_keyring
    keyring.set_keyring(before)


# --- what the user reads -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NoKeyringError("none"), r"there is no OS keyring here; a file of mode 0600 is as safe"),
        (KeyringLocked("Failed to unlock!"), r"is locked or denies \(Failed to unlock!\): unlock"),
        (PasswordSetError(), r"is locked or denies \(PasswordSetError\): unlock it"),
    ],
)
def test_a_key_that_cannot_move_stays_in_its_file_and_the_line_says_so(
    state: Path, error: Exception, said: str
) -> None:
    with pytest.raises(UserError, match=said + r".*the key stays in .*ledger\.key, mode 0600"):
        keys.to_keyring(state, Failing(error))
    assert keys.load(state) is not None


def test_a_locked_keyring_is_not_taken_for_a_lost_key(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (state / keys.KEY_NAME).unlink()
    with pytest.raises(UserError, match=r"unlock it .* or put your copy of the key back as "):
        keys.load_kept(state, Failing(KeyringLocked("locked")))
    assert keys.load_kept(state, Failing(NoKeyringError("none"))) is None
    monkeypatch.setattr("core.secrets._keyring", lambda: Failing(KeyringLocked("locked")))
    with pytest.raises(UserError, match="the OS keyring is locked"):
        LedgerWriter(state)
    assert "not known: the OS keyring is locked" in key_facts(state).place


def test_an_old_key_that_the_keyring_does_not_give_up_is_told(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = keys.load(state)
    assert key is not None
    store = Failing(KeyringLocked("locked"))
    monkeypatch.setattr("core.secrets._keyring", lambda: store)
    with pytest.raises(
        Failed, match=f"still in the OS keyring, as ledger-{key.public.fingerprint}"
    ):
        keys.forget_kept(key.public)
    rotate(StateDir(state), "its key was in a file: no keyring is asked", NS)


# --- a file back end -----------------------------------------------------------------------------


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyringBackend:
    alt = pytest.importorskip("keyrings.alt.file", reason="needs keyrings.alt, of the extra `dev`")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    backend: KeyringBackend = alt.PlaintextKeyring()
    return backend


def test_the_key_goes_into_a_file_back_end_and_comes_back(
    state: Path, plain: KeyringBackend, tmp_path: Path
) -> None:
    public = keys.to_keyring(state, plain)
    assert not (state / keys.KEY_NAME).exists()
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    kept = keys.load_kept(state, plain)
    assert kept is not None
    assert kept.public == public
    assert keys.to_file(state, plain) == public
    assert keys.load_kept(state, plain) is None
    LedgerWriter(state).close()
    assert not verify(state).findings


def test_a_keyring_that_keeps_plain_text_is_not_called_a_keyring(
    state: Path, plain: KeyringBackend, use: object, tmp_path: Path
) -> None:
    keyring.set_keyring(plain)
    with pytest.raises(UserError, match="there is no OS keyring here"):
        keys.to_keyring(state)
    assert keys.load(state) is not None
    assert not (tmp_path / "data").exists(), "nothing was written there"


# --- GNOME's keyring -----------------------------------------------------------------------------


def session(tmp_path: Path, start: str, state: Path, *commands: str) -> list[str]:
    """Run commands of the program in a D-Bus session of their own; return what each said.

    The exit code stands behind it.
    """
    home, runtime = tmp_path / "home", tmp_path / "runtime"
    for folder in (home, runtime):
        folder.mkdir(mode=0o700, exist_ok=True)
    words = " ".join(f"'{command}'" for command in commands)
    done = subprocess.run(
        ["dbus-run-session", "--", "bash", "-c",
         f'{start}\n"$PYTHON" -c "$PROGRAM" "$STATE" {words} 2>&1'],
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home),
            "XDG_RUNTIME_DIR": str(runtime), "XDG_DATA_HOME": str(home / "data"),
            "PYTHON": sys.executable, "PROGRAM": PROGRAM, "STATE": str(state),
        },
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode == 127 or "Failed to connect to" in done.stderr:
        pytest.skip(f"no D-Bus session can be started here: {done.stderr[-200:]}")
    return done.stdout.split("]\n")


UNLOCKED = (
    "printf pw | gnome-keyring-daemon --unlock --components=secrets --daemonize >/dev/null 2>&1"
)
LOCKED = "gnome-keyring-daemon --start --components=secrets >/dev/null 2>&1"


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
def test_the_key_lives_in_gnomes_keyring_signs_rotates_and_comes_back(
    state: Path, tmp_path: Path
) -> None:
    said = session(
        tmp_path, UNLOCKED, state, "keep --in keyring", "show", "rotate --reason moved",
        "keep --in keyring",
    )  # fmt: skip
    assert "is in the keyring" in said[0], said
    assert "secret half: the OS keyring" in said[1]
    assert "since seq 21" in said[2], "the key in the keyring signed the change"
    assert said[3].endswith("[0")
    assert keys.load(state) is None
    shut = session(tmp_path, LOCKED, state, "show", "rotate --reason again", "keep --in file")
    assert "secret half: not known: the OS keyring is locked or denies" in shut[0], shut
    for line in shut[1:3]:
        assert "unlock it" in line
        assert "put your copy of the key back" in line
        assert line.endswith("[2")
    back = session(tmp_path, UNLOCKED, state, "keep --in file")
    assert "is in the file" in back[0], back
    assert not verify(state).findings
