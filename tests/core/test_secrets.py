"""Keys are found in one order, kept where only we can read them, and never shown."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from keyring.errors import KeyringLocked, PasswordDeleteError

from core.errors import UserError
from core.secrets import (
    KEY_ID,
    KEY_SECRET,
    SERVICE,
    VenueKeys,
    find_keys,
    forget_keys,
    missing_keys,
    secrets_file,
)

ENVIRON = {"APCA_API_KEY_ID": "env-id", "APCA_API_SECRET_KEY": "env-secret"}


class MemoryKeyring:
    """The three functions of ``keyring``, in memory."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, name: str) -> str | None:
        return self.entries.get((service, name))

    def set_password(self, service: str, name: str, text: str) -> None:
        self.entries[service, name] = text

    def delete_password(self, service: str, name: str) -> None:
        if self.entries.pop((service, name), None) is None:
            raise PasswordDeleteError(name)


class LockedKeyring(MemoryKeyring):
    """One whose owner said no."""

    def get_password(self, service: str, name: str) -> str | None:
        raise KeyringLocked

    def set_password(self, service: str, name: str, text: str) -> None:
        raise KeyringLocked


def keys(key_id="an-id", secret="a-secret"):
    return VenueKeys(key_id, secret, "a test")


def pair(found):
    return None if found is None else found.fill(f"{KEY_ID} {KEY_SECRET}")


def test_keys_go_in_the_place_of_their_marks_and_out_again():
    text = f'{{"key":"{KEY_ID}","secret":"{KEY_SECRET}"}}'
    assert keys().fill(text) == '{"key":"an-id","secret":"a-secret"}'
    assert keys().hide("auth an-id/a-secret") == f"auth {KEY_ID}/{KEY_SECRET}"


def test_keys_are_in_no_text_of_the_object_and_cannot_be_written():
    for text in (repr(keys()), str(keys()), f"{keys()}", f"{[keys()]!r}"):
        assert "an-id" not in text
        assert "a-secret" not in text
    with pytest.raises(TypeError, match="not copied or written"):
        pickle.dumps(keys())


@pytest.mark.parametrize("text", ["", "a b", 'a"b', "a\\b", "ä", "a\nb", "x" * 257])
def test_keys_that_are_no_plain_text_are_refused_without_being_told(text):
    with pytest.raises(UserError, match="the secret from a test was empty or was not") as refused:
        keys(secret=text)
    assert not text or text not in str(refused.value)


def test_environment_comes_before_the_keyring_and_the_keyring_before_the_file():
    store = MemoryKeyring()
    keys("file-id").store("alpaca", LockedKeyring())
    assert pair(find_keys("alpaca", {}, store)) == "file-id a-secret"
    # Storing in the keyring takes the ones in the file away: there is one truth.
    assert keys("ring-id").store("alpaca", store) == "the OS keyring"
    assert not secrets_file().exists()
    assert pair(find_keys("alpaca", {}, store)) == "ring-id a-secret"
    found = find_keys("alpaca", ENVIRON, store)
    assert (pair(found), found.source) == ("env-id env-secret", "the environment")


def test_half_a_pair_in_the_environment_is_an_error_that_names_the_other():
    with pytest.raises(UserError, match="no APCA_API_SECRET_KEY; set both"):
        find_keys("alpaca", {"APCA_API_KEY_ID": "x"}, MemoryKeyring())


def test_without_keys_there_are_none_and_the_error_says_how_to_give_some():
    assert find_keys("alpaca", {}, MemoryKeyring()) is None
    assert "tapewright secrets set alpaca" in str(missing_keys("alpaca"))


def test_where_there_is_no_keyring_a_file_of_mode_0600_keeps_them():
    # The tests' own keyring is the one that fails: a server without a desktop has such.
    assert keys().store("alpaca") == f"the file {secrets_file()}"
    assert secrets_file().stat().st_mode & 0o777 == 0o600
    assert pair(find_keys("alpaca", {})) == "an-id a-secret"
    assert list(secrets_file().parent.iterdir()) == [secrets_file()]


def test_file_that_others_can_read_is_refused_with_the_fix():
    keys().store("alpaca")
    secrets_file().chmod(0o640)
    with pytest.raises(UserError, match=f"chmod 600 {secrets_file()}"):
        find_keys("alpaca", {})


def test_file_that_is_no_toml_is_refused_without_quoting_it():
    secrets_file().parent.mkdir(parents=True)
    secrets_file().write_text("[alpaca]\nsecret = my-secret-text\n")
    secrets_file().chmod(0o600)
    with pytest.raises(UserError, match="was not TOML") as refused:
        find_keys("alpaca", {})
    assert "my-secret-text" not in str(refused.value)


@pytest.mark.parametrize("entry", ["not json", "[]", "{}"])
def test_keyring_entry_of_another_make_is_refused(entry):
    store = MemoryKeyring()
    store.entries[SERVICE, "alpaca"] = entry
    with pytest.raises(UserError, match="from the OS keyring was empty"):
        find_keys("alpaca", {}, store)


def test_forgotten_keys_are_gone_from_both_places():
    store = MemoryKeyring()
    keys().store("alpaca", store)
    keys().store("alpaca", LockedKeyring())
    assert forget_keys("alpaca", store) == ["the OS keyring", f"the file {secrets_file()}"]
    assert find_keys("alpaca", {}, store) is None
    assert forget_keys("alpaca", store) == []


def test_file_keeps_the_keys_of_other_venues():
    keys().store("alpaca")
    keys("other").store("another")
    assert forget_keys("another") == [f"the file {secrets_file()}"]
    assert pair(find_keys("alpaca", {})) == "an-id a-secret"


def test_place_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot be read"):
        keys().store("alpaca")
