"""Where models live and how they are read: two plain files a model, checked before use.

``<folder>/<id>/model.safetensors`` and ``card.json``. Shipped models are beside this file, the
user's in the state directory. Nothing is ever unpickled; a file that differs in one bit from what
its card says, or that was made for another observation, is refused.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import safetensors
import safetensors.numpy

from agents.card import FORMAT, ModelCard, PolicyRefused, check_id, decode_card, encode_card
from agents.observe import ACTION_NAMES, N_OBSERVATION, OBSERVATION_NAMES, SCHEMA_HASH
from agents.policy import FrozenPolicy, Weights, shapes_of

SHIPPED = Path(__file__).resolve().parent / "models"
WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "card.json"
FILE_BYTES_MAX = 16 * 1024 * 1024


class Entry(msgspec.Struct, frozen=True):
    """One line of the listing; ``problem`` says why a model cannot be used."""

    agent_id: str
    folder: Path
    is_shipped: bool
    card: ModelCard | None
    problem: str = ""


def save_model(folder: Path, card: ModelCard, weights: Weights) -> ModelCard:
    """Write both files into ``folder``, made if absent; return the card with the digest filled in.

    The bytes depend on nothing but the values. The card goes last: a cut write is refused later.
    Errors: ``PolicyRefused`` if the weights do not fit the card.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in _named(weights).items()}
    _check_arrays(arrays, card, str(folder))
    data = safetensors.numpy.save(arrays)
    card = msgspec.structs.replace(card, weights_sha256=hashlib.sha256(data).hexdigest())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS_NAME).write_bytes(data)
    (folder / CARD_NAME).write_bytes(encode_card(card))
    return card


def load_model(folder: Path) -> FrozenPolicy:
    """Return the policy in ``folder``.

    Errors: ``PolicyRefused`` for a missing or oversized file, a wrong format, id, schema, digest,
    shape or type, or a weight that is not finite.
    """
    card = read_card(folder)
    data = _read(folder / WEIGHTS_NAME)
    digest = hashlib.sha256(data).hexdigest()
    if digest != card.weights_sha256:
        raise PolicyRefused(
            f"{folder / WEIGHTS_NAME}: sha256 was {digest[:12]}…, "
            f"the card says {card.weights_sha256[:12]}…"
        )
    try:
        arrays = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise PolicyRefused(f"{folder / WEIGHTS_NAME}: was not safetensors: {error}") from error
    _check_arrays(arrays, card, str(folder / WEIGHTS_NAME))
    return FrozenPolicy(card, Weights(**arrays))


def read_card(folder: Path) -> ModelCard:
    """Return the card in ``folder``, checked against this program. Errors: ``PolicyRefused``."""
    card = decode_card(_read(folder / CARD_NAME))
    expected = {
        "format": (card.format, FORMAT),
        "id": (card.id, folder.name),
        "observation schema": (card.schema_hash, SCHEMA_HASH),
        "observation": (card.observation, OBSERVATION_NAMES),
        "actions": (card.actions, ACTION_NAMES),
        "inputs": (card.network.inputs, N_OBSERVATION),
        "outputs": (card.network.outputs, len(ACTION_NAMES)),
        "activation": (card.network.activation, "tanh"),
    }
    for what, (found, allowed) in expected.items():
        if found != allowed:
            raise PolicyRefused(f"{folder}: {what} was {found}, this program uses {allowed}")
    return card


def list_models(models_dir: Path | None = None) -> list[Entry]:
    """Return every model shipped and in ``models_dir`` by id, the unusable ones too."""
    entries: list[Entry] = []
    for root, is_shipped in ((SHIPPED, True), (models_dir, False)):
        if root is None or not root.is_dir():
            continue
        folders = sorted(path for path in root.iterdir() if path.is_dir())
        entries += [_entry(folder, is_shipped=is_shipped) for folder in folders]
    return entries


def open_policy(agent_id: str, models_dir: Path | None = None) -> FrozenPolicy:
    """Return the policy called ``agent_id``; a shipped id cannot be taken over by a user's file.

    Errors: ``PolicyRefused`` naming the ids there are, or why this one cannot be used.
    """
    check_id(agent_id)
    for root in (SHIPPED, models_dir):
        if root is not None and (root / agent_id).is_dir():
            return load_model(root / agent_id)
    known = ", ".join(entry.agent_id for entry in list_models(models_dir)) or "none"
    raise PolicyRefused(f"agent {agent_id!r} is not known; there are: {known}")


def _entry(folder: Path, *, is_shipped: bool) -> Entry:
    try:
        check_id(folder.name)
        if not is_shipped and (SHIPPED / folder.name).is_dir():
            raise PolicyRefused(f"{folder}: the id {folder.name} belongs to a shipped agent")
        return Entry(folder.name, folder, is_shipped, load_model(folder).card)
    except PolicyRefused as error:
        return Entry(folder.name, folder, is_shipped, None, str(error))


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise PolicyRefused(f"{path}: was larger than {FILE_BYTES_MAX} bytes")
        return path.read_bytes()
    except OSError as error:
        raise PolicyRefused(f"{path}: cannot be read ({error.strerror})") from error


def _named(weights: Weights) -> dict[str, np.ndarray]:
    return {name: getattr(weights, name) for name in weights.__struct_fields__}


def _check_arrays(arrays: dict[str, np.ndarray], card: ModelCard, place: str) -> None:
    shapes = shapes_of(card.network.hidden)
    if set(arrays) != set(shapes):
        raise PolicyRefused(f"{place}: arrays were {sorted(arrays)}, allowed are {sorted(shapes)}")
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != np.float32:
            raise PolicyRefused(
                f"{place}: {name} was {array.dtype}{list(array.shape)}, "
                f"allowed is float32{list(shape)}"
            )
        if not np.isfinite(array).all():
            raise PolicyRefused(f"{place}: {name} held a value that is not finite")
