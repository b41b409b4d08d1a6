"""``tapewright agents`` and ``tapewright train`` as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from agents.registry import SHIPPED, save_model
from cli.agents import agents_app, train
from core.errors import UserError
from tests.agents import made

single = typer.Typer()
single.command()(train)


def run(app: typer.Typer, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


def test_list_names_shipped_and_own_and_says_what_is_refused(tmp_path: Path) -> None:
    save_model(tmp_path / "models" / "mine", made.card("mine"), made.weights())
    save_model(tmp_path / "models" / "bad", made.card("bad"), made.weights())
    (tmp_path / "models" / "bad" / "model.safetensors").write_bytes(b"")
    code, text = run(agents_app, "list", "--state", str(tmp_path))
    assert code == 0
    rows = {line.split()[0]: line for line in text.splitlines()}
    assert "shipped" in rows["ppo-sim"]
    assert "simulated market only" in rows["ppo-sim"]
    assert "Made up for a test." in rows["mine"]
    assert "refused" in rows["bad"]


def test_show_prints_the_card_as_stored(tmp_path: Path) -> None:
    code, text = run(agents_app, "show", "ppo-sim", "--state", str(tmp_path))
    assert code == 0
    assert json.loads(text) == json.loads((SHIPPED / "ppo-sim" / "card.json").read_text())


def test_an_unknown_agent_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ppo-sim"):
        run(agents_app, "show", "nobody", "--state", str(tmp_path))


@pytest.mark.slow
def test_evaluate_plays_the_agent_beside_rules(tmp_path: Path) -> None:
    words = ("evaluate", "ppo-sim", "--markets", "2", "--minutes", "1", "--state", str(tmp_path))
    code, text = run(agents_app, *words)
    assert code == 0
    names = [line[:38].strip() for line in text.splitlines()]
    assert names == ["policy", "ppo-sim", "flat", "random", "sign of imbalance_l1"]


def test_training_sac_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not there yet: only ppo"):
        run(single, "--algo", "sac", "--state", str(tmp_path))


@pytest.mark.parametrize(
    ("folder", "said"), [("ppo-sim", "belongs to a shipped agent"), ("Not_An_Id", "agent id")]
)
def test_training_refuses_a_name_it_cannot_use(tmp_path: Path, folder: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        run(single, "--algo", "ppo", "--out", str(tmp_path / folder))
    assert not (tmp_path / folder).exists()


def test_help_shows_an_example_for_every_command() -> None:
    for words in (("list",), ("show",), ("evaluate",)):
        assert f"Example: tapewright agents {words[0]}" in run(agents_app, *words, "--help")[1]
    assert "Example: tapewright train --algo ppo" in run(single, "--help")[1]
