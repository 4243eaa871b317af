from datetime import datetime, timedelta

from maskstream.store.history import Outage
from maskstream.store.store import Store
from maskstream.stream.states import SourceState, StateChange
from tests.slowness import LONGEST_S
from tests.store.made import NOON, WallClock, counts

S = SourceState


def change(
    state: SourceState, second: float, before: SourceState | None = S.ONLINE, cause: str = "", camera: str = "door"
) -> StateChange:
    return StateChange(camera, state, before, cause or state.value, second, NOON + timedelta(seconds=second), before_s=5.0)


def put(store: Store, *changes: StateChange) -> None:
    for each in changes:
        store.states.put(each)
    assert store.flush(LONGEST_S)


def utc(second: float) -> str:
    return (NOON + timedelta(seconds=second)).isoformat(timespec="milliseconds")


def test_the_counts_of_minutes(store: Store) -> None:
    store.people.put(counts(1))
    store.people.put(counts(2, "hall"))
    store.people.put(counts(3, people={"mask": 1}, person_s={"mask": 2.5}))
    assert store.flush(LONGEST_S)
    page = store.people.page(cameras=("door",))
    assert [each["began_utc"] for each in page.minutes] == [utc(180), utc(60)]
    assert page.minutes[1]["people"] == counts(1)["people"]
    assert page.minutes[1]["person_s"] == counts(1)["person_s"]
    assert page.minutes[0]["people"] == {"mask": 1, "no_mask": 0, "incorrect": 0, "unknown": 0}
    assert page.next_cursor is None
    since = store.people.page(cameras=None, since=NOON + timedelta(minutes=2), limit=1)
    assert [each["camera"] for each in since.minutes] == ["door"]
    following = store.people.page(cameras=None, since=NOON + timedelta(minutes=2), limit=1, cursor=since.next_cursor)
    assert [each["camera"] for each in following.minutes] == ["hall"]


def test_a_state_ends_the_one_before(store: Store) -> None:
    put(
        store,
        change(S.CONNECTING, 0, None),
        change(S.ONLINE, 1, S.CONNECTING),
        change(S.STALLED, 9),
        change(S.ONLINE, 3, camera="hall"),
    )
    states = store.states.page(cameras=("door",)).states
    assert [(each.state, each.began_utc, each.ended_utc, each.duration_s) for each in states] == [
        ("stalled", utc(9), None, None),
        ("online", utc(1), utc(9), 5.0),
        ("connecting", utc(0), utc(1), 5.0),
    ]


def test_an_outage_reaches_from_the_last_frame_to_the_next(store: Store) -> None:
    assert store.states.last_outage("door") is None
    put(store, change(S.CONNECTING, 0, None), change(S.ONLINE, 1, S.CONNECTING))
    assert store.states.last_outage("door") is None
    put(
        store,
        change(S.STALLED, 5, cause="no frames for 4 s"),
        change(S.RECONNECTING, 8, S.STALLED),
        change(S.OFFLINE, 20, S.RECONNECTING),
    )
    assert store.states.last_outage("door") == Outage(utc(5), None, "no frames for 4 s")
    put(store, change(S.ONLINE, 60, S.OFFLINE))
    assert store.states.last_outage("door") == Outage(utc(5), utc(60), "no frames for 4 s")
    put(store, change(S.RECONNECTING, 90, cause="end of stream"), change(S.ENDED, 95, S.RECONNECTING))
    assert store.states.last_outage("door") == Outage(utc(90), utc(95), "end of stream")
    assert store.states.last_outage("hall") is None
    assert [each.ended_utc for each in store.states.page(cameras=None).states if each.state == "ended"] == [utc(95)]


def test_a_camera_that_never_connected_has_an_outage(store: Store) -> None:
    put(store, change(S.CONNECTING, 0, None), change(S.OFFLINE, 10, S.CONNECTING, "connection refused"))
    assert store.states.last_outage("door") == Outage(utc(10), None, "connection refused")


def test_durations_hold_when_the_clock_is_set_back(store: Store) -> None:
    put(store, change(S.ONLINE, 0, None), change(S.STALLED, -86_400))
    states = store.states.page(cameras=None).states
    assert [(each.state, each.duration_s) for each in states] == [("stalled", None), ("online", 5.0)]
    assert datetime.fromisoformat(states[0].began_utc) < NOON
    assert store.states.last_outage("door") == Outage(utc(-86_400), None, "stalled")


def test_a_state_ends_with_its_run(store: Store, clock: WallClock) -> None:
    store.runs.begin(is_alone=True)
    put(store, change(S.ONLINE, 0, None))
    clock.advance(30)
    store.runs.end()
    assert store.flush(LONGEST_S)
    assert store.states.page(cameras=None).states[0].ended_utc == utc(30)
