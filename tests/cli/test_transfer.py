"""``tapewright transfer``: what is asked, what is sent, what is refused before."""

from __future__ import annotations

import pytest

from cli.main import main
from core.control import Ack, MoveCoins
from core.model.transfer import TransferWay
from core.state import StateDir
from tests.cli.conftest import FakeEngine

COMING = ("in", "SIM-USD", "0.5", "--wallet", "cold", "--basis", "40.2")


def transfer(state: StateDir, *words: str) -> int:
    return main(["transfer", *words, "--state", str(state.path)])


@pytest.mark.parametrize(
    ("acquired", "ns"),
    [
        ("2024-05-01", 1_714_521_600),
        ("2024-05-01T09:30:00-05:00", 1_714_573_800),
        ("2024-05-01T14:30:00", 1_714_573_800),
    ],
)
def test_coins_that_come_are_sent_with_basis_and_date(
    state: StateDir, engine: FakeEngine, acquired: str, ns: int
) -> None:
    assert transfer(state, *COMING, "--acquired", acquired, "--note", "home", "--yes") == 0
    assert engine.seen == [
        MoveCoins("SIM-USD", TransferWay.IN, "0.5", "cold", "40.2", ns * 10**9, note="home")
    ]


def test_coins_that_go_are_sent_with_their_fee_and_ask_nothing(
    state: StateDir, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("out", "SIM-USD", "0.5", "--wallet", "cold", "--fee", "0.01", "--fee-value", "1.2")
    assert transfer(state, *words) == 0
    assert engine.seen == [
        MoveCoins("SIM-USD", TransferWay.OUT, "0.5", "cold", fee="0.01", fee_value="1.2")
    ]
    assert "did MoveCoins" in capsys.readouterr().err


def test_without_a_yes_nobody_is_there_to_ask(
    state: StateDir, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transfer(state, *COMING, "--acquired", "2024-05-01") == 2
    assert engine.seen == []
    assert "say it with --yes" in capsys.readouterr().err


@pytest.mark.parametrize("acquired", ["yesterday", "2024-13-01", "1969-05-01", ""])
def test_a_date_that_is_none_is_refused_before_anything_is_sent(
    state: StateDir, engine: FakeEngine, capsys: pytest.CaptureFixture[str], acquired: str
) -> None:
    assert transfer(state, *COMING, "--acquired", acquired, "--yes") == 2
    assert engine.seen == []
    assert f"--acquired was {acquired!r}; allowed is a date or time" in capsys.readouterr().err


def test_a_refusal_of_the_engine_is_the_commands_and_without_one_it_says_so(
    state: StateDir, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.answers[MoveCoins] = Ack(ok=False, text="0.5 SIM cannot leave, 0 are held")
    assert transfer(state, "out", "SIM-USD", "0.5", "--wallet", "cold") == 1
    assert "0.5 SIM cannot leave, 0 are held" in capsys.readouterr().err


def test_without_an_engine_it_says_try_again(
    state: StateDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transfer(state, "out", "SIM-USD", "0.5", "--wallet", "cold") == 3
    assert "no engine answers" in capsys.readouterr().err
