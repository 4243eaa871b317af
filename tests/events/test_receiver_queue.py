"""What happens to letters while the disk takes nothing; a database that refuses to be written stands for the full disk."""

from pathlib import Path

import pytest

from maskstream.events.messages import QueuedMessage
from maskstream.events.outbox import Outbox
from maskstream.events.receiver_queue import ReceiverQueue
from tests.events.test_outbox import message


def disk(outbox: Outbox, takes: bool) -> None:
    outbox._base.execute(f"PRAGMA query_only = {'OFF' if takes else 'ON'}")


def keys(backlog: ReceiverQueue) -> list[str]:
    """Take everything out, and return its keys."""
    taken = []
    while (waiting := backlog.first()) is not None:
        taken.append(waiting.message.key)
        backlog.done(waiting)
    return taken


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(str(tmp_path / "events.db"), 100)


def test_letters_are_delivered_while_the_disk_takes_nothing_and_never_twice(outbox: Outbox) -> None:
    backlog = ReceiverQueue(outbox, "a")
    backlog.put([message(1), message(2)])
    disk(outbox, takes=False)
    backlog.put([message(3)])
    assert (backlog.waiting(), "cannot be kept" in str(backlog.trouble)) == (3, True)
    assert keys(backlog) == ["e-1", "e-2", "e-3"]
    assert backlog.waiting() == 0
    disk(outbox, takes=True)
    backlog.save()
    assert backlog.trouble is None
    assert keys(ReceiverQueue(outbox, "a")) == []


def test_what_waits_in_memory_goes_to_disk_in_order_when_there_is_room(outbox: Outbox) -> None:
    backlog = ReceiverQueue(outbox, "a")
    backlog.put([message(1)])
    disk(outbox, takes=False)
    backlog.put([message(2), message(3)])
    disk(outbox, takes=True)
    backlog.put([message(4)])
    assert keys(ReceiverQueue(outbox, "a")) == ["e-1", "e-2", "e-3", "e-4"]


def test_a_letter_that_comes_to_disk_while_it_is_delivered_is_done(outbox: Outbox) -> None:
    backlog = ReceiverQueue(outbox, "a")
    disk(outbox, takes=False)
    backlog.put([message(1)])
    waiting = backlog.first()
    assert waiting is not None
    disk(outbox, takes=True)
    backlog.put([message(2)])
    backlog.done(waiting)
    assert keys(backlog) == ["e-2"]


def test_events_that_were_told_from_memory_are_known_to_go_on_or_to_have_ended(outbox: Outbox) -> None:
    backlog = ReceiverQueue(outbox, "a")
    backlog.put([message(1, event="x", goes_on=True)])
    disk(outbox, takes=False)
    backlog.put([message(2, event="x"), message(3, event="y", goes_on=True)])
    assert keys(backlog) == ["e-1", "e-2", "e-3"]
    disk(outbox, takes=True)
    backlog.save()
    assert [each.event for each in outbox.going_on("a")] == ["y"]


def test_memory_is_bounded_and_what_is_lost_is_counted(outbox: Outbox) -> None:
    backlog = ReceiverQueue(outbox, "a")
    disk(outbox, takes=False)
    for number in range(15):
        backlog.put([message(number)])
    assert (backlog.waiting(), backlog.made_room(), backlog.lost()) == (10, 5, 5)
    backlog.told_lost(3)
    disk(outbox, takes=True)
    backlog.save()
    assert (backlog.lost(), outbox.lost("a")) == (2, 2)


def test_the_end_says_what_is_on_disk_and_what_is_lost(outbox: Outbox) -> None:
    backlog = ReceiverQueue(outbox, "a")
    backlog.put([message(1)])
    disk(outbox, takes=False)
    backlog.put([message(2), message(3)])
    waiting = backlog.first()
    assert waiting is not None
    assert backlog.close() == (1, 2)
    backlog.done(waiting)  # by a thread that is late: it will come again
    assert outbox.waiting("a") == 1


def test_a_channel_that_is_refused_holds_back_no_other(outbox: Outbox) -> None:
    backlog = ReceiverQueue(outbox, "a")
    lab, counts = QueuedMessage("lab", "e-9", b"9"), QueuedMessage("door", "counts-1", b"c")
    backlog.put([message(1), counts, lab])
    found = backlog.first({("door", "events"), ("door", "counts")})
    assert found is not None
    assert found.message.key == "e-9"
    found = backlog.first({("door", "events")})
    assert found is not None
    assert found.message.key == "counts-1"
    disk(outbox, takes=False)
    backlog.put([message(2), QueuedMessage("lab", "e-10", b"10")])
    backlog.done(backlog.first({("door", "events"), ("door", "counts")}))  # type: ignore[arg-type]
    found = backlog.first({("door", "events"), ("door", "counts")})
    assert found is not None
    assert found.message.key == "e-10"
