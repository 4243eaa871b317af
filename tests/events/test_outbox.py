import sqlite3
from pathlib import Path

import pytest

from maskstream.errors import SinkError
from maskstream.events.messages import QueueChanges, QueuedMessage
from maskstream.events.outbox import Outbox
from maskstream.events.outbox_file import peek


def message(number: int, size: int = 10, event: str | None = None, is_open: bool = False) -> QueuedMessage:
    return QueuedMessage("door", f"e-{number}", str(number).encode().ljust(size), event, is_open)


def add(outbox: Outbox, receiver: str, messages: list[QueuedMessage]) -> int:
    return outbox.update(receiver, QueueChanges(added=messages))


def delivered(outbox: Outbox, receiver: str, row_id: int | None) -> None:
    outbox.update(receiver, QueueChanges(delivered_ids=[row_id]))


def drain(outbox: Outbox, receiver: str) -> list[int]:
    taken = []
    while (found := outbox.oldest(receiver)) is not None:
        taken.append(int(found.message.body))
        delivered(outbox, receiver, found.row_id)
    return taken


def test_each_receiver_gets_its_messages_in_order(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "deep" / "events.db"), 1000)
    add(outbox, "a", [message(1), message(2)])
    add(outbox, "b", [message(1)])
    add(outbox, "a", [message(3)])
    assert (outbox.waiting_count("a"), outbox.waiting_count("b"), outbox.waiting_count("c")) == (3, 1, 0)
    assert drain(outbox, "a") == [1, 2, 3]
    assert drain(outbox, "b") == [1]
    assert outbox.oldest("a") is None


def test_the_oldest_messages_are_dropped_and_counted(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "events.db"), 100)
    assert add(outbox, "a", [message(number) for number in range(10)]) == 0
    assert add(outbox, "a", [message(10), message(11)]) == 2
    assert add(outbox, "b", [message(0)]) == 0
    assert (outbox.lost_count("a"), outbox.lost_count("b")) == (2, 0)
    outbox.update("a", QueueChanges(lost=-2))
    assert outbox.lost_count("a") == 0
    assert drain(outbox, "a") == list(range(2, 12))
    assert add(outbox, "a", [message(number) for number in range(10)]) == 0


def test_a_message_may_be_dropped_while_it_is_sent(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "events.db"), 20)
    add(outbox, "a", [message(1), message(2)])
    found = outbox.oldest("a")
    assert found is not None
    add(outbox, "a", [message(3)])
    delivered(outbox, "a", found.row_id)
    assert drain(outbox, "a") == [2, 3]
    assert add(outbox, "a", [message(4), message(5)]) == 0


def test_the_latest_message_of_an_event_is_kept_until_its_end(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "events.db"), 1000)
    add(outbox, "a", [message(1, event="x", is_open=True), message(2, event="y", is_open=True)])
    add(outbox, "a", [message(3, event="x", is_open=True)])
    assert {(each.event, int(each.body)) for each in outbox.open_events("a")} == {("x", 3), ("y", 2)}
    add(outbox, "a", [message(4, event="x")])
    assert [each.event for each in outbox.open_events("a")] == ["y"]
    assert outbox.open_events("b") == []


def test_one_process_at_a_time_opens_the_file(tmp_path: Path) -> None:
    path = str(tmp_path / "events.db")
    first = Outbox(path, 1000)
    first.attach()
    with pytest.raises(SinkError, match=r"another run of the program uses it; set events\.queue"):
        Outbox(path, 1000)
    first.detach()
    add(Outbox(path, 1000), "a", [message(1)])


def test_a_file_that_is_not_a_queue_stays_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are notes, not messages " * 100)
    before = path.read_bytes()
    with pytest.raises(SinkError, match=str(path)):
        Outbox(str(path), 1000)
    assert path.read_bytes() == before
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="cannot be opened"):
        Outbox(str(tmp_path / "file" / "events.db"), 1000)


def test_a_full_disk_is_one_error_and_keeps_earlier_messages(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    outbox = Outbox(str(path), 10_000_000)
    add(outbox, "a", [message(1)])
    outbox._database.execute(f"PRAGMA max_page_count = {outbox._database.execute('PRAGMA page_count').fetchone()[0] + 2}")
    with pytest.raises(SinkError, match=r"cannot be written: .*full"):
        add(outbox, "a", [message(2, size=100_000)])
    assert drain(outbox, "a") == [1]


def test_the_last_user_closes_the_file(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "events.db"), 1000)
    outbox.attach()
    outbox.attach()
    outbox.detach()
    add(outbox, "a", [message(1)])
    outbox.detach()
    with pytest.raises(SinkError):
        add(outbox, "a", [message(2)])
    with sqlite3.connect(tmp_path / "events.db") as base:
        assert base.execute("SELECT count(*) FROM waiting").fetchone() == (1,)
    base.close()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state" / "events.db"
    outbox = Outbox(str(path), 1000)
    add(outbox, "a", [message(1)])
    files = sorted(path.parent.iterdir())
    assert [each.name for each in files][:2] == ["events.db", "events.db-wal"]
    assert {mode(each) for each in files} == {0o600}
    assert mode(path.parent) == 0o700


def test_a_readable_queue_becomes_private_and_deleted_messages_are_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    base = sqlite3.connect(path)
    base.execute("PRAGMA secure_delete=OFF")
    base.execute("CREATE TABLE waiting (id INTEGER PRIMARY KEY AUTOINCREMENT, receiver TEXT, camera TEXT, key TEXT, body BLOB)")
    faces = [("a", "door", f"e-{number}", b"a face " * 1000) for number in range(9)]
    base.executemany("INSERT INTO waiting (receiver, camera, key, body) VALUES (?, ?, ?, ?)", faces)
    base.execute("DELETE FROM waiting WHERE key <> 'e-8'")
    base.commit()
    base.close()
    path.chmod(0o644)
    assert path.read_bytes().count(b"a face ") > 1000
    outbox = Outbox(str(path), 1_000_000)
    outbox.attach()
    assert mode(path) == 0o600
    last = outbox.oldest("a")
    assert last is not None
    assert last.message.key == "e-8"
    delivered(outbox, "a", last.row_id)
    outbox.truncate_log()
    assert b"a face " not in b"".join(each.read_bytes() for each in tmp_path.iterdir())
    outbox.detach()


def test_messages_under_a_former_key_are_assigned_to_the_present_key(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "events.db"), 1000)
    add(outbox, "webhook 0123", [message(1), message(2, event="x", is_open=True)])
    outbox.update("webhook 0123", QueueChanges(lost=3))
    add(outbox, "a", [message(3)])
    assert outbox.claim({"a": ["webhook 0123", "never"]}, now_s=0, keep_days=30) == {}
    assert [each.event for each in outbox.open_events("a")] == ["x"]
    assert outbox.lost_count("a") == 3
    assert drain(outbox, "a") == [1, 2, 3]


EARLIER_TABLES = """
CREATE TABLE waiting (
    id INTEGER PRIMARY KEY AUTOINCREMENT, receiver TEXT NOT NULL, camera TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL
);
CREATE TABLE going_on (
    receiver TEXT, event TEXT, camera TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (receiver, event)
);
CREATE TABLE lost (receiver TEXT PRIMARY KEY, records INTEGER NOT NULL);
"""


def test_a_file_of_an_earlier_version_is_read_and_extended(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with sqlite3.connect(path) as earlier:
        earlier.executescript(EARLIER_TABLES)
        earlier.execute("INSERT INTO waiting (receiver, camera, key, body) VALUES ('a', 'door', 'e-1', X'31')")
        earlier.execute("INSERT INTO going_on VALUES ('a', 'x', 'door', X'32')")
        earlier.execute("INSERT INTO lost VALUES ('a', 4)")
    earlier.close()
    outbox = Outbox(str(path), 1000)
    assert [(each.camera, each.event, each.body, each.is_open) for each in outbox.open_events("a")] == [("door", "x", b"2", True)]
    assert outbox.lost_count("a") == 4
    found = outbox.oldest("a")
    assert found is not None
    assert (found.message.camera, found.message.key, found.message.body) == ("door", "e-1", b"1")
    add(outbox, "a", [message(2, event="x")])
    assert outbox.open_events("a") == []
    assert drain(outbox, "a") == [1, 2]


def test_unclaimed_messages_are_counted_and_deleted_after_keep_days(tmp_path: Path) -> None:
    outbox, day_s = Outbox(str(tmp_path / "events.db"), 1000), 86_400
    add(outbox, "gone", [message(1), message(2, event="x", is_open=True)])
    add(outbox, "back", [message(3)])
    assert outbox.claim({"a": []}, now_s=0, keep_days=30) == {"gone": 2, "back": 1}
    assert outbox.claim({"a": [], "back": []}, now_s=29 * day_s, keep_days=30) == {"gone": 2}
    assert outbox.claim({"a": []}, now_s=30 * day_s, keep_days=30) == {"gone": -2, "back": 1}
    assert (outbox.waiting_count("gone"), outbox.open_events("gone")) == (0, [])
    assert outbox.claim({"a": []}, now_s=31 * day_s, keep_days=0) == {"back": -1}
    assert outbox.claim({"a": []}, now_s=32 * day_s, keep_days=0) == {}


def test_peek_counts_the_messages_of_a_queue_that_no_process_uses(tmp_path: Path) -> None:
    path = tmp_path / "events ?#.db"
    assert peek(path) == {}
    outbox = Outbox(str(path), 1000)
    outbox.attach()
    add(outbox, "a", [message(1), message(2)])
    assert peek(path) == {}
    outbox.detach()
    assert peek(path) == {"a": 2}


def test_an_error_within_an_update_leaves_the_outbox_usable(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "events.db"), 1000)
    with pytest.raises(UnicodeEncodeError):
        add(outbox, "a", [message(1), QueuedMessage("caf\udce9", "e-2", b"2")])
    add(outbox, "a", [message(3)])
    assert drain(outbox, "a") == [3]
    assert outbox._sizes["a"] == 0
