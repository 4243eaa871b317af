from datetime import timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskstream.errors import ConfigError
from maskstream.store.store import Store
from tests.slowness import LONGEST_S
from tests.store.made import NOON, WallClock, event


def put(store: Store, *records: object) -> None:
    for record in records:
        store.events.put(record)  # type: ignore[arg-type]
    assert store.flush(LONGEST_S)


def ids(store: Store, **conditions: object) -> list[str]:
    page = store.events.page(**({"cameras": None} | conditions))  # type: ignore[arg-type]
    return [each.event_id for each in page.events]


def test_the_record_is_kept_without_the_face(store: Store) -> None:
    put(store, event(1))
    found = store.events.get("e-1")
    assert found is not None
    assert found.record == event(1) | {"best": {name: value for name, value in event(1)["best"].items() if name != "crop_jpeg"}}
    assert (found.camera, found.zone, found.label, found.is_open) == ("door", None, "no_mask", True)
    assert store.events.get("e-2") is None
    store.close()
    assert b"ZmFjZQ" not in b"".join(path.read_bytes() for path in store.folder.iterdir())


def test_the_latest_record_of_an_event_is_kept(store: Store) -> None:
    put(
        store,
        event(1),
        event(1, 2, phase="end", cause="gone", zone="hall"),
        event(1, 1, phase="update"),
        event(1, 2, duration_s=9.0),
    )
    found = store.events.get("e-1")
    assert found is not None
    assert (found.record["sequence"], found.record["cause"], found.zone, found.is_open) == (2, "gone", "hall", False)
    assert found.record["duration_s"] == 2.0
    assert store.events.open_count() == 0


def test_the_conditions_of_a_page(store: Store) -> None:
    put(
        store,
        event(1),
        event(2, source="hall", zone="ward 1"),
        event(3, label="incorrect", phase="end"),
        event(4, source="hall", zone="ward 2", phase="end"),
    )
    assert ids(store) == ["e-4", "e-3", "e-2", "e-1"]
    assert ids(store, camera="hall") == ["e-4", "e-2"]
    assert ids(store, zone="ward 1") == ["e-2"]
    assert ids(store, label="incorrect") == ["e-3"]
    assert ids(store, is_open=True) == ["e-2", "e-1"]
    assert ids(store, is_open=False) == ["e-4", "e-3"]
    assert ids(store, since=NOON + timedelta(minutes=2), until=NOON + timedelta(minutes=4)) == ["e-3", "e-2"]
    assert ids(store, camera="hall' OR 1=1 --") == []


def test_a_user_gets_the_events_of_some_cameras_only(store: Store) -> None:
    put(store, event(1), event(2, source="hall"), event(3, source="gate"))
    assert ids(store, cameras=("door", "gate")) == ["e-3", "e-1"]
    assert ids(store, cameras=("door",), camera="hall") == []
    assert ids(store, cameras=()) == []


def test_pages_have_no_gap_while_events_arrive(store: Store) -> None:
    put(store, *(event(number) for number in range(7)))
    page = store.events.page(cameras=None, limit=3)
    seen = [each.event_id for each in page.events]
    while page.next_cursor is not None:
        put(store, event(100 + len(seen)), event(5, len(seen)))
        page = store.events.page(cameras=None, limit=3, cursor=page.next_cursor)
        seen += [each.event_id for each in page.events]
    assert seen == [f"e-{number}" for number in reversed(range(7))]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1 OR 1", "9" * 40, "١", "1.5"])
def test_a_foreign_cursor_is_refused(cursor: str, store: Store) -> None:
    with pytest.raises(ConfigError, match=r"^cursor: .* is not allowed; give the value of next from the page before$"):
        store.events.page(cameras=None, cursor=cursor)


def test_an_event_of_a_file_has_the_time_when_it_was_stored(store: Store, clock: WallClock) -> None:
    put(store, event(1, began_utc=None, last_utc=None))
    clock.advance(60)
    put(store, event(2, began_utc=None, last_utc=None))
    assert ids(store, until=NOON + timedelta(seconds=1)) == ["e-1"]


def test_the_order_does_not_depend_on_the_clock(store: Store) -> None:
    earlier = (NOON - timedelta(days=400)).isoformat(timespec="milliseconds")
    put(store, event(1), event(2, began_utc=earlier), event(3))
    assert ids(store) == ["e-3", "e-2", "e-1"]
    assert ids(store, until=NOON) == ["e-2"]


def test_a_camera_name_that_is_not_text_is_stored(store: Store) -> None:
    put(store, event(1, source="caf\udce9"))
    assert len(ids(store)) == 1


def test_any_order_of_records_keeps_the_highest_sequence(store: Store) -> None:
    examples = count(1)

    @given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5)), min_size=1, max_size=30))
    def keeps_the_highest(records: list[tuple[int, int]]) -> None:
        first = 1000 * next(examples)
        put(store, *(event(first + number, sequence) for number, sequence in records))
        for number in {number for number, _ in records}:
            found = store.events.get(f"e-{first + number}")
            assert found is not None
            assert found.record["sequence"] == max(sequence for other, sequence in records if other == number)

    keeps_the_highest()
