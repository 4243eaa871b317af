from datetime import timedelta
from pathlib import Path

from maskstream.store.retention import ROWS_A_MINUTE
from maskstream.store.store import Store
from maskstream.stream.states import SourceState, StateChange
from tests.slowness import LONGEST_S
from tests.store.made import CHEAP, NOON, WallClock, counts, event

DAY_S = 86_400.0


def pass_a_minute(store: Store) -> None:
    store._database.writer._tick_at_s = 0.0
    store.audit.add("anna", "new", "", "local")  # wakes the writer
    assert store.flush(LONGEST_S)


def test_what_is_older_than_the_limit_is_deleted(tmp_path: Path, clock: WallClock) -> None:
    with Store(tmp_path, clock, cost=CHEAP) as store:
        for number, phase in enumerate(("end", "start", "end")):
            store.events.put(event(number + (20_000 if number == 2 else 0), phase=phase, label="mask"))
        store.people.put(counts(0))
        for state, second in ((SourceState.ONLINE, 0.0), (SourceState.STALLED, 10.0)):
            store.states.put(StateChange("door", state, None, "", second, NOON + timedelta(seconds=second)))
        store.audit.add("anna", "old", "", "local")
        clock.advance(10 * DAY_S)
        store.keep_for(9)
        pass_a_minute(store)
        assert [each.event_id for each in store.events.page(cameras=None).events] == ["e-20002", "e-1"]  # e-1 continues
        assert store.people.page(cameras=None).minutes == []
        assert [each.state for each in store.states.page(cameras=None).states] == ["stalled"]
        assert [each.what for each in store.audit.page().entries] == ["new"]


def test_a_wrong_clock_deletes_little(tmp_path: Path, clock: WallClock) -> None:
    with Store(tmp_path, clock, cost=CHEAP) as store:
        for number in range(2 * ROWS_A_MINUTE):
            store.people.put(counts(number))
        assert store.flush(LONGEST_S)
        clock.advance(10_000 * DAY_S)
        store.keep_for(400)
        pass_a_minute(store)
        minutes = store.people.page(cameras=None, limit=5 * ROWS_A_MINUTE).minutes
    assert len(minutes) == ROWS_A_MINUTE
    assert minutes[-1]["began_utc"] == (NOON + timedelta(minutes=ROWS_A_MINUTE)).isoformat(timespec="milliseconds")
