"""The model card: everything known about a shipped network, as one frozen value.

Its bytes are deterministic: no date, no path, no machine; the same training gives the same card.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from core.errors import UserError

FORMAT = "agent/1"
ID_PATTERN = r"^[a-z0-9-]{1,40}$"
_ID = re.compile(ID_PATTERN, re.ASCII)


class PolicyRefused(UserError):
    """A model that is not known, not whole, or not made for this program's observation."""


class Score(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one policy did on one set of market seeds, costs paid.

    Intervals are 95 %, over the independent markets of the set (normal approximation).
    """

    name: str
    n_markets: int
    hours: float
    """Simulated hours over all markets."""
    pnl_bps_per_hour: float
    """Mean gain per hour in bps of the cap, net of fee, spread and impact."""
    pnl_low: float
    pnl_high: float
    reward_per_step: float
    turnover_per_hour: float
    """Lots traded per hour over the cap; a full reversal is 2."""
    flat_share: float
    """Share of decisions that asked for no position."""
    entropy: float | None = None
    """Mean policy entropy over ln 3; None for a rule."""
    lean_correlation: float | None = None
    """Correlation of P(long) - P(short) with the mid's move over the next 5 s; None for a rule."""


class SeedResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One training seed: its score on validation and on the held-out test markets."""

    seed: int
    validation: Score
    test: Score


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Shape of the policy network: two tanh layers of ``hidden`` units, a softmax of 3."""

    inputs: int
    hidden: Annotated[int, Meta(ge=1, le=1024)]
    outputs: int = 3
    activation: str = "tanh"


class ModelCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What ``card.json`` holds."""

    format: str
    id: Annotated[str, Meta(pattern=ID_PATTERN)]
    algo: str
    summary: str
    """One honest sentence for the screen: where it was trained and how it did there."""
    schema_hash: str
    observation: tuple[str, ...]
    actions: tuple[str, ...]
    network: Network
    weights_sha256: str
    seed: int
    """The training seed that was selected."""
    training: dict[str, float | int | str]
    market: dict[str, float | int | str]
    """Digest of the market's parameters, cap, fee, latency, cadence."""
    seeds: tuple[SeedResult, ...]
    """Every seed that was trained, the rejected ones too."""
    baselines: tuple[Score, ...]
    """Rules on the same test markets."""
    versions: dict[str, str]

    @property
    def test(self) -> Score:
        """Score of the selected seed on the held-out markets."""
        return next(result.test for result in self.seeds if result.seed == self.seed)


def check_id(agent_id: str) -> None:
    """Refuse an id that is not ``[a-z0-9-]{1,40}`` with ``PolicyRefused``."""
    if not _ID.fullmatch(agent_id):
        raise PolicyRefused(f"agent id was {agent_id[:60]!r}, allowed is [a-z0-9-], 1 to 40")


def encode_card(card: ModelCard) -> bytes:
    """Return the card as indented JSON with sorted keys, the same bytes for the same card."""
    return msgspec.json.format(msgspec.json.encode(card, order="sorted"), indent=2) + b"\n"


def decode_card(data: bytes) -> ModelCard:
    """Return the card in ``data``. Errors: ``PolicyRefused`` saying what was wrong."""
    try:
        card = msgspec.json.decode(data, type=ModelCard)
    except msgspec.DecodeError as error:
        raise PolicyRefused(f"card.json was not a model card: {error}") from error
    if not any(result.seed == card.seed for result in card.seeds):
        raise PolicyRefused(f"card.json selected seed {card.seed}, which it does not report")
    return card
