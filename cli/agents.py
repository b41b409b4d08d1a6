"""``tapewright agents`` and ``tapewright train``: what agents there are, how good, and new ones.

stdout is data, stderr is narration. torch is loaded by ``train`` alone; listing, showing and
judging run on the exported weights.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.exit import tell
from core.errors import UserError
from core.state import resolve_state_dir

if TYPE_CHECKING:
    from agents.card import Score

agents_app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="List, show and evaluate agents. Example: tapewright agents list",
)

State = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="State directory (default: the user's own)."),
]
AgentId = Annotated[str, typer.Argument(metavar="ID", help="As `tapewright agents list` names it.")]

_HEADER = (
    f"{'policy':38} {'bps/hour':>9}  {'95 % interval':>20} {'turnover/h':>11} {'flat':>6} "
    f"{'entropy':>8}"
)


class Algo(StrEnum):
    PPO = "ppo"
    SAC = "sac"


def _models_dir(state: Path | None) -> Path:
    return resolve_state_dir(state) / "models"


@agents_app.command("list")
def list_agents(*, state: State = None) -> None:
    """List the agents shipped and trained here, with their score on unseen markets.

    Example: tapewright agents list
    """
    from agents.registry import list_models

    for entry in list_models(_models_dir(state)):
        place = "shipped" if entry.is_shipped else "yours"
        text = f"refused: {entry.problem}" if entry.card is None else entry.card.summary
        print(f"{entry.agent_id:24} {place:8} {text}")


@agents_app.command()
def show(agent_id: AgentId, *, state: State = None) -> None:
    """Print an agent's card as JSON: how it was made, every seed, every baseline.

    Example: tapewright agents show ppo-sim
    """
    from agents.card import encode_card
    from agents.registry import open_policy

    policy = open_policy(agent_id, _models_dir(state))
    print(encode_card(policy.card).decode(), end="")


@agents_app.command("evaluate")
def evaluate_agent(
    agent_id: AgentId,
    *,
    markets: Annotated[int, typer.Option(min=2, max=128, help="Test markets to play.")] = 64,
    minutes: Annotated[int, typer.Option(min=1, max=240, help="Length of each market.")] = 30,
    state: State = None,
) -> None:
    """Play an agent and three rules on the same unseen simulated markets, costs paid.

    Example: tapewright agents evaluate ppo-sim --markets 64
    """
    from agents.baselines import Flat, Random, sign_of_imbalance
    from agents.evaluate import Agent, evaluate
    from agents.registry import open_policy
    from agents.seeds import TEST_SEEDS

    policy = open_policy(agent_id, _models_dir(state))
    tell(f"{markets} unseen markets of {minutes} minutes each; gains in bps of the cap")
    print(_HEADER)
    agent = Agent(policy.agent_id, policy.weights)
    for rule in (agent, Flat(), Random(seed=1), sign_of_imbalance()):
        print(_row(evaluate(rule, TEST_SEEDS[:markets], 60 * minutes)), flush=True)
    tell("more baselines, found by grid, are in the card: tapewright agents show " + agent_id)


def train(
    *,
    algo: Annotated[Algo, typer.Option(help="Only ppo for now.")],
    steps: Annotated[
        int | None, typer.Option(min=1_000, max=10**9, help="Decisions each seed learns from.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 100, help="First training seed.")] = 7,
    seeds: Annotated[int, typer.Option(min=1, max=20, help="How many seeds to choose from.")] = 3,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the model; its name is the agent's id."),
    ] = None,
    state: State = None,
) -> None:
    """Train an agent on the simulated market and keep the seed that validates best.

    Needs the extra `agents` (torch). Takes one core for some minutes; nothing of it runs in the
    engine.

    Example: tapewright train --algo ppo --steps 1000000 --seed 7
    """
    if algo is not Algo.PPO:
        raise UserError(f"training with {algo.value} is not there yet: only ppo")
    folder = out or _models_dir(state) / f"ppo-{seed}"
    from agents.card import check_id
    from agents.registry import SHIPPED

    check_id(folder.name)
    if (SHIPPED / folder.name).is_dir() and folder.absolute().parent != SHIPPED:
        raise UserError(f"the id {folder.name} belongs to a shipped agent; choose another --out")
    _check_extra()
    from agents.train import TrainSettings, train_model

    settings = TrainSettings() if steps is None else TrainSettings(steps=steps)
    card = train_model(folder, list(range(seed, seed + seeds)), settings, tell)
    print(_HEADER)
    for score in (*(result.test for result in card.seeds), *card.baselines):
        print(_row(score))
    tell(f"seed {card.seed} kept as {card.id} in {folder}")
    tell(card.summary)


def _check_extra() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("torch", "stable_baselines3", "gymnasium") if not find_spec(name)]
    if missing:
        raise UserError(
            f"training needs {', '.join(missing)}: install the extra with "
            "`pip install 'tapewright[agents]'` or `make setup`"
        )


def _row(score: Score) -> str:
    interval = f"[{score.pnl_low:+.2f}, {score.pnl_high:+.2f}]"
    entropy = "-" if score.entropy is None else f"{score.entropy:.3f}"
    return (
        f"{score.name:38} {score.pnl_bps_per_hour:+9.2f}  {interval:>20} "
        f"{score.turnover_per_hour:11.2f} {score.flat_share:6.1%} {entropy:>8}"
    )
