"""What a proposal is made of: signals and their shares, the agent's view, the limits checked."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from core.model.order import Side


class Mode(StrEnum):
    OBSERVE = "observe"
    CONFIRM = "confirm"
    AUTO = "auto"


class Action(StrEnum):
    ENTER_LONG = "ENTER_LONG"
    ENTER_SHORT = "ENTER_SHORT"
    EXIT = "EXIT"


class Verdict(StrEnum):
    """How a proposal ended."""

    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    """The engine took it back: kill, feed doubt, mode change."""


class SignalShare(msgspec.Struct, frozen=True):
    """One signal and what it adds to the log-odds of up."""

    name: str
    value: float
    """The signal's own value, squashed to about [-1, 1]."""
    share: float
    """Contribution to the log-odds; the shares and the bias add up to the log-odds."""


class AgentView(msgspec.Struct, frozen=True):
    """What an agent would do now."""

    agent_id: str
    probabilities: tuple[float, float, float]
    """Probability of short cap, flat, long cap; they add up to 1."""
    entropy: float
    """Entropy of the three probabilities over ln 3, in [0, 1]."""

    @property
    def lean(self) -> float:
        """Probability of long minus probability of short, in [-1, 1]."""
        return self.probabilities[2] - self.probabilities[0]


class Forecast(msgspec.Struct, frozen=True):
    """Probability that the mid is higher after ``horizon_s``, given that it moves."""

    horizon_s: int
    p_up: float
    base_rate: float
    """Running share of ups, the number to beat."""
    skill: float | None
    """Rolling Brier skill score against the base rate; None until enough labels resolved."""
    n_resolved: int
    moved_share: float
    """Share of resolved samples in which the mid moved at all."""
    mean_move_ticks: float
    """Mean absolute mid move over the horizon, ties included, in ticks."""
    bias_share: float
    shares: tuple[SignalShare, ...]


class LimitCheck(msgspec.Struct, frozen=True):
    """One control, its value and its limit, as text in the control's own unit."""

    control: str
    value: str
    limit: str
    passed: bool


class Proposal(msgspec.Struct, frozen=True):
    """One trade idea, waiting for an answer; everything needed to judge it."""

    decision_id: str
    instrument: str
    action: Action
    side: Side
    qty_lots: int
    limit_ticks: int
    """Worst price at which it may trade (marketable limit)."""
    mid2_ticks: int
    """Mid at the decision in half ticks (best bid + best ask)."""
    forecast: Forecast
    agent: AgentView | None
    edge_bps: float
    """Expected move in our favour, before costs."""
    cost_bps: float
    """Fee, half-spread and expected slippage of getting in and out."""
    checks: tuple[LimitCheck, ...]
    made_ns: int
    expires_ns: int
    rationale: str
    """The same in words."""

    @property
    def net_edge_bps(self) -> float:
        return self.edge_bps - self.cost_bps
