"""A run that has its checkpoints attested: nothing waits, and what did not come is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger import anchors_rfc3161 as rfc3161
from ledger.anchors import read_status
from tests.journeys.program import start, tapewright, wait_for
from tests.ledger.authority import HAS_OPENSSL, Authority, Calendar, Reply, calendar_answer, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (HAS_OPENSSL and rfc3161.is_available()), reason="needs openssl and the extra `anchors`"
    ),
]


def test_a_run_is_anchored_by_one_and_not_by_the_other_and_goes_on(tmp_path: Path) -> None:
    authority, calendar, state = Authority(tmp_path / "tsa"), Calendar(), tmp_path / "s"

    def answer(path: str, body: bytes) -> Reply | None:
        if path == "/tsr":
            return None if calendar.asked else Reply(authority.reply(body))
        return calendar_answer(calendar)(path, body)

    with serving(answer) as url, serving(lambda path, body: None) as silent:
        calendar.address = url
        (tmp_path / "anchored.toml").write_text(
            f'[anchors]\nrfc3161_url = "{url}/tsr"\nrfc3161_ca = "{authority.ca}"\n'
            f'ots_calendars = ["{silent}", "{url}"]\ntimeout_s = 1\n[sim]\nhistory_s = 0\n'
            "[agent]\nenabled = false\n"
        )
        process = start(
            "run", "--venue", "sim", "--headless", "--mode", "observe", "--state", state,
            "--config", tmp_path / "anchored.toml",
        )  # fmt: skip
        try:
            before = wait_for(state, process, lambda picture: bool(picture.instruments[0].bids))
            after = wait_for(state, process, lambda _: "ots pending" in read_status(state))
            assert after.ts_ns > before.ts_ns, "nothing waits"
        finally:
            process.terminate()
            process.communicate(timeout=30)
    assert process.returncode == 0
    shown = tapewright("ledger", "verify", "--state", state)
    assert shown.returncode == 0
    lines = shown.stdout.splitlines()
    assert any("signed by CN=Test TSA" in line for line in lines)
    assert any("this proves nothing until it is in a block" in line for line in lines)
    events = tapewright("ledger", "show", "anchors", "--state", state).stdout
    assert events.count('"type":"ANCHORED"') == 2
    assert '"reason":"it did not answer in time"' in events
