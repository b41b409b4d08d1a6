"""Models in the binder: cards, weights, signed training attestations, lineage of the data.

An attestation is an in-toto Statement (v1) with a SLSA provenance predicate in a DSSE envelope.
The ledger's key signs it at export: it says that these weights are those of the card, and what the
card says of their training. It is not a signature made while training. Sources: in-toto
attestation spec v1, SLSA provenance v1, DSSE v1.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import msgspec

from ledger.binder.gather import Run
from ledger.keys import SigningKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
NOT_FOR = (
    "Not for trading money by itself: it was trained on a simulated market, and its advice is one "
    "signal among others."
)


class ModelFiles(msgspec.Struct, frozen=True):
    """The files of a model as found at export."""

    agent_id: str
    card: bytes
    weights: bytes
    training_data: dict[str, str]
    """What the training data is and its digest, made again at export; empty if it cannot be."""


FindModel = Callable[[str], ModelFiles | None]
"""Returns the files of an agent by its id, or None where there are none."""


class ModelFacts(msgspec.Struct, frozen=True):
    """What the report says of a model."""

    agent_id: str
    weights_used: str
    """Digest that the runs named."""
    card: dict[str, Any] | None
    weights_found: str
    data_found: str
    """Digest of the training data as made again at export."""

    @property
    def is_tied(self) -> bool:
        """The card, the weights beside it and the data behind it are those that the runs used."""
        return (
            self.card is not None
            and self.card["weights_sha256"] == self.weights_found == self.weights_used
            and self.card["market"]["market_sha256"] == self.data_found
        )


def agents_of(runs: list[Run]) -> dict[str, str]:
    """Return the weights' digest by agent id, from what the runs said when they started."""
    found: dict[str, str] = {}
    for run in runs:
        for name, digest in run.started["agent"].items():
            kind, _, rest = name.partition(":")
            agent_id, _, what = rest.rpartition(":")
            if kind == "agent" and what == "weights":
                found[agent_id] = digest
    return found


def model_files(
    used: dict[str, str], find: FindModel, key: SigningKey
) -> tuple[dict[str, bytes], list[ModelFacts]]:
    """Return the files about the models, by name, and what the report says of them."""
    files: dict[str, bytes] = {}
    facts = []
    for agent_id, digest in sorted(used.items()):
        found = find(agent_id)
        if found is None:
            facts.append(ModelFacts(agent_id, digest, None, "", ""))
            continue
        card = json.loads(found.card)
        weights_sha256 = hashlib.sha256(found.weights).hexdigest()
        data_sha256 = found.training_data.get("sha256", "")
        facts.append(ModelFacts(agent_id, digest, card, weights_sha256, data_sha256))
        files[f"cards/{agent_id}.json"] = found.card
        files[f"cards/{agent_id}.txt"] = card_text(card, found).encode()
        files[f"models/{agent_id}/model.safetensors"] = found.weights
        statement = _statement(agent_id, card, weights_sha256, hashlib.sha256(found.card))
        files[f"attest/{agent_id}.dsse.json"] = _enveloped(statement, key)
    return files, facts


def _statement(agent_id: str, card: dict[str, Any], weights: str, card_digest: Any) -> bytes:
    files = (
        (f"models/{agent_id}/model.safetensors", weights),
        (f"cards/{agent_id}.json", card_digest.hexdigest()),
    )
    selected = next(each for each in card["seeds"] if each["seed"] == card["seed"])
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in files],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": "tapewright:train/1",
                "externalParameters": {
                    "algo": card["algo"],
                    "hyperparameters": card["training"],
                    "network": card["network"],
                    "seeds": [each["seed"] for each in card["seeds"]],
                },
                "internalParameters": {
                    "seed": card["seed"],
                    "versions": card["versions"],
                    "observation_schema": card["schema_hash"],
                },
                "resolvedDependencies": [
                    {
                        "name": "simulated market",
                        "digest": {"sha256": card["market"]["market_sha256"]},
                        "annotations": card["market"],
                    }
                ],
            },
            "runDetails": {
                "builder": {"id": "tapewright train"},
                "metadata": {"signed": "at export, by the key of the ledger"},
                "byproducts": [
                    {"name": name, "annotations": selected[name]} for name in ("validation", "test")
                ],
            },
        },
    }
    return _json(statement)


def _enveloped(statement: bytes, key: SigningKey) -> bytes:
    """Return a DSSE envelope: the signature covers type and payload."""
    message = b"DSSEv1 %d %s %d %s" % (
        len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(statement), statement,
    )  # fmt: skip
    return _json(
        {
            "payload": base64.b64encode(statement).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {
                    "keyid": key.public.name,
                    "sig": base64.b64encode(key.sign(message)).decode(),
                }
            ],
        }
    )


def lineage(runs: list[Run], models: list[ModelFacts], recorded: list[dict[str, Any]]) -> bytes:
    """Return where the data of runs and models came from, each step by its digest."""
    chains = [
        {
            "model": model.agent_id,
            "steps": [
                {"what": "simulated market", "sha256": model.card["market"]["market_sha256"],
                 "made_again_at_export": model.data_found or "not possible here",
                 "parameters": model.card["market"]},
                {"what": "observation schema", "sha256": model.card["schema_hash"],
                 "entries": model.card["observation"]},
                {"what": "weights", "sha256": model.card["weights_sha256"],
                 "found": model.weights_found},
            ],
        }
        for model in models
        if model.card is not None
    ]  # fmt: skip
    sources = [
        {
            "run": run.run_id,
            "venue": run.started["venue"],
            "source": run.started["source"],
            "code_digest": run.started["code_digest"],
            "config_digest": run.started["config_digest"],
            "recorded": [
                {name: each[name] for name in ("kind", "name", "digest", "size_bytes", "seq")}
                for each in recorded
                if each["run"] == run.run_id
            ],
        }
        for run in runs
    ]
    return _json({"format": "lineage/1", "training": chains, "runs": sources}, indent=1)


def card_text(card: dict[str, Any], found: ModelFiles) -> str:
    """Return the model card in words, under the nine headings of Mitchell et al. (2019)."""
    test = next(each["test"] for each in card["seeds"] if each["seed"] == card["seed"])
    scores = [test, *card["baselines"]]
    data = found.training_data or {"kind": "could not be made again here", "sha256": "-"}
    return "\n".join(
        [
            f"MODEL CARD: {card['id']}",
            "",
            "1. Details",
            f"   {card['algo'].upper()}, {card['network']['hidden']}x{card['network']['hidden']} "
            f"{card['network']['activation']}, seed {card['seed']}",
            f"   weights sha256 {card['weights_sha256']}",
            *(f"   {name} {value}" for name, value in sorted(card["versions"].items())),
            "2. Intended use",
            f"   A view (short, flat, long) beside the signals. {NOT_FOR}",
            "3. Factors",
            "   One simulated market and one set of its parameters; no symbol, regime or session",
            "   of a real market was seen.",
            "4. Metrics",
            "   Gain in bps of the cap an hour, net of fee, spread and impact; 95 % intervals.",
            "5. Evaluation data",
            f"   {test['n_markets']} markets, {test['hours']:g} simulated hours, never used in "
            "training or choice.",
            "6. Training data",
            *(f"   {name} {value}" for name, value in sorted(card["market"].items())),
            f"   made again at export: {data['kind']}, sha256 {data['sha256']}",
            *(f"   {name} {value}" for name, value in sorted(card["training"].items())),
            "7. Quantitative analyses (test markets)",
            *(
                f"   {each['name']}: {each['pnl_bps_per_hour']:+.2f} "
                f"[{each['pnl_low']:+.2f}, {each['pnl_high']:+.2f}]"
                for each in scores
            ),
            "8. Ethical considerations",
            "   It can lose its owner's money and nobody else's; it sends no orders by itself.",
            "9. Caveats",
            f"   {card['summary']}",
            "",
        ]
    )


def _json(tree: Any, indent: int | None = None) -> bytes:
    separators = None if indent else (",", ":")
    return (json.dumps(tree, sort_keys=True, indent=indent, separators=separators) + "\n").encode()
