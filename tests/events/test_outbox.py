import sqlite3
from pathlib import Path

import pytest

from maskstream.errors import SinkError
from maskstream.events.messages import Changes, QueuedMessage
from maskstream.events.outbox import Outbox, peek


def message(number: int, size: int = 10, event: str | None = None, goes_on: bool = False) -> QueuedMessage:
    return QueuedMessage("door", f"e-{number}", str(number).encode().ljust(size), event, goes_on)


def put(outbox: Outbox, receiver: str, messages: list[QueuedMessage]) -> int:
    return outbox.update(receiver, Changes(put=messages))


def done(outbox: Outbox, receiver: str, number: int) -> None:
    outbox.update(receiver, Changes(done=[number]))


def drain(outbox: Outbox, receiver: str) -> list[int]:
    taken = []
    while (found := outbox.first(receiver)) is not None:
        taken.append(int(found[1].body))
        done(outbox, receiver, found[0])
    return taken


def test_letters_come_in_order_to_each_receiver(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "deep" / "events.db"), 1000)
    put(outbox, "a", [message(1), message(2)])
    put(outbox, "b", [message(1)])
    put(outbox, "a", [message(3)])
    assert (outbox.waiting("a"), outbox.waiting("b"), outbox.waiting("c")) == (3, 1, 0)
    assert drain(outbox, "a") == [1, 2, 3]
    assert drain(outbox, "b") == [1]
    assert outbox.first("a") is None


def test_the_oldest_make_room_and_are_counted(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "events.db"), 100)
    assert put(outbox, "a", [message(number) for number in range(10)]) == 0
    assert put(outbox, "a", [message(10), message(11)]) == 2
    assert put(outbox, "b", [message(0)]) == 0
    assert (outbox.lost("a"), outbox.lost("b")) == (2, 0)
    outbox.update("a", Changes(lost=-2))
    assert outbox.lost("a") == 0
    assert drain(outbox, "a") == list(range(2, 12))
    assert put(outbox, "a", [message(number) for number in range(10)]) == 0


def test_a_letter_that_made_room_while_it_was_sent_is_done(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "events.db"), 20)
    put(outbox, "a", [message(1), message(2)])
    found = outbox.first("a")
    assert found is not None
    put(outbox, "a", [message(3)])
    done(outbox, "a", found[0])
    assert drain(outbox, "a") == [2, 3]
    assert put(outbox, "a", [message(4), message(5)]) == 0


def test_events_that_go_on_are_remembered_until_they_end(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "events.db"), 1000)
    put(outbox, "a", [message(1, event="x", goes_on=True), message(2, event="y", goes_on=True)])
    put(outbox, "a", [message(3, event="x", goes_on=True)])
    assert {(each.event, int(each.body)) for each in outbox.going_on("a")} == {("x", 3), ("y", 2)}
    put(outbox, "a", [message(4, event="x")])
    assert [each.event for each in outbox.going_on("a")] == ["y"]
    assert outbox.going_on("b") == []


def test_one_program_at_a_time_has_it(tmp_path: Path) -> None:
    path = str(tmp_path / "events.db")
    first = Outbox(path, 1000)
    first.join()
    with pytest.raises(SinkError, match=r"another run of the program has it; set events\.queue"):
        Outbox(path, 1000)
    first.leave()
    put(Outbox(path, 1000), "a", [message(1)])


def test_another_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are no letters, but somebody needs them " * 100)
    before = path.read_bytes()
    with pytest.raises(SinkError, match=str(path)):
        Outbox(str(path), 1000)
    assert path.read_bytes() == before
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="cannot be opened"):
        Outbox(str(tmp_path / "file" / "events.db"), 1000)


def test_a_full_disk_is_one_clear_error_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    outbox = Outbox(str(path), 10_000_000)
    put(outbox, "a", [message(1)])
    outbox._base.execute(f"PRAGMA max_page_count = {outbox._base.execute('PRAGMA page_count').fetchone()[0] + 2}")
    with pytest.raises(SinkError, match=r"cannot be kept: .*full"):
        put(outbox, "a", [message(2, size=100_000)])
    assert drain(outbox, "a") == [1]


def test_after_the_last_user_it_is_closed(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "events.db"), 1000)
    outbox.join()
    outbox.join()
    outbox.leave()
    put(outbox, "a", [message(1)])
    outbox.leave()
    with pytest.raises(SinkError):
        put(outbox, "a", [message(2)])
    with sqlite3.connect(tmp_path / "events.db") as base:
        assert base.execute("SELECT count(*) FROM waiting").fetchone() == (1,)
    base.close()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_nobody_but_the_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "events.db"
    outbox = Outbox(str(path), 1000)
    put(outbox, "a", [message(1)])
    files = sorted(path.parent.iterdir())
    assert [each.name for each in files][:2] == ["events.db", "events.db-wal"]
    assert {mode(each) for each in files} == {0o600}
    assert mode(path.parent) == 0o700


def test_a_queue_that_others_can_read_is_tightened_and_what_was_deleted_is_overwritten(tmp_path: Path) -> None:
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
    outbox.join()
    assert mode(path) == 0o600
    number, last = outbox.first("a") or (0, message(0))
    assert last.key == "e-8"
    done(outbox, "a", number)
    outbox.tidy()
    assert b"a face " not in b"".join(each.read_bytes() for each in tmp_path.iterdir())
    outbox.leave()


def test_what_waits_under_a_former_name_is_delivered_under_the_present_one(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "events.db"), 1000)
    put(outbox, "webhook 0123", [message(1), message(2, event="x", goes_on=True)])
    outbox.update("webhook 0123", Changes(lost=3))
    put(outbox, "a", [message(3)])
    assert outbox.claim({"a": ["webhook 0123", "never"]}, now_s=0, keep_days=30) == {}
    assert [each.event for each in outbox.going_on("a")] == ["x"]
    assert outbox.lost("a") == 3
    assert drain(outbox, "a") == [1, 2, 3]


def test_what_waits_for_nobody_is_told_and_deleted_after_its_days(tmp_path: Path) -> None:
    outbox, day_s = Outbox(str(tmp_path / "events.db"), 1000), 86_400
    put(outbox, "gone", [message(1), message(2, event="x", goes_on=True)])
    put(outbox, "back", [message(3)])
    assert outbox.claim({"a": []}, now_s=0, keep_days=30) == {"gone": 2, "back": 1}
    assert outbox.claim({"a": [], "back": []}, now_s=29 * day_s, keep_days=30) == {"gone": 2}
    assert outbox.claim({"a": []}, now_s=30 * day_s, keep_days=30) == {"gone": -2, "back": 1}
    assert (outbox.waiting("gone"), outbox.going_on("gone")) == (0, [])
    assert outbox.claim({"a": []}, now_s=31 * day_s, keep_days=0) == {"back": -1}
    assert outbox.claim({"a": []}, now_s=32 * day_s, keep_days=0) == {}


def test_a_queue_that_nobody_has_can_be_looked_into(tmp_path: Path) -> None:
    path = tmp_path / "events ?#.db"
    assert peek(path) == {}
    outbox = Outbox(str(path), 1000)
    outbox.join()
    put(outbox, "a", [message(1), message(2)])
    assert peek(path) == {}
    outbox.leave()
    assert peek(path) == {"a": 2}


def test_a_mistake_within_a_change_leaves_it_usable(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "events.db"), 1000)
    with pytest.raises(UnicodeEncodeError):
        put(outbox, "a", [message(1), QueuedMessage("caf\udce9", "e-2", b"2")])
    put(outbox, "a", [message(3)])
    assert drain(outbox, "a") == [3]
    assert outbox._sizes["a"] == 0
