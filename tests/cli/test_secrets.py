"""``tapewright secrets`` and the doctor's line on keys: never their text."""

from __future__ import annotations

import io

import httpx
import pytest

from cli import doctor_keys
from cli.check import Level
from cli.main import main
from cli.secrets import KeyVenue
from core.secrets import VENUES_WITH_KEYS, VenueKeys, secrets_file

KEYS = VenueKeys("my-key-id", "my-secret", "a test")
REST = "https://paper.example"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch):
    def give(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    return give


def test_command_knows_every_venue_with_keys() -> None:
    assert tuple(venue.value for venue in KeyVenue) == VENUES_WITH_KEYS


def test_keys_are_set_shown_and_forgotten_without_their_text(typed, capsys) -> None:
    assert main(["secrets", "show", "alpaca"]) == 1
    typed("my-key-id\nmy-secret\n")
    assert main(["secrets", "set", "alpaca"]) == 0
    assert main(["secrets", "show", "alpaca"]) == 0
    assert main(["secrets", "forget", "alpaca"]) == 0
    assert main(["secrets", "forget", "alpaca"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "alpaca: no keys",
        f"alpaca: keys in the file {secrets_file()}",
    ]
    assert "my-" not in said.out + said.err
    assert not secrets_file().exists()


@pytest.mark.parametrize("text", ["", "my-key-id\n", "\n\n"])
def test_missing_lines_are_one_clear_error(text: str, typed, capsys) -> None:
    typed(text)
    assert main(["secrets", "set", "alpaca"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_keys_are_asked_for_without_echo_on_a_terminal(monkeypatch, typed) -> None:
    asked = []

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "typed"

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", answer)
    assert main(["secrets", "set", "alpaca"]) == 0
    assert asked == ["key id: ", "secret: "]


def test_unknown_venue_is_a_usage_error() -> None:
    assert main(["secrets", "show", "binance"]) == 2


# --- the doctor


def line(**settings):
    (check,) = doctor_keys.check_keys(None)
    return check


def test_doctor_without_keys_says_who_needs_some() -> None:
    assert (line().level, line().text) == (Level.OK, "none for alpaca, which alone needs some")


def test_doctor_names_a_file_that_others_can_read() -> None:
    KEYS.store("alpaca")
    secrets_file().chmod(0o644)
    assert line().level is Level.FAIL
    assert "chmod 600" in line().text


def test_doctor_looks_at_keys_with_a_broken_configuration(tmp_path) -> None:
    (tmp_path / "c.toml").write_text("[")
    (check,) = doctor_keys.check_keys(tmp_path / "c.toml")
    assert check.level is Level.OK


@pytest.mark.parametrize(
    ("status", "level", "said"),
    [
        (200, Level.OK, "paper.example takes them"),
        (401, Level.FAIL, "refused them (HTTP 401)"),
        (403, Level.FAIL, "refused them (HTTP 403)"),
        (500, Level.WARN, "not tried (HTTP 500)"),
        (None, Level.WARN, "not tried (ConnectError)"),
    ],
)
def test_doctor_says_whether_the_venue_takes_the_keys(status, level, said, monkeypatch) -> None:
    def get(url: str, *, headers: dict[str, str], timeout: float) -> httpx.Response:
        assert url == "https://paper.example/v2/clock"
        assert headers == {"APCA-API-KEY-ID": "my-key-id", "APCA-API-SECRET-KEY": "my-secret"}
        if status is None:
            raise httpx.ConnectError("no route")
        return httpx.Response(status)

    monkeypatch.setattr(httpx, "get", get)
    check = doctor_keys.ask_venue("alpaca", KEYS, REST)
    assert (check.level, said in check.text) == (level, True)
    assert "my-" not in check.line()
