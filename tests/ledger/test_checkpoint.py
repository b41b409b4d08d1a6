"""The form of a checkpoint: what others write is read, and nothing that only looks like one."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ValueRefused
from ledger.checkpoint import (
    ADOPTED,
    Checkpoint,
    open_note,
    parse_note,
    parse_text,
    sign,
    split_notes,
)
from ledger.keys import SigningKey, parse_vkey

# The example in the documentation of golang.org/x/mod/sumdb/note.
NEUMANN = parse_vkey("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
NEUMANN_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdng"
    "otpRZb6KE6RyyBwJnAM=\n"
)
# The example of the C2SP tlog-checkpoint page (its key is not published there).
C2SP_NOTE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhc"
    "yv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)
KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(b"a ledger of the tests, 32 bytes."))
OTHER = SigningKey(Ed25519PrivateKey.from_private_bytes(b"another ledger of tests, 32 byte"))
ROOT = bytes(range(32))
NOTE = sign(KEY, 20, ROOT)
STRANGER = f"— witness.example {base64.b64encode(b'1234' + bytes(64)).decode()}\n"


def test_note_of_the_reference_implementation_is_verified() -> None:
    note = parse_note(NEUMANN_NOTE)
    assert note.text.endswith("what your problem is.\n")
    assert note.is_signed_by(NEUMANN)
    assert not note.is_signed_by(KEY.public)
    assert not parse_note(NEUMANN_NOTE.replace("think", "thing")).is_signed_by(NEUMANN)


def test_checkpoint_of_the_specification_is_read() -> None:
    note = parse_note(C2SP_NOTE)
    found = parse_text(note.text)
    assert (found.origin, found.size) == ("example.com/behind-the-sofa", 20852163)
    assert found.root.hex().startswith("0ac5186a91863e8e")
    assert found.text == note.text
    assert note.signatures[0][1][:4].hex() == "033de0ae"


def test_checkpoint_is_signed_and_opened() -> None:
    assert open_note(NOTE, KEY.public) == Checkpoint(KEY.public.name, 20, ROOT)
    adopted = sign(KEY, 20, ROOT, ADOPTED)
    assert open_note(adopted, KEY.public).extensions == (ADOPTED,)
    assert sign(KEY, 20, ROOT) == NOTE  # Ed25519 takes no chance


def test_checkpoint_has_the_promised_lines() -> None:
    lines = NOTE.split("\n")
    assert lines[:4] == [KEY.public.name, "20", base64.b64encode(ROOT).decode(), ""]
    assert lines[4].startswith(f"— {KEY.public.name} ")
    assert lines[5:] == [""]


def test_checkpoint_of_another_ledger_is_refused() -> None:
    with pytest.raises(ValueRefused, match=f"this ledger is {OTHER.public.name}"):
        open_note(NOTE, OTHER.public)


def test_checkpoint_that_claims_our_name_under_another_key_is_refused() -> None:
    text = parse_note(NOTE).text
    blob = base64.b64encode(KEY.public.key_id + OTHER.sign(text.encode())).decode()
    with pytest.raises(ValueRefused, match="does not hold"):
        open_note(f"{text}\n— {KEY.public.name} {blob}\n", KEY.public)
    blob = base64.b64encode(OTHER.public.key_id + OTHER.sign(text.encode())).decode()
    with pytest.raises(ValueRefused, match="does not hold"):
        open_note(f"{text}\n— {KEY.public.name} {blob}\n", KEY.public)


def test_every_changed_character_is_noticed() -> None:
    for place, letter in enumerate(NOTE):
        for other in {chr(ord(letter) ^ 1), "", letter * 2, "\n", " "} - {letter}:
            changed = NOTE[:place] + other + NOTE[place + 1 :]
            with pytest.raises(ValueRefused):
                open_note(changed, KEY.public)


def test_signatures_of_witnesses_say_nothing_and_spoil_nothing() -> None:
    assert open_note(NOTE + STRANGER, KEY.public).size == 20
    text, _, line = NOTE.partition("\n\n")
    assert open_note(f"{text}\n\n{STRANGER}{line}", KEY.public).size == 20
    with pytest.raises(ValueRefused, match="does not hold"):
        open_note(f"{text}\n\n{STRANGER}", KEY.public)


def test_first_signature_of_a_key_decides() -> None:
    text, _, line = NOTE.partition("\n\n")
    blob = base64.b64encode(KEY.public.key_id + bytes(64)).decode()
    wrong = f"— {KEY.public.name} {blob}\n"
    with pytest.raises(ValueRefused, match="does not hold"):
        open_note(f"{text}\n\n{wrong}{line}", KEY.public)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        "\n\n",
        "a\n",
        "a\n\n",
        "\n\n— name AAAAAAAA\n",
        NOTE[:-1],
        NOTE + "\n",
        NOTE.replace("\n\n", "\n"),
        NOTE.replace("— ", "- "),
        NOTE.replace("— ", "—  "),
        NOTE.replace("20\n", "20\r\n"),
        NOTE + "— name AAAA\n",
        NOTE + "— name AAAAAAA\n",
        NOTE + "— name AAAAAAB=\n",
        NOTE + "— na+me AAAAAAAA\n",
        NOTE + STRANGER * 16,
        "x" * 8193,
    ],
)
def test_what_is_no_signed_note_is_refused(note: str) -> None:
    with pytest.raises(ValueRefused):
        parse_note(note)


@pytest.mark.parametrize(
    "lines",
    [
        ("origin", "20"),
        ("origin", "", "AAAA"),
        ("", "20", base64.b64encode(ROOT).decode()),
        *(
            ("origin", size, base64.b64encode(ROOT).decode())
            for size in ("", "020", "+20", "-1", "2 0", "1e3", "２０", "9" * 17, "0x10")
        ),
        ("origin", "20", base64.b64encode(ROOT[:31]).decode()),
        ("origin", "20", base64.b64encode(ROOT + b"x").decode()),
        ("origin", "20", base64.b64encode(ROOT).decode().rstrip("=")),
        ("origin", "20", base64.b64encode(ROOT).decode()[:-2] + "9="),
        ("origin", "20", base64.urlsafe_b64encode(b"\xff" * 32).decode()),
        ("origin", "20", base64.b64encode(ROOT).decode(), "", "more"),
    ],
)
def test_what_is_no_checkpoint_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(ValueRefused):
        parse_text("".join(f"{line}\n" for line in lines))


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    for candidate in (text, NOTE.replace("20\n", text), NOTE + text):
        with suppress(ValueRefused):
            parse_text(parse_note(candidate).text)
        with suppress(ValueRefused):
            split_notes(candidate)


@given(st.integers(0, 2**50), st.binary(min_size=32, max_size=32))
def test_what_was_signed_is_what_is_opened(size: int, root: bytes) -> None:
    assert open_note(sign(KEY, size, root), KEY.public) == Checkpoint(KEY.public.name, size, root)


def test_file_of_many_notes_is_taken_apart() -> None:
    second = sign(KEY, 40, ROOT, ADOPTED)
    assert split_notes(NOTE) == [NOTE]
    assert split_notes(f"{NOTE}\n{second}\n") == [NOTE, second]
    assert split_notes(f"{NOTE}{STRANGER}\n{second}") == [NOTE + STRANGER, second]
    mailed = f"\n\n{NOTE}\n{second}\n\n".replace("\n", "\r\n")
    assert split_notes(mailed) == [NOTE, second]


@pytest.mark.parametrize("text", ["", "\n\n", "hello", NOTE + "\nhello", NOTE[:-20] + "\n\n"])
def test_file_with_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueRefused):
        [parse_note(note) for note in split_notes(text)]
