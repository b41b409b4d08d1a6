"""The feed sheet tells every count, what is wrong first, and goes on while it is open."""

from __future__ import annotations

import msgspec
import pytest

from core.feed_words import feed_lines
from core.model.market import FeedState
from core.snapshot import ConnectionView, RecordingView
from tests.core.sample import SNAPSHOT
from tests.tui import snapshots as made
from tests.tui.fakes import Rig, screen_text
from tui.present.line import line_text
from tui.present.scene import Scene
from tui.present.status import banner_line, status_line
from tui.screens.feed import FeedScreen

SAMPLE_CONNECTION = SNAPSHOT.connections[0]
assert SNAPSHOT.recording is not None
SAMPLE_RECORDING: RecordingView = SNAPSHOT.recording


def text_of(**changes: object) -> str:
    return "\n".join(feed_lines(msgspec.structs.replace(SNAPSHOT, **changes)))


@pytest.mark.parametrize("name", ConnectionView.__struct_fields__)
def test_every_count_of_a_connection_is_told(name: str) -> None:
    value = getattr(SAMPLE_CONNECTION, name)
    if isinstance(value, bool) or name in {"attempts", "next_attempt_ms", "venue"}:
        other = msgspec.structs.replace(
            SAMPLE_CONNECTION, is_connected=False, attempts=77, next_attempt_ms=4_000
        )
    else:
        changed = value + 90_000 if isinstance(value, int) else f"{value}!"
        other = msgspec.structs.replace(SAMPLE_CONNECTION, **{name: changed})
    assert text_of(connections=(other,)) != text_of()


@pytest.mark.parametrize("name", RecordingView.__struct_fields__)
def test_every_count_of_a_recording_is_told(name: str) -> None:
    value = getattr(SAMPLE_RECORDING, name)
    changed = (not value) if isinstance(value, bool) else value * 1_000 if value else "disk full"
    other = msgspec.structs.replace(SAMPLE_RECORDING, **{name: changed})
    assert text_of(recording=other) != text_of()


def test_state_is_told_with_how_long_why_and_what_changed_it() -> None:
    text = text_of()
    assert "live 61.0 s" in text
    assert "opened 1, snapshot 4, gap 3" in text
    assert "known from 90.00 to the end; unknown beyond" in text
    assert "98.5/s" in text


def test_quantities_off_the_lot_grid_are_told_where_there_were_any() -> None:
    one = SNAPSHOT.instruments[0]
    floored = msgspec.structs.replace(one, feed=msgspec.structs.replace(one.feed, floored=1_234))
    assert "1,234 quantities taken down to whole lots" in text_of(instruments=(floored,))
    assert "off lot" not in text_of()


def test_instrument_that_is_not_live_comes_first() -> None:
    live, other = made.instrument("AAA-USD"), made.instrument("BBB-USD")
    stale = msgspec.structs.replace(other, feed=made.feed(FeedState.STALE, reason="no frame"))
    lines = text_of(instruments=(live, stale))
    assert lines.index("BBB-USD") < lines.index("AAA-USD")
    assert "no frame" in lines


def test_socket_that_is_down_says_when_it_tries_again_and_why_it_fell() -> None:
    down = msgspec.structs.replace(
        SAMPLE_CONNECTION, is_connected=False, attempts=3, next_attempt_ms=2_500
    )
    text = text_of(connections=(down,))
    assert "not connected, 3 attempts, next in 2.5 s" in text
    assert "connection lost: 1006" in text


def test_nothing_is_invented_without_a_picture_a_socket_or_a_tape() -> None:
    assert feed_lines(None) == ["no picture from the engine yet"]
    replay = msgspec.structs.replace(SAMPLE_CONNECTION, has_socket=False)
    text = text_of(connections=(replay,), recording=None, frames_per_s=None)
    assert "no socket: replay or simulated market" in text
    assert "none: a replay keeps nothing" in text
    assert "(—" in text


def scene(**changes: object) -> Scene:
    snapshot = msgspec.structs.replace(made.normal(), **changes)
    return Scene(snapshot=snapshot, now_ns=snapshot.made_ns)


def test_recording_that_ended_is_on_the_banner_and_its_losses_in_the_status_line() -> None:
    broken = msgspec.structs.replace(
        SAMPLE_RECORDING, trouble="the tape has ended: No space left on device"
    )
    wrong = scene(recording=broken, notices=())
    assert "No space left on device" in line_text(banner_line(wrong, 120))
    status = line_text(status_line(wrong, 200))
    assert "tape lost 11" in status
    assert "not recorded 12" in status


def test_failed_checks_lost_trades_and_cut_clients_are_in_the_status_line() -> None:
    status = line_text(
        status_line(scene(connections=SNAPSHOT.connections, clients=SNAPSHOT.clients), 200)
    )
    for told in ("checks failed 5", "trades lost 6", "clients cut 5"):
        assert told in status


async def test_the_sheet_opens_by_one_key() -> None:
    rig = Rig(SNAPSHOT)
    async with rig.app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await rig.app.pull_once()
        await pilot.press("f")
        await pilot.pause()
        assert "FEEDS" in screen_text(rig.app)
        assert "live 61.0 s" in screen_text(rig.app)


async def test_the_sheet_follows_the_engine_while_it_is_open() -> None:
    rig = Rig(SNAPSHOT)
    seen = [SNAPSHOT]
    async with rig.app.run_test(size=(120, 40)) as pilot:
        sheet = FeedScreen(lambda: seen[-1])
        await rig.app.push_screen(sheet)
        seen.append(msgspec.structs.replace(SNAPSHOT, frames_per_s=4_321.0))
        sheet.renew()
        await pilot.pause()
        assert "4,321.0/s" in screen_text(rig.app)


def test_a_book_without_numbers_says_how_long_a_lost_level_may_stay_unseen() -> None:
    one = SNAPSHOT.instruments[0]
    unproven = msgspec.structs.replace(one, feed=msgspec.structs.replace(one.feed, unseen_s=900))
    words = "not numbered by the venue: a lost level may stay unseen for 15 min"
    assert words in text_of(instruments=(unproven,))
    assert "not numbered" not in text_of()
