from itertools import product
from threading import Thread

import pytest

from maskstream.stream.states import LEGAL, SourceState, SourceStatus, StateChange

CONNECTING, ONLINE, STALLED, RECONNECTING, OFFLINE, ENDED = SourceState


def reached(state: SourceState, changed: list[StateChange]) -> SourceStatus:
    """Return a status in this state, by the shortest legal way."""
    ways = {
        CONNECTING: [],
        ONLINE: [ONLINE],
        STALLED: [ONLINE, STALLED],
        RECONNECTING: [ONLINE, RECONNECTING],
        OFFLINE: [OFFLINE],
        ENDED: [ENDED],
    }
    status = SourceStatus("door", changed.append)
    for step in ways[state]:
        assert status.change(step, "test")
    return status


def test_every_change_is_told_with_its_cause() -> None:
    changes: list[StateChange] = []
    status = SourceStatus("door", changes.append)
    status.change(ONLINE, "640x480")
    status.change(STALLED, "no frame for 2.0 s")
    assert [(each.before, each.state, each.cause) for each in changes] == [
        (None, CONNECTING, "started"),
        (CONNECTING, ONLINE, "640x480"),
        (ONLINE, STALLED, "no frame for 2.0 s"),
    ]
    assert status.last is changes[-1]
    assert changes[2].before_s == pytest.approx(changes[2].at_s - changes[1].at_s)
    assert all(each.wall_time.utcoffset() is not None for each in changes)


@pytest.mark.parametrize(("before", "after"), list(product(SourceState, SourceState)), ids=lambda state: state.value)
def test_only_what_is_legal_can_happen(before: SourceState, after: SourceState) -> None:
    changes: list[StateChange] = []
    status = reached(before, changes)
    count = len(changes)
    if before is after:
        assert not status.change(after, "again")
    elif after in LEGAL[before]:
        assert status.change(after, "legal")
    else:
        with pytest.raises(ValueError, match=f"{after.value} may not follow {before.value}"):
            status.change(after, "illegal")
    assert len(changes) == count + (after in LEGAL[before])


def test_nothing_follows_the_end_and_everything_may_end() -> None:
    assert LEGAL[ENDED] == frozenset()
    assert all(ENDED in LEGAL[state] for state in SourceState if state is not ENDED)


def test_a_change_from_another_state_than_expected_is_left() -> None:
    changes: list[StateChange] = []
    status = reached(RECONNECTING, changes)
    assert not status.change(STALLED, "late news", {ONLINE})
    assert status.last.state is RECONNECTING


def test_of_many_threads_one_makes_the_change() -> None:
    changes: list[StateChange] = []
    status = reached(ONLINE, changes)
    made: list[bool] = []
    threads = [Thread(target=lambda: made.append(status.change(STALLED, "quiet", {ONLINE}))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(made) == 1
    assert len(changes) == 3
