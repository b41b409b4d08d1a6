"""Model files: what was written is what is read, and whatever else is refused with the reason."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import safetensors.numpy

from agents import registry
from agents.card import PolicyRefused, encode_card
from agents.registry import CARD_NAME, WEIGHTS_NAME, list_models, load_model, open_policy
from tests.agents import made


def saved(root: Path, agent_id: str = "made") -> Path:
    registry.save_model(root / agent_id, made.card(agent_id), made.weights())
    return root / agent_id


def rewrite_card(folder: Path, **changes: Any) -> None:
    path = folder / CARD_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def replace_weights(folder: Path, data: bytes) -> None:
    (folder / WEIGHTS_NAME).write_bytes(data)
    rewrite_card(folder, weights_sha256=hashlib.sha256(data).hexdigest())


def test_saved_and_loaded_policies_decide_alike(tmp_path: Path) -> None:
    policy = load_model(saved(tmp_path))
    for name, array in zip(made.weights().__struct_fields__, made.weights().arrays, strict=True):
        assert np.array_equal(getattr(policy.weights, name), array)
    direct = registry.FrozenPolicy(policy.card, made.weights())
    assert policy.decide(0, made.features(), 0.3) == direct.decide(0, made.features(), 0.3)
    assert policy.note == "Made up for a test."


def test_bytes_depend_on_the_values_alone(tmp_path: Path) -> None:
    one, two = saved(tmp_path / "a"), saved(tmp_path / "b")
    for name in (WEIGHTS_NAME, CARD_NAME):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_digests_pin_weights_and_schema(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    digest = hashlib.sha256((folder / WEIGHTS_NAME).read_bytes()).hexdigest()
    assert load_model(folder).digests["agent:made:weights"] == digest


def test_one_flipped_bit_anywhere_in_the_weights_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    whole = (folder / WEIGHTS_NAME).read_bytes()
    for place in range(0, len(whole), 97):
        cut = bytearray(whole)
        cut[place] ^= 1
        (folder / WEIGHTS_NAME).write_bytes(cut)
        with pytest.raises(PolicyRefused, match="sha256"):
            load_model(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema_hash": "0" * 64}, "observation schema"),
        ({"format": "agent/2"}, "format"),
        ({"id": "other"}, "id was other"),
        ({"observation": ["spread"]}, "observation was"),
        ({"actions": ["long", "flat", "short"]}, "actions"),
        ({"network": {"inputs": 3, "hidden": 8}}, "inputs"),
        ({"network": {"inputs": 16, "hidden": 8, "activation": "relu"}}, "activation"),
        ({"network": {"inputs": 16, "hidden": 16}}, r"w1|b1"),
        ({"surprise": 1}, "surprise"),
        ({"seed": 99}, "seed 99"),
        ({"id": "../x"}, "card.json"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    folder = saved(tmp_path)
    rewrite_card(folder, **changes)
    with pytest.raises(PolicyRefused, match=said):
        load_model(folder)


def test_weights_of_wrong_shape_type_or_value_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    good = dict(zip(made.weights().__struct_fields__, made.weights().arrays, strict=True))
    nan = made.weights().w2.copy()
    nan[0, 0] = np.nan
    for bad, said in (
        (good | {"w1": good["w1"].T.copy()}, "w1 was float32"),
        (good | {"b1": good["b1"].astype(np.float64)}, "b1 was float64"),
        ({k: v for k, v in good.items() if k != "b3"}, "arrays were"),
        (good | {"w2": nan}, "not finite"),
    ):
        replace_weights(folder, safetensors.numpy.save(bad))
        with pytest.raises(PolicyRefused, match=said):
            load_model(folder)


def test_a_pickle_in_place_of_weights_is_refused_and_not_run(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    mark = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (mark,)

    replace_weights(folder, pickle.dumps(Bomb()))
    with pytest.raises(PolicyRefused, match="safetensors"):
        load_model(folder)
    assert not mark.exists()


def test_missing_cut_and_oversized_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path)
    (folder / CARD_NAME).write_bytes(b'{"format": "ag')
    with pytest.raises(PolicyRefused, match="not a model card"):
        load_model(folder)
    (folder / CARD_NAME).unlink()
    with pytest.raises(PolicyRefused, match="cannot be read"):
        load_model(folder)
    folder = saved(tmp_path, "big")
    monkeypatch.setattr(registry, "FILE_BYTES_MAX", 100)
    with pytest.raises(PolicyRefused, match="larger than"):
        load_model(folder)


def test_saving_refuses_weights_that_do_not_fit_the_card(tmp_path: Path) -> None:
    with pytest.raises(PolicyRefused, match="w1"):
        registry.save_model(tmp_path / "made", made.card(), made.weights(hidden=4))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("bad", ["", "../made", "A", "a" * 41, "a b", "ppo\n", "é"])
def test_ids_that_are_no_ids_open_nothing(tmp_path: Path, bad: str) -> None:
    saved(tmp_path)
    with pytest.raises(PolicyRefused, match="agent id"):
        open_policy(bad, tmp_path)


def test_an_unknown_id_names_the_ids_there_are(tmp_path: Path) -> None:
    saved(tmp_path, "mine")
    with pytest.raises(PolicyRefused, match="mine"):
        open_policy("nobody", tmp_path)


def test_a_users_model_opens_by_its_id(tmp_path: Path) -> None:
    saved(tmp_path, "mine")
    assert open_policy("mine", tmp_path).agent_id == "mine"


def test_a_shipped_id_cannot_be_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "shipped"
    monkeypatch.setattr(registry, "SHIPPED", shipped)
    saved(shipped, "house")
    registry.save_model(tmp_path / "user" / "house", made.card("house"), made.weights(9))
    ours = made.weights().w1
    assert np.array_equal(open_policy("house", tmp_path / "user").weights.w1, ours)
    entries = {entry.is_shipped: entry for entry in list_models(tmp_path / "user")}
    assert entries[True].card is not None
    assert "belongs to a shipped agent" in entries[False].problem


def test_listing_shows_the_unusable_with_the_reason(tmp_path: Path) -> None:
    saved(tmp_path, "good")
    (saved(tmp_path, "bad") / WEIGHTS_NAME).write_bytes(b"x")
    found = {entry.agent_id: entry for entry in list_models(tmp_path) if not entry.is_shipped}
    assert found["good"].problem == ""
    assert found["bad"].card is None
    assert "sha256" in found["bad"].problem


def test_a_card_survives_its_own_text() -> None:
    card = made.card()
    assert registry.decode_card(encode_card(card)) == card
    assert msgspec.json.decode(encode_card(card))["id"] == "made"
