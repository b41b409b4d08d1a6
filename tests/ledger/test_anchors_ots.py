"""OpenTimestamps proofs: as the reference library writes them, and nothing that is not one."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ValueRefused
from ledger import anchors_ots as ots

OF_THE_REFERENCE = bytes.fromhex(
    "004f70656e54696d657374616d7073000050726f6f6600bf89e2e884e892940108000102030405060708090a0b0c0d"
    "0e0f101112131415161718191a1b1c1d1e1ff0101111111111111111111111111111111108fff00833333333333333"
    "3308ff0083dfe30d2ef90c8e2e2d68747470733a2f2f616c6963652e6274632e63616c656e6461722e6f70656e7469"
    "6d657374616d70732e6f7267f128444444444444444444444444444444444444444444444444444444444444444444"
    "444444444444440808000588960d73d7190103b9ca31f10422222222080083dfe30d2ef90c8e222168747470733a2f"
    "2f612e706f6f6c2e6f70656e74696d657374616d70732e6f7267"
)
"""Written by python-opentimestamps 0.4.5: two promises and a block of our choosing."""
ROOT_OF_THE_REFERENCE = "7655b4eed134004509712611c1f75d58e6a5c855508b9350d75f08671cfabeb1"
"""What its ``str_tree`` says the Merkle root of that block must be."""
DIGEST = hashlib.sha256(b"a checkpoint").digest()
ADDRESS = "https://calendar.example"


def promised() -> bytes:
    root, tip = ots.begin(DIGEST, b"n" * 16)
    tip.attested.add(ots.pending(ADDRESS))
    return ots.file_of(root)


def refused(data: bytes) -> str:
    with pytest.raises(ValueRefused) as found:
        ots.parse_file(data)
    return str(found.value)


def test_a_file_of_the_reference_library_is_read_as_it_reads_it_and_written_again() -> None:
    stamp = ots.parse_file(OF_THE_REFERENCE)
    said = [(each.calendar, each.block) for _, each in stamp.walk()]
    assert said == [
        ("https://alice.btc.calendar.opentimestamps.org", None),
        ("", 812_345),
        ("https://a.pool.opentimestamps.org", None),
    ]
    at = next(at for at, each in stamp.walk() if each.block is not None)
    assert at.message[::-1].hex() == ROOT_OF_THE_REFERENCE
    assert ots.file_of(stamp) == OF_THE_REFERENCE


def test_what_is_submitted_hides_the_digest_behind_the_nonce() -> None:
    root, tip = ots.begin(DIGEST, b"n" * 16)
    assert root.message == DIGEST
    assert tip.message == hashlib.sha256(DIGEST + b"n" * 16).digest()


def test_answers_of_two_calendars_stand_in_one_proof() -> None:
    root, tip = ots.begin(DIGEST, b"n" * 16)
    for address in (ADDRESS, "https://other.example"):
        stamp = ots.Stamp(tip.message, {ots.pending(address)})
        tip.join(ots.parse_answer(ots.answer_of(stamp), tip.message))
    found = ots.parse_file(ots.file_of(root))
    assert {each.calendar for _, each in found.walk()} == {ADDRESS, "https://other.example"}
    with pytest.raises(ValueRefused, match="another digest"):
        tip.join(ots.Stamp(b"x"))


def test_a_stamp_that_nobody_attests_is_no_proof() -> None:
    with pytest.raises(ValueRefused, match="nobody attests"):
        ots.file_of(ots.begin(DIGEST, b"n")[0])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cut short"),
        (b"garbage" * 20, "not an OpenTimestamps proof"),
        (promised()[:-1], "cut short"),
        (promised() + b"x", "follows the proof"),
        (promised().replace(b"\x01\x08", b"\x02\x08", 1), "version 1"),
        (promised().replace(b"\x01\x08", b"\x01\x02", 1), "not hashed with SHA-256"),
        (promised().replace(b"https", b"h tps"), "characters"),
        (ots.MAGIC + b"\x01\x08" + DIGEST + b"\x67", "0x67 is not known"),
        (ots.MAGIC + b"\x01\x08" + DIGEST + b"\xf0\x00", "0 bytes"),
        (ots.MAGIC + b"\x01\x08" + DIGEST + b"\xf0" + b"\xff" * 12, "too large"),
        (ots.MAGIC + b"\x01\x08" + DIGEST + b"\x08" * 300, "too deep"),
        (ots.MAGIC + b"\x01\x08" + DIGEST + (b"\xf0\x80\x18" + b"a" * 3072) * 2, "too long"),
        (b"x" * (ots.FILE_BYTES_MAX + 1), "bytes, allowed"),
    ],
)
def test_what_is_not_a_proof_is_refused_with_the_reason(data: bytes, said: str) -> None:
    assert said in refused(data)


def test_the_same_operation_twice_is_refused() -> None:
    _, tip = ots.begin(DIGEST, b"n")
    one = ots.answer_of(ots.Stamp(tip.message, {ots.pending(ADDRESS)}))
    assert "twice" in refused(ots.MAGIC + b"\x01\x08" + DIGEST + b"\xff\x08" + one + b"\x08" + one)


@given(st.data())
def test_no_changed_byte_does_anything_but_change_the_proof_or_be_refused(
    data: st.DataObject,
) -> None:
    spoilt = bytearray(OF_THE_REFERENCE)
    place = data.draw(st.integers(0, len(spoilt) - 1))
    spoilt[place] ^= data.draw(st.integers(1, 255))
    try:
        stamp = ots.parse_file(bytes(spoilt))
    except ValueRefused:
        return
    assert stamp != ots.parse_file(OF_THE_REFERENCE)
