from __future__ import annotations

from core.control import CancelOrder, CloseTrade, Confirm, Reject
from tests.tui import snapshots as made
from tui.present.scene import Said
from tui.state import SAID_LIFE_MS, DeskState

MS = 1_000_000
NOW = made.NOW_NS


def desk(*ids: str) -> DeskState:
    """Return a desk that has drawn proposals ``ids`` at NOW."""
    state = DeskState(NOW, 10)
    show(state, *ids)
    return state


def show(state: DeskState, *ids: str, at_ms: int = 0) -> None:
    state.receive(made.normal(proposals=tuple(made.proposal(i) for i in ids)), NOW + at_ms * MS)
    state.draw(NOW + at_ms * MS)


def test_yes_confirms_the_proposal_on_show() -> None:
    assert desk("a").answer(yes=True, now_ns=NOW + 300 * MS) == Confirm("a")


def test_no_rejects_the_proposal_on_show() -> None:
    answer = desk("a").answer(yes=False, now_ns=NOW + 300 * MS)
    assert isinstance(answer, Reject)
    assert answer.decision_id == "a"


def test_an_answer_within_the_guard_is_ignored_and_said() -> None:
    for yes in (True, False):
        answer = desk("a").answer(yes=yes, now_ns=NOW + 299 * MS)
        assert isinstance(answer, Said)
        assert "just appeared" in answer.text


def test_a_replacement_under_the_finger_is_not_confirmed() -> None:
    state = desk("a")
    show(state, "b", at_ms=1_000)
    assert isinstance(state.answer(yes=True, now_ns=NOW + 1_100 * MS), Said)
    assert state.answer(yes=True, now_ns=NOW + 1_300 * MS) == Confirm("b")


def test_a_new_proposal_does_not_take_the_place_of_the_one_on_show() -> None:
    state = desk("a")
    show(state, "a", "b", at_ms=500)
    assert state.answer(yes=True, now_ns=NOW + 600 * MS) == Confirm("a")


def test_moving_to_another_proposal_starts_the_guard_again() -> None:
    state = desk("a", "b")
    assert state.draw(NOW).decision_id == "b"
    show(state, "a", "b", at_ms=1_000)
    state.move(-1, NOW + 1_000 * MS)
    assert state.draw(NOW + 1_000 * MS).decision_id == "a"
    assert isinstance(state.answer(yes=True, now_ns=NOW + 1_100 * MS), Said)
    assert state.answer(yes=True, now_ns=NOW + 1_300 * MS) == Confirm("a")


def test_a_proposal_is_answered_once_until_the_answer_fails() -> None:
    state = desk("a")
    answer = state.answer(yes=True, now_ns=NOW + 400 * MS)
    again = state.answer(yes=True, now_ns=NOW + 500 * MS)
    assert isinstance(again, Said)
    assert "answered already" in again.text
    assert isinstance(answer, Confirm)
    state.withdraw_answer(answer)
    assert state.answer(yes=True, now_ns=NOW + 600 * MS) == Confirm("a")


def test_nothing_to_answer_is_said() -> None:
    said = desk().answer(yes=True, now_ns=NOW + 400 * MS)
    assert isinstance(said, Said)
    assert "no proposal" in said.text


def test_a_frozen_picture_is_not_confirmed_but_may_be_rejected() -> None:
    state = desk("a")
    state.paused = True
    said = state.answer(yes=True, now_ns=NOW + 400 * MS)
    assert isinstance(said, Said)
    assert "paused" in said.text
    assert isinstance(state.answer(yes=False, now_ns=NOW + 400 * MS), Reject)


def test_an_old_picture_is_not_confirmed() -> None:
    said = desk("a").answer(yes=True, now_ns=NOW + 5_000 * MS)
    assert isinstance(said, Said)
    assert "cannot be believed" in said.text


def test_a_lost_engine_is_not_asked_to_confirm() -> None:
    state = desk("a")
    state.lose("gone")
    said = state.answer(yes=True, now_ns=NOW + 400 * MS)
    assert isinstance(said, Said)
    assert "ENGINE LOST" in said.text


def test_pause_freezes_the_panes_and_not_the_chrome() -> None:
    state = DeskState(NOW, 10)
    state.receive(made.normal(number=1), NOW)
    state.draw(NOW)
    state.paused = True
    state.receive(made.normal(number=2), NOW)
    frozen, live = state.draw(NOW).snapshot, state.chrome(NOW).snapshot
    assert frozen is not None
    assert live is not None
    assert (frozen.number, live.number) == (1, 2)


def test_the_loss_of_the_engine_counts_from_its_last_answer() -> None:
    state = desk("a")
    state.lose("gone")
    assert state.chrome(NOW + 3_200 * MS).lost_ms == 3_200
    state.receive(made.normal(), NOW + 4_000 * MS)
    assert state.chrome(NOW + 4_000 * MS).lost_ms is None


def test_silence_counts_as_loss_before_any_time_out() -> None:
    assert desk("a").chrome(NOW + 900 * MS).lost_ms is None
    assert desk("a").chrome(NOW + 1_100 * MS).lost_ms == 1_100


def test_a_word_goes_after_a_while_and_one_that_sticks_does_not() -> None:
    state = desk()
    state.say(Said("info", "done"), NOW)
    assert state.chrome(NOW + SAID_LIFE_MS * MS).said == Said("info", "done")
    assert state.chrome(NOW + (SAID_LIFE_MS + 1) * MS).said is None
    stuck = Said("error", "KILL ALL: NOT DONE", sticks=True)
    state.say(stuck, NOW)
    state.say(Said("info", "other"), NOW)
    assert state.chrome(NOW + 60_000 * MS).said == stuck
    state.forget_said()
    assert state.chrome(NOW).said is None


def test_k_always_sends_because_the_engine_knows_better_what_is_open() -> None:
    state = DeskState(NOW, 10)
    assert isinstance(state.close_trade(NOW), Said)
    state.receive(made.normal(positions=(), orders=()), NOW)
    state.draw(NOW)
    assert state.close_trade(NOW) == CloseTrade("SIM-USD")


def test_an_order_is_canceled_only_where_one_is_chosen() -> None:
    state = desk()
    assert isinstance(state.cancel_order(), Said)
    state.focus = "orders"
    assert state.cancel_order() == CancelOrder("tw-1-7")


def test_rows_stop_at_both_ends() -> None:
    state = desk()
    state.focus = "fills"
    state.move(-5, NOW)
    assert state.chosen_fill() == made.fill(20, "SELL")
    state.move(99, NOW)
    assert state.chosen_fill() == made.normal().fills[-1]


def test_an_instrument_that_is_not_there_is_not_selected() -> None:
    state = desk()
    assert state.select_instrument(1)
    assert not state.select_instrument(2)
    assert state.instrument == 1


def test_what_is_open_is_told_an_instrument_a_line() -> None:
    assert desk().open_words() == ["SIM-USD: cancel 1 order, sell 9.987 to flat"]
    state = DeskState(NOW, 10)
    assert state.open_words() == []
