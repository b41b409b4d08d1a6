"""What every test gets: no home directory of ours, and the same examples on every run."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci",
    derandomize=True,
    database=None,
    deadline=None,  # no test asserts a duration, and the first call of a kernel compiles it
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("explore", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def strict_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise at a feed state that its table does not know, where a run only doubts the book."""
    monkeypatch.setattr("core.feeds.states.IS_STRICT", True)


@pytest.fixture(scope="session")
def no_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def isolated_home(no_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test, and the processes it starts, a state and settings place of its own.

    The cache is left alone: compiled kernels are the same for all, and dear.
    """
    place = no_home / str(next(_numbers))
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(place / "data"))
    # No keys of the user's: neither his keyring nor what his shell exports.
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    for name in ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    return place
