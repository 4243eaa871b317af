import sqlite3
from pathlib import Path

import pytest

from maskstream.errors import SinkError
from maskstream.sinks.outbox import Letter, Outbox


def letter(number: int, size: int = 10, event: str | None = None, goes_on: bool = False) -> Letter:
    return Letter("door", f"e-{number}", str(number).encode().ljust(size), event, goes_on)


def drain(outbox: Outbox, receiver: str) -> list[int]:
    taken = []
    while (found := outbox.first(receiver)) is not None:
        taken.append(int(found[1].body))
        outbox.done(receiver, found[0])
    return taken


def test_letters_come_in_order_to_each_receiver(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "deep" / "events.db"), 1000)
    outbox.put("a", [letter(1), letter(2)])
    outbox.put("b", [letter(1)])
    outbox.put("a", [letter(3)])
    assert (outbox.waiting("a"), outbox.waiting("b"), outbox.waiting("c")) == (3, 1, 0)
    assert drain(outbox, "a") == [1, 2, 3]
    assert drain(outbox, "b") == [1]
    assert outbox.first("a") is None


def test_the_oldest_make_room_and_are_counted(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "events.db"), 100)
    assert outbox.put("a", [letter(number) for number in range(10)]) == 0
    assert outbox.put("a", [letter(10), letter(11)]) == 2
    assert outbox.put("b", [letter(0)]) == 0
    assert (outbox.lost("a"), outbox.lost("b")) == (2, 0)
    outbox.told_lost("a", 2)
    assert outbox.lost("a") == 0
    assert drain(outbox, "a") == list(range(2, 12))
    assert outbox.put("a", [letter(number) for number in range(10)]) == 0


def test_a_letter_that_made_room_while_it_was_sent_is_done(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "events.db"), 20)
    outbox.put("a", [letter(1), letter(2)])
    found = outbox.first("a")
    assert found is not None
    outbox.put("a", [letter(3)])
    outbox.done("a", found[0])
    assert drain(outbox, "a") == [2, 3]
    assert outbox.put("a", [letter(4), letter(5)]) == 0


def test_events_that_go_on_are_remembered_until_they_end(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "events.db"), 1000)
    outbox.put("a", [letter(1, event="x", goes_on=True), letter(2, event="y", goes_on=True)])
    outbox.put("a", [letter(3, event="x", goes_on=True)])
    assert {(each.event, int(each.body)) for each in outbox.going_on("a")} == {("x", 3), ("y", 2)}
    outbox.put("a", [letter(4, event="x")])
    assert [each.event for each in outbox.going_on("a")] == ["y"]
    assert outbox.going_on("b") == []


def test_one_program_at_a_time_has_it(tmp_path: Path) -> None:
    path = str(tmp_path / "events.db")
    first = Outbox(path, 1000)
    first.join()
    with pytest.raises(SinkError, match=r"another run of the program has it; set events\.queue"):
        Outbox(path, 1000)
    first.leave()
    Outbox(path, 1000).put("a", [letter(1)])


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
    outbox.put("a", [letter(1)])
    outbox._base.execute(f"PRAGMA max_page_count = {outbox._base.execute('PRAGMA page_count').fetchone()[0] + 2}")
    with pytest.raises(SinkError, match=r"cannot be kept: .*full"):
        outbox.put("a", [letter(2, size=100_000)])
    assert drain(outbox, "a") == [1]


def test_after_the_last_user_it_is_closed(tmp_path: Path) -> None:
    outbox = Outbox(str(tmp_path / "events.db"), 1000)
    outbox.join()
    outbox.join()
    outbox.leave()
    outbox.put("a", [letter(1)])
    outbox.leave()
    with pytest.raises(SinkError):
        outbox.put("a", [letter(2)])
    with sqlite3.connect(tmp_path / "events.db") as base:
        assert base.execute("SELECT count(*) FROM waiting").fetchone() == (1,)
    base.close()
