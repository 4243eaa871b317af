from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from maskstream.errors import StoreError
from maskstream.events.event_records import event_record
from maskstream.events.types import MinuteCounts, Phase, Timestamp
from maskstream.store.history import Outage
from maskstream.store.sink import StoreSink
from maskstream.store.store import Store
from maskstream.stream.states import SourceState, StateChange
from maskstream.types import Label
from tests.events.test_sink import event
from tests.slowness import LONGEST_S
from tests.store.made import CHEAP, NOON, WallClock, locked
from tests.store.test_writer import no_file_grows


def change(state: SourceState, before: SourceState | None, second: float = 0.0, camera: str = "door") -> StateChange:
    return StateChange(camera, state, before, state.value, second, NOON + timedelta(seconds=second), 1.0)


def crashed(store: Store) -> None:
    """Write what waits, and let go as the system does for a killed process: the run has no end."""
    assert store.flush(LONGEST_S)
    store.close()


def test_events_counts_and_states_are_stored(store: Store) -> None:
    sink = StoreSink(store)
    counts = MinuteCounts(
        "door", Timestamp(0, 0.0, NOON), Timestamp(9, 59.0, NOON), dict.fromkeys(Label, 2), dict.fromkeys(Label, 1.5)
    )
    sink.take([event(crop=b"a face"), counts])
    sink.state_changed(change(SourceState.CONNECTING, None))
    sink.close()
    sink.close()
    found = store.events.get("abc")
    assert found is not None
    expected = event_record(event())
    del expected["best"]["crop_jpeg"]
    assert found.record == expected
    assert store.people.page(cameras=None).minutes[0]["person_s"] == dict.fromkeys(map(str, Label), 1.5)
    assert store.states.page(cameras=None).states[0].state == "connecting"
    assert sink.health() == ""
    store.audit.add("anna", "the store stays open", "", "local")


def test_a_run_ends_what_a_killed_run_left_open(tmp_path: Path, clock: WallClock) -> None:
    killed = Store(tmp_path, clock, cost=CHEAP)
    first = StoreSink(killed)
    first.take([event(), replace(event(), event_id="ended", phase=Phase.END, cause="gone")])
    first.state_changed(change(SourceState.STALLED, SourceState.ONLINE))
    clock.advance(30)
    crashed(killed)
    first._lock.close()
    with Store(tmp_path, clock, cost=CHEAP) as store:
        assert store.events.open_count() == 1
        sink = StoreSink(store)
        sink.take([replace(event(), event_id="mine")])
        assert store.flush(LONGEST_S)
        found = {event_id: store.events.get(event_id) for event_id in ("abc", "ended", "mine")}
        ends = {
            event_id: each and (each.is_open, each.record["cause"], each.record["sequence"]) for event_id, each in found.items()
        }
        assert ends == {"abc": (False, "interrupted", 1), "ended": (False, "gone", 0), "mine": (True, None, 0)}
        assert found["abc"]
        assert found["abc"].record["ended_utc"] == event_record(event())["last_utc"]
        noon = NOON.isoformat(timespec="milliseconds")
        assert store.states.last_outage("door") == Outage(noon, noon, "stalled")
        sink.close()


def test_events_that_go_on_without_the_program_stay_open(tmp_path: Path, clock: WallClock) -> None:
    """Those of a fleet: a node ends them, also after the supervisor was killed."""
    killed = Store(tmp_path, clock, cost=CHEAP)
    first = StoreSink(killed, events_continue=True)
    first.take([event()])
    first.state_changed(change(SourceState.STALLED, SourceState.ONLINE))
    crashed(killed)
    first._lock.close()
    with Store(tmp_path, clock, cost=CHEAP) as store:
        sink = StoreSink(store, events_continue=True)
        sink.state_changed(change(SourceState.ONLINE, None, camera=event().source_id))
        assert store.flush(LONGEST_S)
        assert store.events.open_count() == 1
        assert [each.state for each in store.states.page(cameras=None).states if each.ended_utc is None] == ["online"]
        sink.take([replace(event(), sequence=1, phase=Phase.END, cause="gone")])
        assert store.flush(LONGEST_S)
        found = store.events.get("abc")
        assert found is not None
        assert (found.is_open, found.record["cause"]) == (False, "gone")
        sink.close()


def test_a_run_beside_another_leaves_its_events_open(store: Store, clock: WallClock) -> None:
    first = StoreSink(store)
    first.take([event()])
    first.state_changed(change(SourceState.ONLINE, SourceState.CONNECTING))
    assert store.flush(LONGEST_S)
    with Store(store.folder, clock, cost=CHEAP) as other:
        second = StoreSink(other)
        second.state_changed(change(SourceState.CONNECTING, None, camera="hall"))
        assert other.flush(LONGEST_S)
        assert other.events.open_count() == 1
        assert [each.camera for each in other.states.page(cameras=None).states if each.ended_utc is None] == ["hall", "door"]
        second.state_changed(change(SourceState.CONNECTING, None, camera="door"))
        assert other.flush(LONGEST_S)
        assert other.events.open_count() == 0
        second.close()
    first.close()


def test_a_run_begins_on_a_full_disk(store: Store) -> None:
    store.audit.add("anna", "probe", "", "local")
    with no_file_grows(store):
        sink = StoreSink(store)
        sink.take([event()])
        with pytest.raises(StoreError):
            store.audit.add("anna", "probe", "", "local")
        assert sink.health() == "store: 2 records wait, 0 are lost: disk I/O error"
    assert store.flush(LONGEST_S)
    assert sink.health() == ""
    assert store.events.open_count() == 1
    sink.close()


def test_no_lock_file_is_one_line(store: Store) -> None:
    (store.folder / "run.lock").mkdir()
    with pytest.raises(StoreError, match=r"run\.lock: cannot be created: Is a directory; set store\.folder"):
        StoreSink(store)


def test_a_locked_store_does_not_hold_the_end_of_a_run(store: Store) -> None:
    with locked(store.path):
        sink = StoreSink(store)
        sink.take([event()])
        sink.close()
        assert store.events.open_count() == 0


def test_the_first_state_of_a_camera_does_not_end_an_event_that_goes_on(tmp_path: Path, clock: WallClock) -> None:
    killed = Store(tmp_path, clock, cost=CHEAP)
    first = StoreSink(killed, events_continue=True)
    first.take([event()])
    crashed(killed)
    first._lock.close()
    with Store(tmp_path, clock, cost=CHEAP) as store:
        sink = StoreSink(store, events_continue=True)
        sink.state_changed(change(SourceState.ONLINE, None))
        assert store.flush(LONGEST_S)
        assert store.events.open_count() == 1
        sink.close()


def test_counts_that_are_given_again_are_stored_once(store: Store) -> None:
    def counts(second: float, wall: bool = True) -> MinuteCounts:
        moment = NOON + timedelta(seconds=second) if wall else None
        now = Timestamp(0, second, moment)
        return MinuteCounts("door", now, now, dict.fromkeys(Label, 2), dict.fromkeys(Label, 1.5))

    sink = StoreSink(store)
    sink.take([counts(0.0), counts(0.0), counts(60.0), counts(0.0, wall=False), counts(0.0, wall=False)])
    assert store.flush(LONGEST_S)
    assert sink.is_saved()
    assert len(store.people.page(cameras=None).minutes) == 4  # those of a file are not known again
    sink.close()
