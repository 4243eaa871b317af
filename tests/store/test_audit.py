from maskstream.store.store import Store
from tests.store.made import WallClock


def test_entries_are_read_newest_first(store: Store, clock: WallClock) -> None:
    for number in range(5):
        store.audit.add("anna", "camera.change", f"door {number}", "10.0.0.1")
        clock.advance(-1)
    page = store.audit.page(limit=2)
    assert [(each.who, each.what, each.detail, each.address) for each in page.entries] == [
        ("anna", "camera.change", "door 4", "10.0.0.1"),
        ("anna", "camera.change", "door 3", "10.0.0.1"),
    ]
    assert page.entries[0].at_utc == "2026-11-27T11:59:56.000+00:00"
    details = [each.detail for each in store.audit.page(page.next_cursor, limit=10).entries]
    assert details == ["door 2", "door 1", "door 0"]
    assert store.audit.page(limit=5).next_cursor is None


def test_long_and_strange_texts_are_shortened(store: Store) -> None:
    store.audit.add("\udce9", "x" * 5000, "a\0b", "", at_s=0.0)
    (entry,) = store.audit.page().entries
    assert (len(entry.what), entry.at_utc) == (1000, "1970-01-01T00:00:00.000+00:00")
