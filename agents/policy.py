"""A frozen policy: trained weights and one numba call per decision; no learning library."""

from __future__ import annotations

import msgspec
import numpy as np

from agents import kernels
from agents.card import ModelCard
from agents.observe import N_OBSERVATION, check_features
from core.kernels import policy as network
from core.model.decision import AgentView


class Weights(msgspec.Struct, frozen=True):
    """The network's arrays, float32; weights are [in, out]."""

    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: np.ndarray
    w3: np.ndarray
    b3: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        return (self.w1, self.b1, self.w2, self.b2, self.w3, self.b3)


def probabilities(weights: Weights, observations: np.ndarray) -> np.ndarray:
    """Return float64[n, 3] for float32[n, N_OBSERVATION]; for evaluation."""
    out = np.empty((len(observations), network.N_ACTIONS), np.float64)
    scratch = (np.zeros_like(weights.b1), np.zeros_like(weights.b2))
    kernels.forward_all(observations, *weights.arrays, *scratch, out)
    return out


def shapes_of(hidden: int) -> dict[str, tuple[int, ...]]:
    """Return the shape each array of ``Weights`` must have."""
    return {
        "w1": (N_OBSERVATION, hidden),
        "b1": (hidden,),
        "w2": (hidden, hidden),
        "b2": (hidden,),
        "w3": (hidden, network.N_ACTIONS),
        "b3": (network.N_ACTIONS,),
    }


class FrozenPolicy:
    """``core.ports.Policy`` over exported weights; the same input gives the same view."""

    def __init__(self, card: ModelCard, weights: Weights) -> None:
        self.card = card
        self.weights = weights
        hidden = card.network.hidden
        self._observation = np.zeros(N_OBSERVATION, np.float32)
        self._scratch = (np.zeros(hidden, np.float32), np.zeros(hidden, np.float32))
        self._probabilities = np.zeros(network.N_ACTIONS, np.float64)

    @property
    def agent_id(self) -> str:
        return self.card.id

    @property
    def note(self) -> str:
        """Return where it was trained and how it did there, in one sentence."""
        return self.card.summary

    @property
    def digests(self) -> dict[str, str]:
        """Return what pins this policy in a run's manifest."""
        return {
            f"agent:{self.card.id}:weights": self.card.weights_sha256,
            f"agent:{self.card.id}:schema": self.card.schema_hash,
        }

    def decide(self, instrument: int, features: np.ndarray, position_fraction: float) -> AgentView:  # noqa: ARG002 (the port passes it; one policy serves every instrument)
        """Return the view for one feature vector, float64[N_FEATURES], and position in [-1, 1].

        Errors: ``ValueError`` for a wrong shape or a value that is not finite.
        """
        check_features(features)
        entropy = kernels.decide(
            features,
            float(position_fraction),
            self._observation,
            *self.weights.arrays,
            *self._scratch,
            self._probabilities,
        )
        if entropy < 0.0:
            raise ValueError(f"features or position were not finite: {features}")
        short, flat, long = self._probabilities.tolist()
        return AgentView(self.card.id, (short, flat, long), min(1.0, float(entropy)))
